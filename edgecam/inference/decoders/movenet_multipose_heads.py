"""MoveNet MultiPose cut at its heads, on a grid of h x w cells; any number of people.

Outputs, in any order: center [1, h, w, 1], box_scale and box_offset [1, h, w, 2], kpt_heatmap
[1, h, w, 17], kpt_regress and kpt_offset [1, h, w, 34]; only names tell those of one shape apart.
Rules: those of the published graph's last layers, which take the six best peaks; here a keypoint's
score is the person's own, where the graph takes the greatest over all people at its cell. Whom the
thresholds let pass: as for the whole graph, see ``movenet_multipose``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecam.core.errors import ModelError
from edgecam.core.keypoints import COCO, COUNT, Skeleton
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded, Pose
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference.decoders import movenet_grid as grid
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, image_size

LAYOUT = """\
MoveNet MultiPose, heads: center [1, h, w, 1], box_scale and box_offset [1, h, w, 2], kpt_heatmap
  [1, h, w, 17], kpt_regress and kpt_offset [1, h, w, 34]"""

# The published graph looks at so many.
_PEAKS = 6
# Two neighbours this close are one peak each.
_SAME_PEAK = np.float32(1e-6)
# A keypoint counts towards the person's score from here on.
_COUNTED = 0.127
# Square cells at which a keypoint's weight falls to 1/e, as a share of the grid's shorter side.
_SPREAD = 0.3
_KEYPOINTS = np.arange(COUNT)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MultiPoseHeads(FamilyDecoder):
    """``outputs``: box_scale, box_offset, center, kpt_heatmap, kpt_regress, kpt_offset."""

    family: str = "movenet-multipose"
    finds: Finds = "poses"
    skeleton: Skeleton | None = COCO

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the people whose scores suffice."""
        if not all(np.isfinite(tensor.sum()) for tensor in tensors):
            return Decoded()
        maps = [np.asarray(tensor[0], np.float32) for tensor in tensors]
        people = decode(*maps, max_poses=options.max_poses, least_score=options.min_pose_score)
        is_sure = [pose.scores.max() >= options.score_threshold for pose in people]
        return Decoded(poses=tuple(itertools.compress(people, is_sure)))


def decode(
    box_scale: Tensor,
    box_offset: Tensor,
    center: Tensor,
    heatmap: Tensor,
    regress: Tensor,
    offset: Tensor,
    *,
    max_poses: int,
    least_score: float,
) -> tuple[Pose, ...]:
    """Return people whose score reaches ``least_score``, the surest centre first."""
    rows, columns = center.shape[:2]
    certain = grid.sigmoid(center[:, :, 0])
    # No person scores more than the centre does.
    peaks = _peaks(certain, least_score)[: max(_PEAKS, max_poses)]
    if not peaks.size:
        return ()
    sure = np.ascontiguousarray(grid.sigmoid(heatmap).transpose(2, 0, 1))
    offsets = offset.reshape(rows, columns, COUNT, 2)
    ys, xs = np.divmod(peaks, columns)
    at = np.stack((ys, xs), axis=1).astype(np.float32)
    lows, highs = _boxes(at, box_scale[ys, xs], box_offset[ys, xs], (rows, columns))
    estimates = regress[ys, xs].reshape(-1, COUNT, 2) + at[:, None]
    # A weight by the distance is one by the rows times one by the columns.
    spread = np.float32(_SPREAD * min(rows, columns))
    down = np.exp(-np.square(np.arange(rows, dtype=np.float32) - estimates[..., :1]) / spread)
    across = np.exp(-np.square(np.arange(columns, dtype=np.float32) - estimates[..., 1:]) / spread)
    people: list[Pose] = []
    for number, ((top, left), (bottom, right)) in enumerate(zip(lows, highs, strict=True)):
        if len(people) == max_poses:
            break
        if top >= bottom or left >= right:
            continue
        weighed = sure[:, top:bottom, left:right] * down[number, :, top:bottom, None]
        weighed *= across[number, :, None, left:right]
        flat = weighed.reshape(COUNT, -1)
        best = flat.argmax(axis=1)
        scores = flat[_KEYPOINTS, best]
        counted = scores[scores > _COUNTED]
        mean = float(counted.sum()) / max(len(counted), 1)
        score = float(certain[ys[number], xs[number]]) * mean
        if score > 0.0 and score >= least_score:
            y, x = best // (right - left) + top, best % (right - left) + left
            cells = offsets[y, x, _KEYPOINTS] + np.stack((y, x), axis=1)
            people.append(grid.pose(score, cells, scores))
    return tuple(people)


def _peaks(certain: Tensor, least: float) -> Tensor:
    """Return the cells, counted row by row, that no neighbour exceeds; the surest first."""
    padded = np.pad(certain, 1, constant_values=-np.inf)
    across = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    around = np.maximum(np.maximum(across[:-2], across[1:-1]), across[2:])
    found = np.flatnonzero((around - certain < _SAME_PEAK) & (certain >= least))
    order: Tensor = found[np.argsort(-certain.reshape(-1)[found], kind="stable")]
    return order


def _boxes(
    at: Tensor, scale: Tensor, offset: Tensor, sides: tuple[int, int]
) -> tuple[list[list[int]], list[list[int]]]:
    """Return the first (row, column) of the cells inside each box, and the first ones behind."""
    half = np.maximum(scale, 0.0) / 2
    centre = at + offset
    low = np.ceil(np.minimum(np.maximum(centre - half, 0), sides)).astype(int)
    high = np.ceil(np.minimum(np.maximum(centre + half, 0), sides)).astype(int)
    return low.tolist(), high.tolist()


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder | None:
    """Return the decoder if the outputs are the six heads on one grid.

    Raises:
        ModelError: they are, and names leave two heads of one shape undecided.
    """
    size = image_size(inputs)
    if size is None:
        return None
    places = grid.places_of(grid.MULTIPLE, size, outputs, list(context.namings(outputs)))
    if isinstance(places, str):
        raise ModelError(
            f"MoveNet MultiPose's heads: {places}; convert the published graph with edgecam "
            "convert --outputs, which keeps the names"
        )
    if places is None:
        return None
    cells = f"{outputs[0].shape[1]}x{outputs[0].shape[2]}"
    return MultiPoseHeads(
        outputs=places, why=f"multiple pose heads on {cells} cells, distinguished by name"
    )
