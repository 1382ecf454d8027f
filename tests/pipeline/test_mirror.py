"""A mirrored picture: everything published is in it, and left and right stay the person's own."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from edgecam.core.keypoints import INDEX
from edgecam.core.result import Pose, Result
from edgecam.daemon.run import run
from edgecam.inference import catalog
from edgecam.settings.load import load
from tests.keeping import Keep

LEFT, RIGHT = (
    [INDEX[f"{side}_{joint}"] for joint in ("shoulder", "hip")] for side in ("left", "right")
)


def seen(mirror: bool, **more: object) -> list[Result]:
    flags = {
        "model.path": ["posenet"],
        "source.url": str(catalog.clip()),
        "source.mirror": mirror,
        "inference.probe": False,
        "max_frames": 3,
        **more,
    }
    kept = Keep()
    run(load(None, {}, flags), threading.Event(), extra_sinks=[kept])
    return kept.results


def sides(poses: Sequence[Pose]) -> list[float]:
    """How far the left side of each is to the right of the right side, in the picture."""
    return [float((pose.xy[LEFT, 0] - pose.xy[RIGHT, 0]).mean()) for pose in poses]


@pytest.mark.parametrize("more", [{}, {"refine": "lightning"}], ids=["posenet", "refined"])
def test_left_and_right_stay_the_persons_own(more: dict[str, object]) -> None:
    plain, mirrored = seen(False, **more)[-1], seen(True, **more)[-1]
    width = plain.frame.width_px
    assert mirrored.frame.image.tolist() == plain.frame.image[:, ::-1].tolist()
    pairs = 0
    for pose, side in zip(plain.poses, sides(plain.poses), strict=True):
        middle = pose.xy.mean(axis=0)
        twins = [
            other
            for other in mirrored.poses
            if np.abs(other.xy.mean(axis=0) - (width - 1 - middle[0], middle[1])).max() < 10.0
        ]
        # Who stands sideways has both sides at one place.
        if len(twins) == 1 and abs(side) > 8.0:
            pairs += 1
            assert np.sign(sides(twins)[0]) == -np.sign(side)
    assert pairs >= 2
