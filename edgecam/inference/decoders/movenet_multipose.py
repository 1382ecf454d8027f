"""MoveNet MultiPose as published: one output [1, K, 56] with a row for each of K people (K is 6).

A row: 17 x (y, x, score) in ``keypoints.NAMES`` order, then ymin, xmin, ymax, xmax and the person's
score; positions are fractions of the input, padding included. People come in the graph's order; no
suppression is left to do. As for single pose a person counts as found where the best keypoint
reaches the score threshold; the person's own score has to reach ``min_pose_score``. Source: the
model card of MoveNet.MultiPose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecam.core.keypoints import COCO, COUNT, Skeleton
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded, Pose
from edgecam.core.tensors import RAW_PIXELS, Normalization, Tensor, TensorInfo
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, image_size

LAYOUT = "MoveNet MultiPose: [1, K, 56]"

_COLUMNS = 3 * COUNT + 5


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MultiPose(FamilyDecoder):
    """Bound to an input of ``height_px`` x ``width_px``."""

    height_px: int
    width_px: int
    family: str = "movenet-multipose"
    finds: Finds = "poses"
    skeleton: Skeleton | None = COCO
    normalization: Normalization = RAW_PIXELS

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the people whose scores suffice, in the graph's order."""
        rows = np.asarray(tensors[0], np.float64).reshape(-1, _COLUMNS)
        rows = rows[np.isfinite(rows).all(axis=1)]
        best = rows[:, 2 : 3 * COUNT : 3].max(axis=1)
        # Rows that stand for no person score 0.
        is_person = (rows[:, -1] > 0.0) & (rows[:, -1] >= options.min_pose_score)
        found = rows[is_person & (best >= options.score_threshold)]
        people = []
        for row in found[: options.max_poses]:
            keypoints = row[: 3 * COUNT].reshape(COUNT, 3)
            xy = keypoints[:, 1::-1] * (self.width_px, self.height_px)
            people.append(Pose(float(row[-1]), xy, keypoints[:, 2].copy()))
        return Decoded(poses=tuple(people))


def recognise(
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    context: FamilyContext,  # noqa: ARG001 - the tensors alone tell
) -> Decoder | None:
    """Return the decoder if the one output has a row of 56 values for each person."""
    size = image_size(inputs)
    if size is None or len(outputs) != 1:
        return None
    shape = outputs[0].shape
    # [1, 56, N] is a YOLO's: there are many more places than values.
    if len(shape) != 3 or shape[0] != 1 or shape[2] != _COLUMNS or shape[1] >= _COLUMNS:
        return None
    why = f"one output [1, {shape[1]}, {_COLUMNS}]"
    return MultiPose(height_px=size[0], width_px=size[1], why=why)
