"""PoseNet outputs to poses by the rules of Coral's decoder (libcoral), as array operations.

Source: ``DecodeAllPoses`` in google-coral/libcoral ``coral/posenet/posenet_decoder.cc``. Works on
logits in units of cells; samples bilinearly; all candidates of a chunk are walked together, one
step away from their roots at a time. The array layout is that of ``posenet_tree``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import COUNT
from edgecam.core.opencv import cv2
from edgecam.core.result import Pose
from edgecam.inference.decoders.posenet_tree import EDGE_COUNT, STEPS, scores_from_logits

Array = NDArray[Any]

_REFINEMENTS = 5
_CHUNK = 48
_WINDOW = np.ones((3, 3), np.uint8)  # a local maximum looks one cell around
_STEPS = np.array(STEPS, np.intp)  # [17 roots, 16 steps, 4]
_EDGE_PAIR = np.array([[0], [EDGE_COUNT]])
_PART_PAIR = np.array([[0], [COUNT]])


def decode_poses(
    heatmaps: Array,
    offsets: Array,
    displacements: Array,
    *,
    stride: int,
    max_poses: int,
    score_threshold: float,
    nms_radius_px: float,
) -> tuple[Pose, ...]:
    """Poses of a mean score of at least the threshold, highest first after the soft suppression."""
    indices, logits = _root_candidates(heatmaps, score_threshold)
    fields = _Fields(heatmaps, offsets, displacements, stride)
    radius2 = float(np.float32(nms_radius_px / stride) ** 2)
    positions = np.empty((2, 0, COUNT), np.float32)
    scores = np.empty((0, COUNT))
    order = _priority_order(logits.tolist())
    while len(scores) < max_poses and (chunk := list(islice(order, _CHUNK))):
        cells, parts = np.divmod(indices[chunk], COUNT)
        roots = fields.roots(cells, parts)
        free = ~_near(positions.take(parts, axis=2), roots[:, None], radius2).any(axis=0)
        if not free.any():
            continue
        parts, roots = parts[free], roots[:, free]
        walked, walked_scores = fields.walk(roots, parts)
        near = _near(walked.take(parts, axis=2), roots[:, None], radius2)
        strong = walked_scores.mean(axis=1) >= score_threshold
        kept = _greedy(near, strong, max_poses - len(scores))
        positions = np.concatenate((positions, walked[:, kept]), axis=1)
        scores = np.concatenate((scores, walked_scores[kept]))
    return _ranked_poses(positions, scores, score_threshold, radius2, stride)


def _root_candidates(logits: Array, threshold: float) -> tuple[Array, Array]:
    """Flat indices, rising, and logits of the local maxima at or above ``threshold``."""
    odds = 1.0 / (float(np.float32(threshold)) + 1e-6) - 1.0
    least = np.float32(-np.log(odds)) if odds > 0.0 else np.float32(np.inf)
    indices = np.flatnonzero((logits >= cv2.dilate(logits, _WINDOW)) & (logits >= least))
    return indices, logits.reshape(-1)[indices]


def _priority_order(logits: list[float]) -> Iterator[int]:
    """Candidates' places, highest first, ties as ``std::priority_queue`` of libstdc++ gives them.

    That is a binary max-heap with children 2k + 1 and 2k + 2, which on removal moves the hole down
    to a leaf along the larger children and then lifts the last element from there.
    """
    heap: list[int] = []
    for place in range(len(logits)):
        heap.append(place)
        _lift(heap, logits, place, place)
    while heap:
        yield heap[0]
        place = heap.pop()
        size = len(heap)
        hole = 0
        while 2 * hole + 2 < size:
            child = 2 * hole + 2
            if logits[heap[child]] < logits[heap[child - 1]]:
                child -= 1
            heap[hole] = heap[child]
            hole = child
        if 2 * hole + 2 == size:
            heap[hole] = heap[size - 1]
            hole = size - 1
        if size:
            _lift(heap, logits, hole, place)


def _lift(heap: list[int], logits: list[float], hole: int, place: int) -> None:
    """Put ``place`` into the heap at ``hole`` or, where it is larger, above."""
    while hole and logits[heap[(hole - 1) // 2]] < logits[place]:
        heap[hole] = heap[(hole - 1) // 2]
        hole = (hole - 1) // 2
    heap[hole] = place


class _Fields:
    """One frame's tensors, flat; positions are float32[2, ...], (y, x) in cells."""

    def __init__(self, heatmaps: Array, offsets: Array, displacements: Array, stride: int) -> None:
        height, self.width, _ = heatmaps.shape
        self.last = np.array([[height - 1], [self.width - 1]], np.float32)
        self.logits = heatmaps.reshape(-1)
        self.offsets = offsets.reshape(-1) / np.float32(stride)
        self.displacements = displacements.reshape(-1) / np.float32(stride)

    def roots(self, cells: Array, parts: Array) -> Array:
        """float32[2, N] positions that the candidates' own offsets point to."""
        own = np.stack(np.divmod(cells, self.width)).astype(np.float32)
        return self._inside(own + self.offsets.take(cells * (2 * COUNT) + parts + _PART_PAIR))

    def walk(self, roots: Array, parts: Array) -> tuple[Array, Array]:
        """Positions float32[2, N, 17] and scores float64[N, 17] of the trees of N roots."""
        count = len(parts)
        distance, source, target, channel = _STEPS[parts].reshape(-1, 4).T
        order = np.argsort(distance, kind="stable")
        tree, target, channel = order // (COUNT - 1), target[order], channel[order]
        # Rows: the N roots, then all steps, nearest to their root first.
        row_of = np.empty((count, COUNT), np.intp)
        row_of[np.arange(count), parts] = np.arange(count)
        row_of[tree, target] = np.arange(count, count * COUNT)
        source = row_of[tree, source[order]]
        points = np.empty((2, count * COUNT), np.float32)
        points[:, :count] = roots
        levels = np.searchsorted(distance[order], np.arange(1, distance.max() + 2))
        for first, end in pairwise(levels.tolist()):
            start = points.take(source[first:end], axis=1)
            points[:, count + first : count + end] = self._step(
                start, channel[first:end], target[first:end]
            )
        points = points.take(row_of, axis=1)
        every = np.tile(np.arange(COUNT), count)
        logits = self._sample(self.logits, COUNT, points.reshape(2, -1), every[None])
        return points, scores_from_logits(logits).astype(np.float64).reshape(count, COUNT)

    def _step(self, points: Array, channels: Array, parts: Array) -> Array:
        """One edge: follow the displacement, then the target's offsets a fixed number of times."""
        move = self._sample(self.displacements, 4 * EDGE_COUNT, points, channels + _EDGE_PAIR)
        points = self._inside(points + move)
        for _ in range(_REFINEMENTS):
            move = self._sample(self.offsets, 2 * COUNT, points, parts + _PART_PAIR)
            points = self._inside(points + move)
        return points

    def _inside(self, points: Array) -> Array:
        inside: Array = np.minimum(np.maximum(points, np.float32(0.0)), self.last)
        return inside

    def _sample(self, field: Array, depth: int, points: Array, channels: Array) -> Array:
        """``field`` of ``depth`` channels, bilinearly at ``points`` [2, N] in ``channels``."""
        low = points.astype(np.intp)
        far = points - low.astype(np.float32)
        high = low + (far > 0.0)
        rows = np.stack((low[0], high[0])) * self.width
        cells = rows[:, None] + np.stack((low[1], high[1]))  # [y side, x side, N]
        top, bottom = field.take(cells[:, :, None] * depth + channels)  # each [x side, C, N]
        # The published order of operations, in float32: long walks over rough fields amplify
        # every rounding.
        y, x = far
        upper = (1 - x) * top[0] + x * top[1]
        lower = (1 - x) * bottom[0] + x * bottom[1]
        mixed: Array = (1 - y) * upper + y * lower
        return mixed


