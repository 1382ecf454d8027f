"""What is drawn over a picture."""

from __future__ import annotations

import numpy as np
import pytest

from edgecam.core.frame import Frame
from edgecam.core.keypoints import NAMES
from edgecam.core.result import Box, Decoded, Detection, Pose, Result
from edgecam.sinks.render.overlay import draw_on


@pytest.mark.parametrize(("width", "height"), [(320, 240), (768, 576), (1280, 720)])
def test_a_label_has_its_shadow_behind_every_letter(width: int, height: int) -> None:
    image = np.full((height, width, 3), 128, np.uint8)
    box = Box(20.0, 100.0, 300.0, 200.0)
    draw_on(image, Decoded(detections=(Detection("triangle with sides", 0, 0.82, box),)))
    above = image[:97].astype(int)
    light = np.flatnonzero((above.min(axis=2) > 200).any(axis=0))
    dark = np.flatnonzero((above.max(axis=2) < 70).any(axis=0))
    assert len(light) > 20
    assert 0 <= light[0] - dark[0] <= 3
    assert 0 <= dark[-1] - light[-1] <= 3
    # No stroke is as wide as two letters that lie on each other.
    blank = np.setdiff1d(np.arange(light[0], light[-1]), np.union1d(light, dark))
    assert len(blank) > 2


def test_bones_that_an_earlier_look_found_are_drawn_in_dashes() -> None:
    xy = np.full((17, 2), 5.0)
    scores = np.zeros(17)
    for place, at in ((NAMES.index("left_knee"), (10, 50)), (NAMES.index("left_ankle"), (110, 50))):
        xy[place], scores[place] = at, 0.9
    pose = Pose(0.9, xy, scores)
    frame = Frame(np.zeros((100, 120, 3), np.uint8), 0, 0.0, 0.0)

    def lit(stale: frozenset[str]) -> int:
        image = np.zeros((100, 120, 3), np.uint8)
        draw_on(image, Result(frame, {"m": Decoded(poses=(pose,))}, stale=stale))
        return int(image[50, 15:106].any(axis=1).sum())

    assert lit(frozenset()) == 91
    assert 40 < lit(frozenset({"m"})) < 75


def test_what_an_earlier_look_found_is_drawn_in_dashes() -> None:
    box = Detection("car", 0, 0.9, Box(10.0, 30.0, 110.0, 90.0))
    frame = Frame(np.zeros((100, 120, 3), np.uint8), 0, 0.0, 0.0)

    def lit(stale: frozenset[str]) -> int:
        image = np.zeros((100, 120, 3), np.uint8)
        draw_on(image, Result(frame, {"m": Decoded(detections=(box,))}, stale=stale))
        return int(image[90, 10:111].any(axis=1).sum())

    whole, dashed = lit(frozenset()), lit(frozenset({"m"}))
    assert whole == 101
    assert 40 < dashed < 80
