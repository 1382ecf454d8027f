"""PoseNet outputs to poses by the rules of TensorFlow.js PoseNet 2.2.2, as array operations.

Source: ``decodeMultiplePoses`` and ``decodeSinglePose`` of npm ``@tensorflow-models/posenet``
2.2.2. The rules are the same, the way is not: see ``posenet_roots`` for the candidates and
``_Tables`` for the walk. The array layout is that of ``posenet_tree``.
"""

from __future__ import annotations

from functools import lru_cache
from threading import get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import COUNT
from edgecam.core.opencv import cv2
from edgecam.core.result import Pose
from edgecam.inference.decoders.posenet_roots import in_heap_order, root_candidates
from edgecam.inference.decoders.posenet_tree import EDGE_COUNT, STEPS, scores_from_logits

Array = NDArray[Any]

ONE_WAY = 2 * EDGE_COUNT  # y and x of every edge

_PARTS = np.arange(COUNT)


def decode_multiple_poses(
    heatmaps: Array,
    offsets: Array,
    displacements: Array | tuple[Array, Array],
    *,
    stride: int,
    max_poses: int,
    score_threshold: float,
    nms_radius_px: float,
) -> tuple[Pose, ...]:
    """Poses in the order of their root scores; weak ghost poses are returned as published.

    ``displacements``: in one array, or forward and backward in one each of 32 channels.
    """
    indices, scores = root_candidates(heatmaps, score_threshold)
    height, width, _ = heatmaps.shape
    walker = _TreeWalker(height, width, stride, offsets, displacements)
    radius2 = (nms_radius_px / stride) ** 2
    walks: list[Array] = []
    # A pose uses up some five candidates: its own root and those that it suppresses.
    for order in in_heap_order(scores, 32 + 5 * max_poses):
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


@lru_cache(maxsize=32)
def _tables(height: int, width: int, thread: int) -> _Tables:  # noqa: ARG001 - one for each thread
    """Kept from frame to frame: fresh memory of this size costs more than filling it."""
    return _Tables(height, width)


class _TreeWalker:
    """Follows displacements and offsets through one frame's tensors, a keypoint at a time.

    Plain numbers on memoryviews: the 16 steps of the few poses that are kept depend on one another
    and cost less this way than array calls over all candidates do.
    """

    def __init__(
        self,
        height: int,
        width: int,
        stride: int,
        offsets: Array,
        displacements: Array | tuple[Array, Array],
    ) -> None:
        self.height, self.width, self.stride = height, width, stride
        tables = _tables(height, width, get_ident())
        tables.fill(offsets, stride)
        self.places = tables.places
        self._places, self._nearest = tables.places.data, tables.nearest.data
        # Forward and backward ones, and how many numbers a cell has in either.
        if isinstance(displacements, tuple):
            self._ways = tuple(np.ascontiguousarray(way).reshape(-1).data for way in displacements)
            self._depth = ONE_WAY
        else:
            both = np.ascontiguousarray(displacements).reshape(-1).data
            self._ways = (both, both[ONE_WAY:])
            self._depth = 2 * ONE_WAY

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
        places, nearest, depth = self._places, self._nearest, self._depth
        forward, backward = self._ways
        scale, width, grid = 1.0 / self.stride, self.width, self.height * self.width
        bottom, right, to_x = self.height - 1, width - 1, COUNT * grid
        ys, xs, cells = [0.0] * COUNT, [0.0] * COUNT, [0] * COUNT
        index = part * grid + cell
        ys[part], xs[part], cells[part] = places[index], places[index + to_x], nearest[index]
        for _, source, target, channel in STEPS[part]:
            index = cells[source] * depth + channel
            displacements = forward
            if channel >= ONE_WAY:
                index -= ONE_WAY
                displacements = backward
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
