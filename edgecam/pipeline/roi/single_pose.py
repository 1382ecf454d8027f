"""A refining model's look at one person: at the square around them, upright or turned."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.events.trunk import trunk
from edgecam.analysis.tracker import iou
from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Pose, StageTimes
from edgecam.pipeline.roi.inference_steps import ModelRunner, Request, Steps
from edgecam.pipeline.roi.person_square import Square, around_pose, box_of, to_frame

Array = NDArray[np.float64]

# A refined pose below this mean score is no person: on 80 COCO pictures most of them are none.
LEAST_SCORE = 0.15
# Below this overlap with whom the finder saw it is another person.
SAME_PERSON = 0.1
# Where no finder saw a person, it has to be so sure of one, and of the trunk.
LEAST_UNSEEN = 0.3

_EVERYTHING = DecodeOptions(score_threshold=0.0, min_pose_score=0.0, max_poses=1)


def single_pose(
    runner: ModelRunner, frame: Frame, square: Square, is_mirrored: bool = False
) -> Steps[tuple[Pose | None, StageTimes]]:
    """What the model finds in a square, None where nothing, in source-frame pixels; and its times.

    ``score`` is the mean over the whole pose: whether it is a person is not asked of its surest
    keypoint. ``is_mirrored``: the model gets the square as a mirror shows it; the pose is the same.
    """
    model = runner.model
    started_s = time.perf_counter()
    matrix = square.matrix(model.resizer.width_px)
    if is_mirrored:
        matrix = np.array(((-1.0,), (1.0,))) * matrix
        matrix[0, 2] += model.resizer.width_px - 1.0
    staged = runner.warped(frame, matrix)
    staged_ms = (time.perf_counter() - started_s) * 1e3
    answer = yield Request(runner.place, model, staged, frame)
    started_s = time.perf_counter()
    pose = None
    if answer.tensors is not None:
        shows_mirrored = frame.is_mirrored != is_mirrored
        found = model.find(answer.tensors, _EVERYTHING, shows_mirrored).poses
        pose = replace(found[0], xy=to_frame(found[0].xy, matrix)) if found else None
    decoded_ms = (time.perf_counter() - started_s) * 1e3
    return pose, StageTimes(staged_ms, answer.invoke_ms, decoded_ms)


def both_poses(
    runner: ModelRunner, frame: Frame, square: Square
) -> Steps[tuple[Pose | None, StageTimes]]:
    """The mean of what the model finds in a square and in the mirrored one; and its times.

    Each keypoint counts as much as the model is sure of it.
    """
    first, times = yield from single_pose(runner, frame, square)
    second, more = yield from single_pose(runner, frame, square, is_mirrored=True)
    times = times.plus(more)
    if first is None or second is None:
        return first, times
    scores = (first.scores + second.scores) / 2.0
    share = (first.scores / np.maximum(2.0 * scores, 1e-9))[:, None]
    xy = first.xy * share + second.xy * (1.0 - share)
    score = (first.score + second.score) / 2.0
    return replace(first, xy=xy, scores=scores, score=score), times


def is_same_person(pose: Pose, box: Array) -> bool:
    """Whether a refined pose is a person, and the one in a box, float64[4]."""
    return pose.score >= LEAST_SCORE and overlap(pose, box) >= SAME_PERSON


def overlap(pose: Pose, box: Array) -> float:
    """How much of their union the box around a pose shares with another, float64[4]; 0..1."""
    return float(iou(box_of(pose)[None], box[None])[0, 0])


def lying_pose(
    runner: ModelRunner, frame: Frame, square: Array, degrees: int, seen: Pose | None
) -> Steps[tuple[Pose | None, StageTimes]]:
    """What the model makes of one who may lie; ``seen`` by a turned look, or None.

    ``square`` is float64[4], where they should be; ``degrees`` clockwise turn one who lies there
    upright.
    """
    if seen is not None:
        pose, times = yield from single_pose(
            runner, frame, around_pose(seen, runner.model.turns_crops)
        )
        if pose is None or not is_same_person(pose, box_of(seen)):
            return None, times
        return replace(pose, score=math.sqrt(pose.score * seen.score)), times
    centre, side_px = (square[:2] + square[2:]) / 2.0, float(square[2] - square[0])
    turned = Square(centre, side_px, -math.radians(degrees))
    pose, times = yield from single_pose(runner, frame, turned)
    is_sure = pose is not None and pose.score >= LEAST_UNSEEN and trunk(pose) is not None
    return pose if is_sure else None, times
