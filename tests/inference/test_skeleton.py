"""Skeletons that are not COCO's: 21 points of a hand, 33 of a body; a decoder brings all of it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from edgecam.analysis.analyzer import Analysis
from edgecam.analysis.checkpoint import Checkpoint, check_shapes, plain, rebuilt
from edgecam.core.frame import Frame
from edgecam.core.keypoints import BONES, COCO, NAMES, OKS_SIGMAS, SKELETONS, Skeleton
from edgecam.core.result import Decoded, Pose, Result
from edgecam.messages import result as messages
from edgecam.messages.result import ResultMessage
from edgecam.settings.schema import Settings
from edgecam.sinks.render.overlay import draw

HAND = Skeleton(
    "test-hand",
    tuple(f"point_{number}" for number in range(21)),
    tuple((number, number + 1) for number in range(20)),
    (0.05,) * 21,
    label="hand",
)
BODY = Skeleton(
    "test-body-33",
    ("mouth_left", *NAMES, *(f"extra_{number}" for number in range(15))),
    tuple((first + 1, second + 1) for first, second in BONES),
    (0.05, *OKS_SIGMAS, *[0.1] * 15),
)


def frame(number: int) -> Frame:
    image = np.zeros((240, 320, 3), np.uint8)
    return Frame(image, number, float(number), 1e9, number / 10.0)


def hand(x: float) -> Pose:
    grid = np.stack([np.arange(21) % 5, np.arange(21) // 5], 1) * 10.0
    return Pose(0.9, grid + np.array((x, 60.0)), np.full(21, 0.9), skeleton=HAND.name)


def standing(x: float) -> Pose:
    """A person side on, upright, in 33 points."""
    height = {"nose": 20, "eye": 18, "ear": 20, "shoulder": 40, "elbow": 60, "wrist": 80}
    height |= {"hip": 90, "knee": 130, "ankle": 170}
    xy = np.full((33, 2), (x, 20.0))
    for row, name in enumerate(NAMES, 1):
        xy[row] = x + 8 * name.startswith("right"), height[name.rpartition("_")[2]]
    return Pose(0.9, xy, np.full(33, 0.9), skeleton=BODY.name)


def analysed(poses: Sequence[Pose]) -> tuple[Analysis, list[Result]]:
    analysis = Analysis(Settings(), finds_poses=True)
    found = [
        analysis(Result(frame(number), {"m": Decoded(poses=(pose,))}))
        for number, pose in enumerate(poses)
    ]
    return analysis, found


def test_a_hand_is_tracked_counted_smoothed_and_published_by_its_own_names() -> None:
    _, found = analysed([hand(40.0 + number) for number in range(8)])
    last = found[-1]
    assert last.poses[0].track is not None
    assert {pose.track for result in found[3:] for pose in result.poses} == {last.poses[0].track}
    assert last.insight is not None
    assert last.insight.counts == {"hand": 1}
    message = messages.result_payload(last, "camera", "boot", 8.0)
    (pose,) = json.loads(message)["poses"]
    assert list(pose["keypoints"]) == list(HAND.names)
    assert pose["skeleton"] == "test-hand"
    assert msgspec.json.decode(message, type=ResultMessage).poses[0].skeleton == "test-hand"


def test_a_body_of_33_points_has_a_posture_and_counts_as_a_person() -> None:
    _, found = analysed([standing(100.0)] * 30)
    insight = found[-1].insight
    assert insight is not None
    assert insight.counts == {"person": 1}
    assert insight.posture == "standing"
    body = found[-1].poses[0].body()
    assert body is not None
    assert body.scores.shape == (17,)
    assert body.keypoints.keys() == set(NAMES)


def test_bones_are_drawn_between_the_points_of_the_skeleton() -> None:
    image = draw(Result(frame(0), {"m": Decoded(poses=(hand(40.0),))}))
    # Half way between the first two points, which a bone joins.
    assert image[60, 45].any()
    assert not image[150:].any()


def test_poses_of_another_skeleton_come_back_from_a_checkpoint() -> None:
    analysis, _ = analysed([hand(40.0 + number) for number in range(5)])
    data = msgspec.json.encode(analysis.checkpoint(), enc_hook=plain)
    again = msgspec.json.decode(data, type=Checkpoint, dec_hook=rebuilt)
    check_shapes(again)
    assert again.tracks[0].pose is not None
    assert again.tracks[0].pose.skeleton == HAND.name
    with pytest.raises(ValueError, match="found 'nowhere'"):
        check_shapes({"skeleton": "nowhere", "xy": [[0.0, 0.0]] * 21})
    with pytest.raises(ValueError, match=r"Expected xy of \(21, 2\), found \(17, 2\)"):
        check_shapes({"skeleton": HAND.name, "xy": [[0.0, 0.0]] * 17})


def test_skeletons_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 falloffs"):
        Skeleton("short", ("a", "b"), (), (0.1,))
    with pytest.raises(ValueError, match="expected bones between keypoints 0 to 1"):
        Skeleton("wild", ("a", "b"), ((0, 2),), (0.1, 0.1))
    with pytest.raises(ValueError, match="another one has this name"):
        Skeleton("coco", ("a",), (), (0.1,))
    assert SKELETONS["coco"] is COCO


def test_a_pose_of_coco_names_no_skeleton() -> None:
    body = standing(1.0).body()
    assert body is not None
    result = Result(frame(0), {"m": Decoded(poses=(body,))})
    (pose,) = json.loads(messages.result_payload(result, "camera", "boot", 1.0))["poses"]
    assert "skeleton" not in pose
