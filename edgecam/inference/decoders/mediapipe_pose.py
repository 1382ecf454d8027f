"""MediaPipe's pose landmarks (BlazePose): one person in a square around them.

Outputs [1, 195], 39 x (x, y, z, visibility, presence), x and y in pixels of the input, the last two
logits, and [1, 1], the probability of a pose. Of the 33 landmarks the 17 of COCO are taken, or all
where the settings say so. The map
[1, h, w, 39], by which MediaPipe moves its landmarks, is left out: on 40 people cut out of COCO
pictures the mean OKS of the lite network is 0.504 without it and 0.492 with it. Masks and world
coordinates are not used. Input 256x256, 0..1.

Source: modules/pose_landmark/tensors_to_pose_landmarks_and_segmentation.pbtxt of MediaPipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgecam.core.keypoints import COCO, INDEX, OKS_SIGMAS, Skeleton
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded, Pose
from edgecam.core.tensors import Normalization, Tensor, TensorInfo
from edgecam.inference.decoders.boxes import Array
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, image_size

LAYOUT = "MediaPipe pose landmarks: [1, 195] and [1, 1]"

_LANDMARKS, _VALUES = 39, 5
# COCO's keypoints among MediaPipe's.
_COCO_ROWS = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
_LEAST_POSE = 0.5
# MediaPipe's landmarks in its order; the six behind them are for the next frame's square alone.
_PAIRS = ("eye_inner", "eye", "eye_outer")
_LIMBS = (
    *("shoulder", "elbow", "wrist", "pinky", "index", "thumb"),
    *("hip", "knee", "ankle", "heel", "foot_index"),
)
MEDIAPIPE_NAMES = (
    "nose",
    *(f"{side}_{name}" for side in ("left", "right") for name in _PAIRS),
    *(f"{side}_{name}" for name in ("ear", "mouth", *_LIMBS) for side in ("left", "right")),
)
# ``POSE_CONNECTIONS`` of MediaPipe.
_BONES = (
    *((0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10), (11, 12)),
    *((11, 13), (13, 15), (15, 17), (15, 19), (15, 21), (17, 19), (12, 14), (14, 16), (16, 18)),
    *((16, 20), (16, 22), (18, 20), (11, 23), (12, 24), (23, 24), (23, 25), (24, 26), (25, 27)),
    *((26, 28), (27, 29), (28, 30), (29, 31), (30, 32), (27, 31), (28, 32)),
)
# Of what COCO has no falloff for: eyes and mouth as the eye's, fingers as the wrist's, feet as the
# ankle's.
_LIKE = {"inner": 1, "outer": 1, "mouth": 1, "pinky": 9, "index": 9, "thumb": 9, "heel": 15}


def _falloff(name: str) -> float:
    if name in INDEX:
        return OKS_SIGMAS[INDEX[name]]
    if "foot" in name:
        return OKS_SIGMAS[INDEX["left_ankle"]]
    return OKS_SIGMAS[_LIKE[name.rpartition("_")[2]]]


MEDIAPIPE = Skeleton("mediapipe", MEDIAPIPE_NAMES, _BONES, tuple(map(_falloff, MEDIAPIPE_NAMES)))
_ZERO_TO_ONE = Normalization((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MediaPipePose(FamilyDecoder):
    """Bound to an input of ``height_px`` x ``width_px``; outputs: landmarks, pose."""

    height_px: int
    width_px: int
    family: str = "mediapipe-pose"
    finds: Finds = "poses"
    skeleton: Skeleton | None = COCO
    normalization: Normalization = _ZERO_TO_ONE
    for_crops: bool = True
    # It learned from squares in which the hips lie below the shoulders, always.
    turns_crops: bool = True
    rows: list[int] = field(default_factory=lambda: list(_COCO_ROWS), repr=False)

    def with_all_keypoints(self) -> MediaPipePose:
        """Return the same decoder with all 33 landmarks as the pose's skeleton."""
        return replace(self, skeleton=MEDIAPIPE, rows=list(range(len(MEDIAPIPE_NAMES))))

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the one pose, if the network says that there is one and its scores suffice."""
        score = float(np.asarray(tensors[1]).ravel()[0])
        rows = np.asarray(tensors[0], np.float64).reshape(_LANDMARKS, _VALUES)[self.rows]
        scores = _sigmoid(rows[:, 3:]).min(axis=1)
        # Twice, so that NaN is no pose either.
        if not score >= _LEAST_POSE or not scores.max() >= options.score_threshold:
            return Decoded()
        if score < options.min_pose_score or options.max_poses < 1:
            return Decoded()
        return Decoded(poses=(Pose(score, rows[:, :2], scores),))


def _sigmoid(logits: Array) -> Array:
    positive: Array = 1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0)))
    return positive


def recognise(
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    context: FamilyContext,  # noqa: ARG001 - the tensors alone tell
) -> Decoder | None:
    """Return the decoder if there are 39 landmarks and the probability of a pose."""
    size = image_size(inputs)
    shapes = [info.shape for info in outputs]
    wanted: list[tuple[int, ...]] = [(1, _LANDMARKS * _VALUES), (1, 1)]
    if size is None or any(shapes.count(shape) != 1 for shape in wanted):
        return None
    return MediaPipePose(
        height_px=size[0],
        width_px=size[1],
        outputs=tuple(map(shapes.index, wanted)),
        why=f"{_LANDMARKS} landmarks of one person",
    )
