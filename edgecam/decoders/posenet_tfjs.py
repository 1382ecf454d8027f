"""PoseNet outputs to poses by the rules of TensorFlow.js PoseNet 2.2.2, as array operations.

Source: ``decodeMultiplePoses`` and ``decodeSinglePose`` of npm ``@tensorflow-models/posenet``
2.2.2. The rules are the same, the way is not: candidates stay logits until a score is needed, and
the trees of all candidates of a chunk are walked together, one step away from the root at a time.

Arrays are float32 without the batch dimension. ``heatmaps`` [H, W, 17]: logits. ``offsets``
[H, W, 34]: y then x, pixels. ``displacements`` [H, W, 64]: forward y, forward x, backward y,
backward x, 16 edges each in ``keypoints.EDGES`` order, pixels. Positions are model-input pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecam.keypoints import COUNT, EDGES
from edgecam.types import Pose

Array = NDArray[Any]

_EDGE_COUNT = len(EDGES)
_CHUNK = 64
_WINDOW = np.ones((3, 3), np.uint8)  # a local maximum looks one cell around
# y and x of an edge are 16 channels apart, those of a keypoint's offset 17.
_EDGE_PAIR = np.array([[0], [_EDGE_COUNT]])
_PART_PAIR = np.array([[0], [COUNT]])
# Two logits at least this far apart, the lower at most _STEEP_LOGIT, never round to one score.
_LOGIT_SLACK = 1e-3
_STEEP_LOGIT = 8.0


def _steps_from(root: int) -> list[tuple[int, int, int, int]]:
    """The 16 steps (distance from root, source, target, y channel) that reach all keypoints."""
    reached = {root: 0}
    steps = []
    queue = [root]
    for source in queue:
        for edge, (parent, child) in enumerate(EDGES):
            for start, end, channel in ((parent, child, edge), (child, parent, edge + 32)):
                if start == source and end not in reached:
                    reached[end] = reached[source] + 1
                    steps.append((reached[end], source, end, channel))
                    queue.append(end)
    return steps


# [17 roots, 16 steps, 4]. In a tree the path from a root to a keypoint is unique, so walking by
# distance gives what the published order (all backward edges, then all forward ones) gives.
_STEPS = np.array([_steps_from(root) for root in range(COUNT)], np.intp)


def scores_from_logits(logits: Array) -> NDArray[np.float32]:
    """float32 sigmoid of ``logits``, bit for bit as TensorFlow.js computes it on the CPU."""
    return (1.0 / (1.0 + np.exp(-np.maximum(logits, -200.0, dtype=np.float64)))).astype(np.float32)


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
    grid = _Grid(heatmaps, offsets, displacements, stride)
    indices, scores = _root_candidates(heatmaps, score_threshold)
    radius2 = nms_radius_px * nms_radius_px
    positions = np.empty((2, 0, COUNT))
    cells = np.empty((0, COUNT), np.intp)
    for chunk in _in_heap_order(scores):
        roots = indices[chunk]
        cell, part = np.divmod(roots, COUNT)
        start = grid.positions(cell, part)
        free = ~_near(positions[:, :, part], start[:, None], radius2).any(axis=0)
        if not free.any():
            continue
        if not free.all():
            cell, part, start = cell[free], part[free], start[:, free]
        walked, walked_cells = grid.walk(cell, part, start)
        near = _near(walked[:, :, part], start[:, None], radius2)
        kept = _greedy(near, max_poses - len(cells))
        positions = np.concatenate([positions, walked[:, kept]], axis=1)
        cells = np.concatenate([cells, walked_cells[kept]])
        if len(cells) >= max_poses:
            break
    return _poses(positions, grid.scores(cells), radius2)


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
    peak = cv2.dilate(logits, _WINDOW)
    flat = logits.reshape(-1)
    least = np.minimum(peak, np.float32(_STEEP_LOGIT)).reshape(-1)
    least -= np.float32(_LOGIT_SLACK)
    np.maximum(least, np.float32(_logit_below(threshold)), out=least)
    indices = np.flatnonzero(flat >= least)
    scores = scores_from_logits(flat[indices])
    highest = scores_from_logits(peak.reshape(-1)[indices])
    exact = scores.astype(np.float64)
    keep = (scores >= highest) & (exact >= threshold)
    return indices[keep], exact[keep]


def _logit_below(score: float) -> float:
    """A logit somewhat under every one whose float32 score reaches ``score``."""
    low = min(score, 1.0) * (1.0 - 2e-7)
    return float(np.log(low / (1.0 - low))) - 1e-4 if low > 0.0 else -np.inf


def _in_heap_order(scores: Array) -> Iterator[Array]:
    """Yield candidates' places, highest score first, ties as the published heap gives them out."""
    done = 0
    wanted = _CHUNK
    while done < len(scores):
        if wanted < len(scores):
            high = np.flatnonzero(scores >= np.partition(scores, -wanted)[-wanted])
        else:
            high = np.arange(len(scores))
        order = high[np.argsort(-scores[high])]
        ranked = scores[order]
        if (ranked[1:] == ranked[:-1]).any():
            order = np.array(_dequeue(scores[high].tolist(), high.tolist(), len(scores)))
        for start in range(done, len(order), _CHUNK):
            yield order[start : start + _CHUNK]
        done = len(order)
        wanted = 4 * done


