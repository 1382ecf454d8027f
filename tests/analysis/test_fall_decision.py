"""What the looks after a drop say: a fall, one fall for a person in two tracks, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from skeletons import person

from edgecam.analysis.analyzer import Analysis
from edgecam.core.events import Event
from edgecam.core.frame import Frame
from edgecam.core.result import Decoded, Pose, Result
from edgecam.settings.schema import Settings

IMAGE = np.zeros((480, 640, 3), np.uint8)
RATE_HZ = 10.0


def play(poses_at: Callable[[float], Sequence[Pose]], duration_s: float) -> list[Event]:
    analysis = Analysis(Settings(), finds_poses=True)
    events: list[Event] = []
    for number in range(round(duration_s * RATE_HZ)):
        time_s = number / RATE_HZ
        frame = Frame(IMAGE, number, time_s, 1e9 + time_s, time_s)
        result = analysis(Result(frame, {"m": Decoded(poses=tuple(poses_at(time_s)))}))
        assert result.insight is not None
        events += result.insight.events
    return events


def falls(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.event_type == "fall"]


def share(time_s: float, takes_s: float) -> float:
    """How far down at 2 s and after."""
    return min(max((time_s - 2.0) / takes_s, 0.0), 1.0)


def test_who_crouches_down_quickly_and_stays_has_not_fallen() -> None:
    """As to tie a shoe: the trunk is bent, the feet stay well below the hips."""
    crouched = {"left_ankle": (0.2, -0.9), "right_ankle": (0.0, -0.9)}

    def ties_a_shoe(time_s: float) -> list[Pose]:
        down = share(time_s, 0.7)
        return [
            person(y=250.0 + 75.0 * down, lean_degrees=70.0 * down, whole=False, moved=crouched)
        ]

    assert falls(play(ties_a_shoe, 12.0)) == []


def test_who_sits_on_the_floor_after_a_drop_has_fallen() -> None:
    sitting = {"left_ankle": (1.4, -0.1), "right_ankle": (1.3, -0.1), "left_knee": (0.7, 0.3)}

    def drops(time_s: float) -> list[Pose]:
        down = share(time_s, 0.7)
        legs = {**sitting, "right_knee": (0.7, 0.3)} if down > 0.8 else None
        return [person(y=200.0 + 140.0 * down, moved=legs, lean_degrees=-40.0 * down)]

    assert len(falls(play(drops, 12.0))) == 1


def test_one_who_is_seen_in_two_parts_falls_once_and_no_part_has_left() -> None:
    """A network gives a person who lies two skeletons, and loses one of them."""

    def falls_apart(time_s: float) -> list[Pose]:
        down = share(time_s, 0.6)
        one = person(y=300.0 + 130.0 * down, lean_degrees=85.0 * down)
        return (
            [one, replace(one, xy=one.xy + np.array((70.0, 20.0)))] if 1.0 < time_s < 9.0 else [one]
        )

    events = play(falls_apart, 12.0)
    assert len(falls(events)) == 1
    assert not [event for event in events if event.event_type in ("left", "recovered")]


def test_an_unsure_still_thing_that_looks_upright_ends_no_fall() -> None:
    """One who falls is lost, and a coat stand at their place is taken for them."""

    def lost(time_s: float) -> list[Pose]:
        down = share(time_s, 0.6)
        if time_s >= 4.0:
            return [person(x=320.0, y=300.0, score=0.35)]
        if down >= 1.0:
            return []
        return [person(y=300.0 + 130.0 * down, lean_degrees=85.0 * down)]

    assert len(falls(play(lost, 12.0))) == 1
