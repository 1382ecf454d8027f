"""PoseNet outputs to poses by the rules of TensorFlow.js PoseNet 2.2.2, as array operations.

Source: ``decodeMultiplePoses`` and ``decodeSinglePose`` of npm ``@tensorflow-models/posenet``
2.2.2. The rules are the same, the way is not: candidates stay logits until a score is needed and
leave the heap only as far as poses are still wanted. The array layout is that of ``posenet_tree``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from threading import get_ident
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
    radius2 = (nms_radius_px / stride) ** 2
    walks: list[Array] = []
    # A pose uses up some five candidates: its own root and those that it suppresses.
    for order in _in_heap_order(scores, 32 + 5 * max_poses):
        roots, parts = np.divmod(indices[order], COUNT)
        points = walker.roots(roots, parts)
        taken = np.zeros(len(order), np.bool_)
        for walk in walks:
            taken |= _near(walk[:2].take(parts, axis=1), points, radius2)
        while not taken[first := int(taken.argmin())]:
            walk = walker.walk(roots.item(first), parts.item(first))
            walks.append(walk)
            if len(walks) == max_poses:
                return _poses(heatmaps, walks, radius2, stride)
            taken |= _near(walk[:2].take(parts, axis=1), points, radius2)
            taken[first] = True
    return _poses(heatmaps, walks, radius2, stride)


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


class _Tables:
    """What a walk looks up, by keypoint and cell; made once per grid and filled for every frame.

    A place is a position in cells, 0.5 added: cut to integers it is the nearest cell, halves up as
    in JavaScript. Cutting goes towards 0, not down, which differs only where the grid ends anyway.
    ``places`` float64[34 * cells]: y, then x, where each cell's offset points to.
    ``nearest`` int32[17 * cells]: the cell nearest to there, held inside the grid.
    """

    def __init__(self, height: int, width: int) -> None:
        self._width = width
        cells = np.stack(np.divmod(np.arange(height * width), width))
        self._middle = np.repeat(cells + 0.5, COUNT, axis=0)
        shape = self._middle.shape
        self._lowest = np.zeros(shape, np.int32)
        last = np.array([[height - 1], [width - 1]], np.int32)
        self._highest = np.repeat(np.repeat(last, COUNT, axis=0), height * width, axis=1)
        self._offsets = np.empty(shape, np.float32)
        self._places = np.empty(shape)
        self._cells = np.empty(shape, np.int32)
        self._nearest = np.empty((COUNT, height * width), np.int32)
        self.places = self._places.reshape(-1)
        self.nearest = self._nearest.reshape(-1)

    def fill(self, offsets: Array, stride: int) -> None:
        """Take float32[H, W, 34] pixels."""
        cv2.transpose(offsets.reshape(-1, 2 * COUNT), self._offsets)
        self._offsets *= np.float32(1.0 / stride)  # exact: a stride is a power of two
        np.add(self._middle, self._offsets, out=self._places)
        np.copyto(self._cells, self._places, casting="unsafe")
        np.maximum(self._cells, self._lowest, out=self._cells)
        np.minimum(self._cells, self._highest, out=self._cells)
        np.multiply(self._cells[:COUNT], self._width, out=self._nearest)
        self._nearest += self._cells[COUNT:]


@lru_cache(maxsize=8)
def _tables(height: int, width: int, thread: int) -> _Tables:  # noqa: ARG001 - one for each thread
    """Kept from frame to frame: fresh memory of this size costs more than filling it."""
    return _Tables(height, width)


class _TreeWalker:
    """Follows displacements and offsets through one frame's tensors, a keypoint at a time.

    Plain numbers on memoryviews: the 16 steps of the few poses that are kept depend on one another
    and cost less this way than array calls over all candidates do.
    """

    def __init__(
        self, height: int, width: int, stride: int, offsets: Array, displacements: Array
    ) -> None:
        self.height, self.width, self.stride = height, width, stride
        tables = _tables(height, width, get_ident())
        tables.fill(offsets, stride)
        self.places = tables.places
        self._places, self._nearest = tables.places.data, tables.nearest.data
        self._displacements = np.ascontiguousarray(displacements).reshape(-1).data

    def roots(self, cells: Array, parts: Array) -> Array:
        """float64[2, N], the places that the offsets of ``parts`` at ``cells`` point to."""
        grid = self.height * self.width
        index = parts * grid + cells
        places: Array = self.places.take([index, index + COUNT * grid])
        return places

    def walk(self, cell: int, part: int) -> Array:
        """Walk from the root ``part`` at ``cell`` to every keypoint.

        Returns float64[3, 17]: y and x of the places, and the cell that the score is read at.
        """
        places, nearest, displacements = self._places, self._nearest, self._displacements
        scale, width, grid = 1.0 / self.stride, self.width, self.height * self.width
        bottom, right, to_x = self.height - 1, width - 1, COUNT * grid
        ys, xs, cells = [0.0] * COUNT, [0.0] * COUNT, [0] * COUNT
        index = part * grid + cell
        ys[part], xs[part], cells[part] = places[index], places[index + to_x], nearest[index]
        for _, source, target, channel in STEPS[part]:
            index = cells[source] * (4 * EDGE_COUNT) + channel
            row = int(ys[source] + displacements[index] * scale)
            column = int(xs[source] + displacements[index + EDGE_COUNT] * scale)
            row = 0 if row < 0 else row if row < bottom else bottom
            column = 0 if column < 0 else column if column < right else right
            # Two refinements: the second starts at the cell nearest to where the first one points.
            index = target * grid
            index += nearest[index + row * width + column]
            ys[target], xs[target] = places[index], places[index + to_x]
            cells[target] = nearest[index]
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


def _poses(heatmaps: Array, walks: list[Array], radius2: float, stride: int) -> tuple[Pose, ...]:
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
    yx -= 0.5
    yx *= stride
    return tuple(map(Pose, totals, yx[:, ::-1].transpose(0, 2, 1), scores))
