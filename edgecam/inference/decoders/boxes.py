"""What detectors share: non-maximum suppression, and arrays of boxes to detections.

Boxes are [N, 4]: y min, x min, y max, x max, fractions of the model input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.result import Box, Decoded, Detection

Array = NDArray[Any]

_CHUNK = 96
# So many boxes at most go into suppression, the best ones.
_MOST_BOXES = 1000


def overlapping(first: Array, second: Array, threshold: float) -> NDArray[np.bool_]:
    """Return [N, M]: where boxes [N, 4] and [M, 4] share more than ``threshold`` of their union.

    A box without area overlaps nothing.
    """
    top, left, bottom, right = np.ascontiguousarray(first.T)[:, :, None]
    top_2, left_2, bottom_2, right_2 = np.ascontiguousarray(second.T)[:, None, :]
    common = np.minimum(bottom, bottom_2) - np.maximum(top, top_2)
    # One side cut at 0 is enough: what the other makes negative is above no share of the union. An
    # array of zeros is compared three times as fast as one zero.
    np.maximum(common, np.zeros_like(common), out=common)
    common *= np.minimum(right, right_2) - np.maximum(left, left_2)
    union = (bottom - top) * (right - left) + (bottom_2 - top_2) * (right_2 - left_2) - common
    union *= threshold
    found: NDArray[np.bool_] = common > union
    return found


def suppress(boxes: Array, threshold: float, limit: int) -> NDArray[np.intp]:
    """Return the rows that remain, ``limit`` at most, of boxes sorted from the best score down.

    A box goes where its overlap with a better one that remains is above ``threshold``. Boxes are
    compared by chunks, so that the tail is never looked at once ``limit`` is reached.
    """
    if limit < 1:
        return np.empty(0, np.intp)
    kept: list[int] = []
    for start in range(0, len(boxes), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(boxes)))
        # Most boxes of a crowd go by those that remain already.
        rows = rows[~overlapping(boxes[kept], boxes[rows], threshold).any(axis=0)]
        alive = np.ones(len(rows), np.bool_)
        spared = ~overlapping(boxes[rows], boxes[rows], threshold)
        for number, row in enumerate(rows.tolist()):
            if not alive[number]:
                continue
            kept.append(row)
            if len(kept) == limit:
                return np.array(kept, np.intp)
            alive &= spared[number]
    return np.array(kept, np.intp)


def best_of_classes(
    boxes: Array, classes: NDArray[np.intp], scores: Array, threshold: float, limit: int
) -> NDArray[np.intp]:
    """Return the rows that remain when each class is suppressed by itself, the best first."""
    order = np.argsort(-scores, kind="stable")[:_MOST_BOXES]
    # Apart by their class, boxes of two classes never overlap.
    reach = 2.0 * np.abs(boxes[order]).max(initial=0.0) + 1.0
    apart = boxes[order] + (classes[order, None] * reach).astype(np.float32)
    return order[suppress(apart, threshold, limit)]


def detections(
    boxes: Array,
    classes: NDArray[np.intp],
    scores: Array,
    labels: Sequence[str] | None,
    size: tuple[int, int],
) -> Decoded:
    """Return boxes as detections in pixels of ``size``, (height, width) of the model input."""
    height_px, width_px = size
    pixels = (boxes * np.array([height_px, width_px, height_px, width_px], np.float32)).tolist()
    found = []
    for (top, left, bottom, right), number, score in zip(
        pixels, classes.tolist(), scores.tolist(), strict=True
    ):
        known = labels is not None and 0 <= number < len(labels)
        label = labels[number] if labels is not None and known else f"class_{number}"
        found.append(Detection(label, number, score, Box(left, top, right, bottom)))
    return Decoded(detections=tuple(found))
