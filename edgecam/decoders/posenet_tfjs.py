"""PoseNet outputs to poses by the rules of TensorFlow.js PoseNet 2.2.2, as array operations.

Source: ``decodeMultiplePoses`` and ``decodeSinglePose`` of npm ``@tensorflow-models/posenet``
2.2.2. The rules are the same, the way is not: candidates stay logits until a score is needed and
leave the heap only as far as poses are still wanted. The array layout is that of ``posenet_tree``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.decoders.posenet_tree import EDGE_COUNT, STEPS, scores_from_logits
from edgecam.keypoints import COUNT
from edgecam.opencv import cv2
from edgecam.types import Pose

Array = NDArray[Any]

_WINDOW = np.ones((3, 3), np.uint8)  # a local maximum looks one cell around
_PARTS = np.arange(COUNT)
# Two logits at least this far apart, the lower at most _STEEP_LOGIT, never round to one score.
_LOGIT_SLACK = 1e-3
_STEEP_LOGIT = 8.0


def decode_multiple_poses(
    heatmaps: Array,
    offsets: Array,
    displacements: Array,
    *,
    stride: int,
    max_poses: int,
    score_threshold: float,
    nms_radius_px: float,
) -> tuple[Pose, ...]:
    """Poses in the order of their root scores; weak ghost poses are returned as published."""
    indices, scores = _root_candidates(heatmaps, score_threshold)
    height, width, _ = heatmaps.shape
    walker = _TreeWalker(height, width, stride, offsets, displacements)
    radius2 = nms_radius_px * nms_radius_px
    walks: list[Array] = []
    # A pose uses up some five candidates: its own root and those that it suppresses.
    for order in _in_heap_order(scores, 32 + 5 * max_poses):
        roots, parts = np.divmod(indices[order], COUNT)
        points = walker.positions(roots, parts)
        taken = np.zeros(len(order), np.bool_)
        for walk in walks:
            taken |= _near(walk[:2].take(parts, axis=1), points, radius2)
        while not taken[first := int(taken.argmin())]:
            walk = walker.walk(roots.item(first), parts.item(first))
            walks.append(walk)
            if len(walks) == max_poses:
                return _poses(heatmaps, walks, radius2)
            taken |= _near(walk[:2].take(parts, axis=1), points, radius2)
            taken[first] = True
    return _poses(heatmaps, walks, radius2)


def decode_single_pose(heatmaps: Array, offsets: Array, *, stride: int) -> Pose:
    """The one pose made of each keypoint's highest cell, first in row order among equals."""
    height, width, _ = heatmaps.shape
    scores = scores_from_logits(heatmaps).reshape(height * width, COUNT)
    cells = scores.argmax(axis=0)
    part = np.arange(COUNT)
    flat = offsets.reshape(height * width, 2 * COUNT)
    yx = np.stack(np.divmod(cells, width)).astype(np.float32) * np.float32(stride)
    yx += np.stack([flat[cells, part], flat[cells, part + COUNT]])
    best = scores[cells, part].astype(np.float64)
    return Pose(float(best.sum() / COUNT), yx[::-1].T.astype(np.float64), best)


def _root_candidates(logits: Array, threshold: float) -> tuple[Array, Array]:
    """Flat indices, rising, and float64 scores of the local maxima at or above ``threshold``.

    The comparisons that count are between float32 scores, of which many logits may share one; a
    generous comparison of logits first leaves few cells for which to compute them.
    """
    flat = logits.reshape(-1)
    peak = cv2.dilate(logits, _WINDOW).reshape(-1)
    likely = flat >= peak - np.float32(_LOGIT_SLACK)
    likely |= flat >= np.float32(_STEEP_LOGIT)
    likely &= flat >= np.float32(_logit_below(threshold))
    indices = np.flatnonzero(likely)
    scores, highest = scores_from_logits(np.stack((flat[indices], peak[indices])))
    exact = scores.astype(np.float64)
    keep = (scores >= highest) & (exact >= threshold)
    return indices[keep], exact[keep]