def _near(a: Array, b: Array, radius2: float) -> NDArray[np.bool_]:
    """Whether positions [2, ...] and [2, ...] are at most the radius apart."""
    gap = a - b
    gap *= gap
    return np.asarray(gap[0] + gap[1] <= radius2)


def _greedy(near: NDArray[np.bool_], strong: NDArray[np.bool_], most: int) -> list[int]:
    """The first ``most`` strong rows that no kept row before them is near to."""
    free = strong.copy()
    kept: list[int] = []
    while len(kept) < most and free[first := int(free.argmax())]:
        kept.append(first)
        free &= ~near[first]
        free[: first + 1] = False
    return kept


def _ranked_poses(
    positions: Array, scores: Array, threshold: float, radius2: float, stride: int
) -> tuple[Pose, ...]:
    """Poses rescored without the keypoints that a higher pose has too, sorted and cut again."""
    rank = np.argsort(-scores.mean(axis=1), kind="stable")
    positions, scores = positions[:, rank], scores[rank]
    near = _near(positions[:, :, None], positions[:, None], radius2)
    near &= np.tri(len(rank), k=-1, dtype=np.bool_)[:, :, None]
    totals = np.where(near.any(axis=1), 0.0, scores).sum(axis=1) / COUNT
    xy = positions[::-1].transpose(1, 2, 0).astype(np.float64) * stride
    return tuple(
        Pose(float(totals[pose]), xy[pose], scores[pose])
        for pose in np.argsort(-totals, kind="stable").tolist()
        if totals[pose] >= threshold
    )
