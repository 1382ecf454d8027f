"""MoveNet single pose: one output [1, 1, 17, 3] of (y, x, score), y and x fractions of the input.

Keypoints are in ``keypoints.NAMES`` order. The network always answers with one pose; it counts as
found where its best keypoint reaches the score threshold, as a root must for PoseNet. Its score
is the mean of its keypoints' scores. Source: the model card of MoveNet.SinglePose.
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

LAYOUT = "MoveNet single pose: [1, 1, 17, 3]"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MoveNet(FamilyDecoder):
    """Bound to an input of ``height_px`` x ``width_px``."""

    height_px: int
    width_px: int
    family: str = "movenet"
    finds: Finds = "poses"
    skeleton: Skeleton | None = COCO
    # On COCO pictures of one person AP is 31.6 stretched, 24.8 letterboxed: 192 px are few.
    fit: str = "stretch"
    for_crops: bool = True
    normalization: Normalization = RAW_PIXELS
    why: str = "one output [1, 1, 17, 3]"

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the one pose, if its best keypoint and its mean score suffice."""
        rows = np.asarray(tensors[0], np.float64).reshape(COUNT, 3)
        if not np.isfinite(rows).all():
            return Decoded()
        scores = rows[:, 2]
        score = float(scores.mean())
        if scores.max() < options.score_threshold or score < options.min_pose_score:
            return Decoded()
        xy = rows[:, 1::-1] * (self.width_px, self.height_px)
        return Decoded(poses=(Pose(score, xy, scores.copy()),))


def recognise(
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    context: FamilyContext,  # noqa: ARG001 - the tensors alone tell
) -> Decoder | None:
    """Return the decoder if the one output is that of MoveNet single pose."""
    size = image_size(inputs)
    if size is None or [info.shape for info in outputs] != [(1, 1, COUNT, 3)]:
        return None
    return MoveNet(height_px=size[0], width_px=size[1])
