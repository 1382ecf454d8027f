"""Postures of people made of numbers, seen from any corner of a room with a network's errors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import train_posture
from skeletons import person

from edgecam.analysis import shape
from edgecam.analysis.bearing import Bearings
from edgecam.analysis.events.body import chosen, posture
from edgecam.core.result import Pose
from edgecam.settings.scene import SceneSettings
from edgecam.settings.schema import Settings
from tests.analysis.test_events import play, types

LEGS = ("left_knee", "right_knee", "left_ankle", "right_ankle")
# A camera at 2.3 m that looks down by 30 degrees.
CORNER = SceneSettings(pitch_degrees=30.0, height_m=2.3)


@pytest.fixture(scope="module")
def shown() -> tuple[np.ndarray, np.ndarray]:
    """Which posture 4,000 people are in whom the network never saw, and what it says."""
    seen = train_posture.examples(4000, seed=77)
    return seen.postures, shape.likely(seen.inputs)


def called(shown: tuple[np.ndarray, np.ndarray], is_in: str, said: str) -> float:
    postures, likely = shown
    theirs = likely[postures == shape.POSTURES.index(is_in)]
    return float((theirs.argmax(axis=1) == shape.POSTURES.index(said)).mean())


def test_who_lies_is_said_to_lie_from_every_direction(shown: tuple[np.ndarray, np.ndarray]) -> None:
    assert called(shown, "lying", "lying") >= 0.93
    assert called(shown, "lying", "standing") <= 0.02


@pytest.mark.parametrize("posture", ["standing", "sitting", "crouching"])
def test_who_does_not_lie_is_not_said_to(
    shown: tuple[np.ndarray, np.ndarray], posture: str
) -> None:
    assert called(shown, posture, "lying") <= 0.02


def test_crouching_is_mostly_not_sitting(shown: tuple[np.ndarray, np.ndarray]) -> None:
    assert called(shown, "crouching", "crouching") >= 0.65
    assert called(shown, "sitting", "crouching") <= 0.15
    assert called(shown, "standing", "standing") >= 0.88


def said(poses: Iterable[Pose]) -> list[str | None]:
    """What is said of one person in one look after the other, 480 pixels high."""
    bearings = Bearings(SceneSettings())
    readings = [bearings.read(1, pose, 480) for pose in poses]
    return [None if reading is None else reading.posture for reading in readings]


def test_who_sits_down_behind_a_table_sits() -> None:
    hidden = [person(y=220.0, unsure=LEGS)] * 3
    low = [person(y=310.0, unsure=LEGS)] * 3
    # Whether they stand or sit is not known of one who was never seen to stand.
    assert said(hidden + low) == ["upright"] * 6
    stood = [person(y=220.0)] * 3
    assert said(stood + low) == ["standing"] * 3 + ["sitting"] * 3
    assert said(stood + hidden) == ["standing"] * 6


def test_hidden_legs_do_not_hide_who_lies() -> None:
    level = person(lean_degrees=85.0, unsure=LEGS)
    assert said([level]) == ["lying"]
    stood = [person()] * 3
    assert said([*stood, person(y=380.0, lean_degrees=85.0, unsure=LEGS)])[-1] == "lying"


@pytest.mark.parametrize(
    ("before", "posture"), [(None, "upright"), ("sitting", "sitting"), ("lying", "upright")]
)
def test_a_posture_is_kept_while_it_is_in_doubt(before: str | None, posture: str) -> None:
    likely = {"standing": 0.45, "sitting": 0.4, "bent": 0.1, "crouching": 0.05, "lying": 0.0}
    assert chosen(likely, has_legs=True, before=before) == posture


def test_how_the_camera_hangs_is_checked() -> None:
    with pytest.raises(ValueError, match="Expected pitch_degrees with height_m"):
        SceneSettings(height_m=2.3)
    assert Settings(scene=CORNER).scene.height_m == 2.3


def test_crouching_is_reported_once_it_lasts() -> None:
    def ties(time_s: float) -> list[Pose]:
        down = 2.0 <= time_s < 6.0
        legs = "crouching" if down else "standing"
        return [
            person(y=380.0 if down else 300.0, legs=legs, lean_degrees=40.0 * down, whole=False)
        ]

    events = play(ties, 9.0)
    assert types(events) == ["crouching"]


def test_a_level_trunk_lies_where_a_look_at_the_turned_picture_found_it() -> None:
    slanted = person(lean_degrees=68.0)
    assert [posture(slanted, is_turned) for is_turned in (False, True)] == ["bent", "lying"]
    # Who bends stands on their feet, however they were found.
    assert posture(person(lean_degrees=85.0, whole=False), True) != "lying"
