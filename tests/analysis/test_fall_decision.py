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


ON_THE_FLOOR = {
    "left_ankle": (1.4, -0.1),
    "right_ankle": (1.3, -0.1),
    "left_knee": (0.7, 0.3),
    "right_knee": (0.7, 0.3),
}


def test_who_sits_on_the_floor_after_a_drop_in_which_the_trunk_tilted_has_fallen() -> None:
    def drops(time_s: float) -> list[Pose]:
        down = share(time_s, 0.6)
        lean_degrees = -160.0 * down if down < 0.5 else -30.0 - 100.0 * (1.0 - down)
        legs = ON_THE_FLOOR if down > 0.8 else None
        return [person(y=200.0 + 140.0 * down, moved=legs, lean_degrees=lean_degrees, whole=False)]

    assert len(falls(play(drops, 12.0))) == 1


def test_who_sits_down_on_the_floor_with_an_upright_trunk_has_not_fallen() -> None:
    """As a child who plays."""

    def sits_down(time_s: float) -> list[Pose]:
        down = share(time_s, 1.2)
        return [person(y=200.0 + 150.0 * down, moved=ON_THE_FLOOR if down > 0.6 else None)]

    assert falls(play(sits_down, 12.0)) == []


def test_who_lies_down_on_the_bed_on_which_they_sit_has_not_fallen() -> None:
    """Quickly: the hips stay where they are."""

    def goes_to_bed(time_s: float) -> list[Pose]:
        return [person(legs="sitting", lean_degrees=-88.0 * share(time_s, 0.6), whole=False)]

    assert falls(play(goes_to_bed, 12.0)) == []


def test_a_slow_way_down_is_a_fall_only_if_it_ends_fast() -> None:
    """Old people hold on, and come down freely in the end."""

    def comes_down(slowly_s: float, then_s: float) -> list[Event]:
        def poses(time_s: float) -> list[Pose]:
            slowly = share(time_s, slowly_s)
            down = min(max((time_s - 2.0 - slowly_s) / then_s, 0.0), 1.0)
            y = 250.0 + 30.0 * slowly + 120.0 * down
            return [person(y=y, lean_degrees=25.0 * slowly + 60.0 * down)]

        return falls(play(poses, 14.0))

    assert len(comes_down(1.5, 0.6)) == 1
    assert comes_down(1.5, 2.5) == []


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
