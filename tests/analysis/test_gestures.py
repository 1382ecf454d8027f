"""Hands: what is a wave or hands up, and what only looks like one."""

from __future__ import annotations

import math

import pytest
from skeletons import Point, hands_up, person, waving

from edgecam.core.result import Pose
from tests.analysis.test_events import play, types


def swung(time_s: float, up: float, forearm: Point) -> dict[str, Point]:
    """Both arms swing from the shoulder once a second, the wrists so many trunks above it.

    ``forearm`` is from the elbow to the wrist, of the left one; trunks, y up.
    """
    place = 0.35 * math.sin(2.0 * math.pi * time_s)
    arms = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        x, y = sign * 0.3 + place, 1.0 + up
        arms[f"{side}_wrist"] = (x, y)
        arms[f"{side}_elbow"] = (x - sign * forearm[0], y - forearm[1])
    return arms


@pytest.mark.parametrize(
    ("up", "forearm"),
    [(0.75, (0.0, 0.5)), (0.3, (-0.5, 0.0))],
    ids=["above the head", "beside it with the forearm level"],
)
def test_an_arm_that_swings_as_a_whole_waves(up: float, forearm: Point) -> None:
    events = play(lambda t: [person(moved=swung(t, up, forearm))], 6.0)
    waves = [event.attributes["hand"] for event in events if event.event_type == "wave"]
    assert sorted(map(str, waves)) == ["left", "right"]


def test_a_wave_of_which_each_third_look_is_blurred_is_published() -> None:
    def blurred(time_s: float) -> list[Pose]:
        look = round(10.0 * time_s)
        low = {"right_wrist": (-0.38, 0.05)} if look % 6 == 3 else {}
        unsure = ("right_wrist",) if look % 6 == 0 else ()
        return [person(moved={**waving(time_s), **low}, unsure=unsure)]

    assert types(play(blurred, 6.0)) == ["wave"]


def test_arms_that_open_and_fold_at_the_height_of_the_shoulders_do_not_wave() -> None:
    assert types(play(lambda t: [person(moved=swung(t, 0.0, (-0.5, 0.0)))], 8.0)) == []


def test_arms_that_are_stretched_and_lowered_in_turns_do_not_wave() -> None:
    def stretched(time_s: float) -> list[Pose]:
        arms = swung(time_s, 0.9, (0.0, 0.5))
        rise = 0.4 * math.cos(2.0 * math.pi * time_s)
        return [person(moved={name: (x, y + rise) for name, (x, y) in arms.items()})]

    assert "wave" not in types(play(stretched, 8.0))


@pytest.mark.parametrize("lean_degrees", [75.0, 90.0])
def test_push_ups_are_no_wave_and_no_hands_up(lean_degrees: float) -> None:
    def pushes(time_s: float) -> list[Pose]:
        return [person(lean_degrees=lean_degrees, moved=waving(time_s))]

    assert {"wave", "hands_up"}.isdisjoint(types(play(pushes, 6.0)))


def test_hands_of_which_the_trunk_is_not_seen_are_not_up() -> None:
    hidden = ("left_hip", "right_hip")
    assert types(play(lambda _: [person(moved=hands_up(), unsure=hidden)], 4.0)) == []