def _logit_below(score: float) -> float:
    """A logit somewhat under every one whose float32 score reaches ``score``."""
    low = min(score, 1.0) * (1.0 - 2e-7)
    return math.log(low / (1.0 - low)) - 1e-4 if low > 0.0 else -math.inf


def _in_heap_order(scores: Array, wanted: int) -> Iterator[Array]:
    """Candidates' places, highest score first, ties as the published heap gives them out.

    Yields about ``wanted`` first, then what is asked for beyond.
    """
    done = 0
    while done < len(scores):
        if wanted < len(scores):
            high = np.flatnonzero(scores >= np.partition(scores, -wanted)[-wanted])
        else:
            high = np.arange(len(scores))
        order = high[np.argsort(-scores[high])]
        ordered = scores[order]
        if (ordered[1:] == ordered[:-1]).any():
            order = np.array(_dequeue(scores[high].tolist(), high.tolist(), len(scores)))
        yield order[done:]
        done = len(order)
        wanted = 4 * done


def _dequeue(scores: list[float], places: list[int], size: int) -> list[int]:
    """``places`` as the published binary max-heap of ``size`` candidates hands them out.

    Its array starts at 0, the parent of k is k // 2 and the children of k are 2k and 2k + 1, with
    strict comparisons. Candidates not in ``places`` have lower scores: one low value stands for
    them all, because what they do among themselves never moves a higher one.
    """
    heap = [-1.0] * size
    place_of = dict(zip(map(id, scores), places, strict=True))  # each score is its own object
    for score, place in zip(scores, places, strict=True):
        k, parent = place, place >> 1
        while k and heap[parent] < score:
            heap[k] = heap[parent]
            k = parent
            parent >>= 1
        heap[k] = score
    order = []
    for last in range(size - 2, size - 2 - len(places), -1):
        order.append(place_of[id(heap[0])])
        score = heap[0] = heap[last + 1]
        k, child = 0, 0
        while child <= last:
            below = heap[child]
            if child < last and below < heap[child + 1]:
                child += 1
                below = heap[child]
            # The top is its own first child: staying there ends the walk.
            if score >= below:
                break
            heap[k] = below
            k = child
            child += child
        heap[k] = score
    return order


@lru_cache(maxsize=4)
def _cell_limits(height: int, width: int) -> tuple[Array, Array, Array]:
    """int32[34, cells]: each cell's own row and column, the lowest and the highest there are."""
    rows, columns = np.divmod(np.arange(height * width, dtype=np.int32), width)
    own = np.repeat(np.stack((rows, columns)), COUNT, axis=0)
    last = np.empty_like(own)
    last[:COUNT], last[COUNT:] = height - 1, width - 1
    return own, np.zeros_like(own), last


