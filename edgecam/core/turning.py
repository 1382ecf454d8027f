"""Pictures and points turned clockwise by quarters of a circle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecam.core.frame import Image
from edgecam.core.opencv import cv2

# By degrees clockwise.
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def turn_image(image: Image, degrees: int) -> Image:
    """Return uint8[H, W, 3] turned clockwise by 90, 180 or 270 degrees."""
    return np.asarray(cv2.rotate(image, TURNS[degrees]), np.uint8)


def mirror_image(image: Image) -> Image:
    """Return uint8[H, W, 3] as a mirror shows it."""
    return np.asarray(cv2.flip(image, 1), np.uint8)


def turned_size(size_px: tuple[int, int], degrees: int) -> tuple[int, int]:
    """Return (width, height) of a picture of this (width, height) after a turn."""
    return size_px if degrees % 180 == 0 else (size_px[1], size_px[0])


def turn_points(
    xy: NDArray[np.float64], degrees: int, size_px: tuple[int, int]
) -> NDArray[np.float64]:
    """Where pixel indices float64[..., 2] (x, y) of a picture are after it was turned.

    ``size_px``: its (width, height) before. Turn back by 360 less ``degrees`` from the turned size.
    """
    width, height = size_px
    x, y = xy[..., 0], xy[..., 1]
    turned = {
        0: (x, y),
        90: (height - 1.0 - y, x),
        180: (width - 1.0 - x, height - 1.0 - y),
        270: (y, width - 1.0 - x),
    }
    return np.stack(turned[degrees % 360], axis=-1)
