"""From results to what happens: tracks, smoothing, zones, lines, masks and events."""
