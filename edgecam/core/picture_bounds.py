"""How many millions of pixels a picture may have."""

from __future__ import annotations

# Cameras that stream have 12 at most; photographs 50, scans 100.
LIVE_MEGAPIXELS, FILE_MEGAPIXELS = 25.0, 100.0
# Of whatever is set: no camera on sale has more than 200.
MAX_MEGAPIXELS = 250
