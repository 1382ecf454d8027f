"""Tracks, zones and events."""