class _TreeWalker:
    """Follows displacements and offsets through one frame's tensors, a keypoint at a time.

    Plain numbers on memoryviews: the 16 steps of the few poses that are kept depend on one another
    and cost less this way than array calls over all candidates do.
    """

    def __init__(
        self, height: int, width: int, stride: int, offsets: Array, displacements: Array
    ) -> None:
        self.height, self.width, self.stride = height, width, stride
        self.flat_offsets = np.ascontiguousarray(offsets).reshape(-1)
        self.offsets = self.flat_offsets.data
        self.displacements = np.ascontiguousarray(displacements).reshape(-1).data
        self.pointed = self._pointed().data

    def _pointed(self) -> NDArray[np.int32]:
        """int32[17 * cells]: by keypoint and cell, the cell nearest to where the offset points.

        The nearest cell is floor(v + 0.5), held inside the grid, v in cells. With v = cell + offset
        that is cell + floor((floor(2 offset) + 1) / 2), in which nothing is ever rounded.
        """
        own, lowest, highest = _cell_limits(self.height, self.width)
        twice = cv2.transpose(self.flat_offsets.reshape(-1, 2 * COUNT))
        twice *= np.float32(2.0 / self.stride)
        np.floor(twice, out=twice)
        cell = twice.astype(np.int32)
        cell += 1
        cell >>= 1
        cell += own
        np.maximum(cell, lowest, out=cell)
        np.minimum(cell, highest, out=cell)
        flat: NDArray[np.int32] = cell[:COUNT] * self.width
        flat += cell[COUNT:]
        return flat.reshape(-1)

    def positions(self, cells: Array, parts: Array) -> Array:
        """float64[2, N], (y, x) pixels that the offsets of ``parts`` at ``cells`` point to."""
        index = cells * (2 * COUNT) + parts
        points = np.array(np.divmod(cells, self.width), np.float64)
        points *= self.stride
        points += self.flat_offsets.take([index, index + COUNT])
        return points

    def walk(self, cell: int, part: int) -> Array:
        """Walk from the root ``part`` at ``cell`` to every keypoint.

        Returns float64[3, 17]: y and x, pixels, and the cell that the score is read at.
        """
        offsets, displacements, pointed = self.offsets, self.displacements, self.pointed
        stride, width = self.stride, self.width
        bottom, right, grid = self.height - 1, width - 1, self.height * width
        ys, xs, cells = [0.0] * COUNT, [0.0] * COUNT, [0] * COUNT
        row, column = divmod(cell, width)
        index = cell * (2 * COUNT) + part
        ys[part] = row * stride + offsets[index]
        xs[part] = column * stride + offsets[index + COUNT]
        cells[part] = pointed[part * grid + cell]
        for _, source, target, channel in STEPS[part]:
            index = cells[source] * (4 * EDGE_COUNT) + channel
            # int() cuts towards 0, not down: different only below 0, where the grid ends anyway.
            row = int((ys[source] + displacements[index]) / stride + 0.5)
            column = int((xs[source] + displacements[index + EDGE_COUNT]) / stride + 0.5)
            row = 0 if row < 0 else row if row < bottom else bottom
            column = 0 if column < 0 else column if column < right else right
            first = row * width + column
            second = pointed[target * grid + first]
            if second != first:
                row, column = divmod(second, width)
            index = second * (2 * COUNT) + target
            ys[target] = row * stride + offsets[index]
            xs[target] = column * stride + offsets[index + COUNT]
            cells[target] = pointed[target * grid + second]
        cells[part] = cell  # a root's score is its own cell's, wherever its offset points
        return np.array((ys, xs, cells))


def _near(a: Array, b: Array, radius2: float) -> NDArray[np.bool_]:
    """Whether positions [2, ...] and [2, ...] are at most the radius apart."""
    gap = a - b
    gap *= gap
    return np.asarray(gap[0] + gap[1] <= radius2)


@lru_cache(maxsize=32)
def _pairs(count: int) -> tuple[Array, Array, Array]:
    """Every (later, earlier) pair of ``count``, and where each later one's pairs begin."""
    later, earlier = np.tril_indices(count, -1)
    return later, earlier, np.searchsorted(later, np.arange(1, count))


def _poses(heatmaps: Array, walks: list[Array], radius2: float) -> tuple[Pose, ...]:
    """Poses whose score counts only keypoints away from the same one of all earlier poses."""
    if not walks:
        return ()
    walked = np.array(walks)
    yx = walked[:, :2]
    logits = heatmaps.reshape(-1).take(walked[:, 2].astype(np.intp) * COUNT + _PARTS)
    scores = scores_from_logits(logits).astype(np.float64)
    counted = scores
    if len(walks) > 1:
        later, earlier, begin = _pairs(len(walks))
        gap = yx.take(later, axis=0)
        gap -= yx.take(earlier, axis=0)
        gap *= gap
        near = gap[:, 0] + gap[:, 1] <= radius2
        counted = scores.copy()
        counted[1:][np.logical_or.reduceat(near, begin)] = 0.0
    totals = (counted.sum(axis=1) / COUNT).tolist()
    return tuple(map(Pose, totals, yx[:, ::-1].transpose(0, 2, 1), scores))