def _dequeue(scores: list[float], places: list[int], size: int) -> list[int]:
    """``places`` in the order in which the published binary max-heap of ``size`` hands them out.

    Its array starts at 0, the parent of k is k // 2 and the children of k are 2k and 2k + 1, with
    strict comparisons. Candidates not in ``places`` have lower scores: one low value stands for
    them all, because what they do among themselves never moves a higher one.
    """
    low = -1.0
    heap = [low] * size
    names = [-1] * size
    for score, name in zip(scores, places, strict=True):
        k = name
        parent = k >> 1
        while k and heap[parent] < score:
            heap[k], names[k] = heap[parent], names[parent]
            k = parent
            parent >>= 1
        heap[k], names[k] = score, name
    order = []
    last = size - 1
    for _ in places:
        order.append(names[0])
        score, name = heap[last], names[last]
        last -= 1
        heap[0] = score
        k = child = 0
        while child <= last:
            if child < last and heap[child] < heap[child + 1]:
                child += 1
            # The top is its own first child: staying there ends the walk.
            if child == 0 or score >= heap[child]:
                break
            heap[k], names[k] = heap[child], names[child]
            k = child
            child = 2 * k
        heap[k], names[k] = score, name
    return order


class _Grid:
    """One frame's tensors, flat, with (y, x) pairs along the first axis of every array."""

    def __init__(self, heatmaps: Array, offsets: Array, displacements: Array, stride: int) -> None:
        height, self.width, _ = heatmaps.shape
        self.last = np.array([[height - 1.0], [self.width - 1.0]])
        self.stride = stride
        self.logits = heatmaps.reshape(-1)
        self.offsets = offsets.reshape(-1)
        self.displacements = displacements.reshape(-1)

    def positions(self, cells: Array, parts: Array) -> Array:
        """float64[2, N] pixels that the cells' offsets point to."""
        return self._refined(np.stack(np.divmod(cells, self.width)), cells, parts)

    def walk(self, cells: Array, parts: Array, start: Array) -> tuple[Array, Array]:
        """Every keypoint of the trees rooted at N candidates.

        Returns positions float64[2, N, 17], pixels, and the cells [N, 17] their scores are read at.
        """
        count = len(cells)
        distance, source, target, channel = _STEPS[parts].reshape(-1, 4).T.copy()
        order = np.argsort(distance, kind="stable")
        ends = np.searchsorted(distance[order], np.arange(1, distance.max() + 2)) + count
        tree = order // (COUNT - 1)
        # Rows: the N roots, then all steps, nearest to their root first.
        row_of = np.empty((count, COUNT), np.intp)
        row_of[np.arange(count), parts] = np.arange(count)
        row_of[tree, target[order]] = np.arange(count, count * COUNT)
        source = row_of[tree, source[order]]
        target, channel = target[order], channel[order]
        yx = np.empty((2, count * COUNT))
        at = np.empty(count * COUNT, np.intp)
        yx[:, :count] = start
        at[:count] = self._nearest(start)[1]
        for first, end in pairwise(ends.tolist()):
            step = slice(first - count, end - count)
            yx[:, first:end], at[first:end] = self._step(
                yx.take(source[step], axis=1), at.take(source[step]), channel[step], target[step]
            )
        at[:count] = cells  # a root's score is its own cell's, wherever its offset points
        return yx.take(row_of, axis=1), at.take(row_of)

    def scores(self, cells: Array) -> Array:
        """float64[N, 17] scores of the keypoints read at ``cells``."""
        logits = self.logits.take(cells * COUNT + np.arange(COUNT))
        return scores_from_logits(logits).astype(np.float64)

    def _step(self, yx: Array, at: Array, channels: Array, parts: Array) -> tuple[Array, Array]:
        """One edge: displace from the source's cell, then settle twice on the target's offsets."""
        index = at * (4 * _EDGE_COUNT) + channels
        yx += self.displacements.take(index + _EDGE_PAIR)
        for _ in range(2):
            cell_yx, cells = self._nearest(yx)
            yx = self._refined(cell_yx, cells, parts)
        return yx, self._nearest(yx)[1]

    def _nearest(self, yx: Array) -> tuple[Array, Array]:
        """The cell nearest to each position, halves up, held inside the grid: (y, x) and flat."""
        scaled = yx * (1.0 / self.stride)  # exact: a stride is a power of two
        scaled += 0.5
        np.maximum(scaled, 0.0, out=scaled)
        np.minimum(scaled, self.last, out=scaled)
        cell = scaled.astype(np.intp)
        return cell, cell[0] * self.width + cell[1]

    def _refined(self, cell_yx: Array, cells: Array, parts: Array) -> Array:
        index = cells * (2 * COUNT) + parts
        return cell_yx * float(self.stride) + self.offsets.take(index + _PART_PAIR)


def _near(a: Array, b: Array, radius2: float) -> NDArray[np.bool_]:
    """Whether positions [2, ...] and [2, ...] are at most the radius apart."""
    gap = a - b
    gap *= gap
    return np.asarray(gap[0] + gap[1] <= radius2)


def _greedy(near: NDArray[np.bool_], most: int) -> list[int]:
    """The first ``most`` rows that no kept row before them is near to."""
    free = np.ones(len(near), np.bool_)
    kept: list[int] = []
    while len(kept) < most:
        row = int(free.argmax()) if len(free) else 0
        if row >= len(free) or not free[row]:
            break
        kept.append(row)
        free[: row + 1] = False
        free &= ~near[row]
    return kept


def _poses(positions: Array, scores: Array, radius2: float) -> tuple[Pose, ...]:
    """Poses whose score counts only keypoints away from the same one of all earlier poses."""
    earlier = np.tri(len(scores), k=-1, dtype=np.bool_)[:, :, None]
    near = _near(positions[:, :, None], positions[:, None], radius2)
    totals = np.where((near & earlier).any(axis=1), 0.0, scores).sum(axis=1) / COUNT
    xy = np.ascontiguousarray(positions[::-1].transpose(1, 2, 0))
    return tuple(
        Pose(total, points, part_scores)
        for total, points, part_scores in zip(totals.tolist(), xy, scores, strict=True)
    )
