"""Quadrilaterals: corner order, area, overlap, and the page that one shows.

Corners are float64[4, 2] (x, y) in pixels. Order: clockwise as seen on the screen, beginning
with the corner nearest to the picture's top left (the smallest x + y).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecam.core.opencv import cv2

Corners = NDArray[np.float64]


def area(corners: Corners) -> float:
    """Square pixels, of any simple polygon."""
    x, y = corners[:, 0], corners[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def clockwise(corners: Corners) -> Corners:
    """The same corners clockwise from the top left."""
    offset = corners - corners.mean(0)
    # y grows downwards: growing angles run clockwise on the screen.
    ordered = corners[np.argsort(np.arctan2(offset[:, 1], offset[:, 0]), kind="stable")]
    first = int(np.argmin(ordered.sum(1)))
    return np.asarray(np.roll(ordered, -first, 0), np.float64)


def overlap(first: Corners, second: Corners) -> float:
    """Intersection over union of two convex quadrilaterals, 0..1."""
    common, _ = cv2.intersectConvexConvex(
        clockwise(first).astype(np.float32), clockwise(second).astype(np.float32)
    )
    union = area(first) + area(second) - float(common)
    return float(common) / union if union > 0 else 0.0
