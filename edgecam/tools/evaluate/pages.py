"""How well pages are found: overlap and corner error against the truth, and a plain baseline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.core.quadrilateral import Corners, clockwise, overlap

GOOD_OVERLAP = 0.9
# The baseline as it is taught everywhere, at this height. Of the usual thresholds, with and without
# closing gaps, these find most of the photographs in tests/data/documents.
_CANNY_HEIGHT_PX = 500
_CANNY = (30, 100)
_CANNY_CONTOURS = 5


@dataclass(frozen=True, slots=True)
class Hit:
    """``overlap``: IoU, 0..1, 0 for a page not found. ``corner_error``: mean of the four distances
    over the picture's diagonal, None for a page not found.
    """

    overlap: float
    corner_error: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """``good``: share of pages with IoU 0.9 or more; the others are medians, not found as worst."""

    pages: int
    good: float
    overlap: float
    corner_error: float


def rate(found: Corners | None, truth: Corners, width_px: int, height_px: int) -> Hit:
    """Compare a page with the true one; which corner comes first does not matter."""
    if found is None:
        return Hit(0.0, None)
    turns = (np.roll(clockwise(found), turn, 0) for turn in range(4))
    error = min(float(np.linalg.norm(turn - truth, axis=1).mean()) for turn in turns)
    return Hit(overlap(found, truth), error / float(np.hypot(width_px, height_px)))


def summary(hits: Sequence[Hit]) -> Summary:
    """Return the share of pages found, and the medians of overlap and corner error."""
    errors = [1.0 if hit.corner_error is None else hit.corner_error for hit in hits]
    return Summary(
        len(hits),
        sum(hit.overlap >= GOOD_OVERLAP for hit in hits) / len(hits),
        statistics.median(hit.overlap for hit in hits),
        statistics.median(errors),
    )


def by_canny(image: Image) -> Corners | None:
    """The page without a network: blur, Canny, dilation, the largest contour with four corners.

    ``image`` is uint8[H, W, 3] BGR; the corners are its pixels.
    """
    scale = _CANNY_HEIGHT_PX / image.shape[0]
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    closed = cv2.dilate(cv2.Canny(grey, *_CANNY), np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for contour in sorted(contours, key=cv2.contourArea, reverse=True)[:_CANNY_CONTOURS]:
        few = cv2.approxPolyDP(contour, 0.02 * cv2.arcLength(contour, True), True)
        if len(few) == 4:
            return clockwise(np.asarray(few[:, 0], np.float64) / scale)
    return None
