"""People whom turned looks found: among those of the upright look, in tracks and in events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from skeletons import person

from edgecam.analysis.analyzer import Analysis
from edgecam.analysis.events.body import posture
from edgecam.analysis.turned import merged
from edgecam.core.frame import Frame
from edgecam.core.result import Decoded, Pose, Result, TurnedLook
from edgecam.settings.scene import MaskSettings
from edgecam.settings.schema import Settings

IMAGE = np.zeros((480, 640, 3), np.uint8)
LYING = person(x=300, y=400, trunk_px=60, lean_degrees=90)


def scored(pose: Pose, score: float) -> Pose:
    return replace(pose, score=score)


@pytest.mark.parametrize(("turned_score", "is_turned"), [(0.7, False), (0.6, False), (0.8, True)])
def test_the_surer_pose_of_one_person_stays_and_the_upright_one_of_equals(
    turned_score: float, is_turned: bool
) -> None:
    upright, other = scored(person(), 0.7), scored(person(x=307), turned_score)
    part, turned = merged(Decoded(poses=(upright,), turned=(TurnedLook(90, (other,)),)))
    assert len(part.poses) == 1
    assert part.poses[0].xy is (other if is_turned else upright).xy
    assert turned == (frozenset({0}) if is_turned else frozenset())


def test_both_turns_and_the_upright_look_find_different_people_up_to_the_most() -> None:
    poses = [scored(person(x=x), s) for x, s in ((100, 0.5), (300, 0.9), (500, 0.8))]
    turned = TurnedLook(90, (poses[1],)), TurnedLook(270, (poses[2], scored(poses[1], 0.4)))
    part = Decoded(poses=(poses[0],), turned=turned)
    assert [pose.score for pose in merged(part)[0].poses] == [0.5, 0.9, 0.8]
    few, places = merged(part, 2)
    assert [pose.score for pose in few.poses] == [0.9, 0.8]
    assert places == {0, 1}
    assert few.turned == ()


def test_a_look_for_one_person_names_the_surest_that_it_finds() -> None:
    found = scored(person(x=100), 0.4), scored(LYING, 0.8)
    part, _ = merged(Decoded(turned=(TurnedLook(90, found, track=7),)))
    assert [(pose.score, pose.track) for pose in part.poses] == [(0.4, None), (0.8, 7)]


def looked(n: int, upright: tuple[Pose, ...], turned: tuple[TurnedLook, ...] = ()) -> Result:
    frame = Frame(IMAGE, n, n / 10, n / 10, media_time_s=n / 10)
    return Result(frame, {"m": Decoded(poses=upright, turned=turned)})


def test_one_who_lies_is_lost_to_upright_looks_and_kept_by_turned_ones() -> None:
    analysis = Analysis(Settings(), True)
    reported = []
    for n in range(10):
        reported += analysis(looked(n, (person(x=300, y=300, trunk_px=60),))).insight.events
    assert not analysis.attention("m", (640, 480)).places
    for n in range(10, 60):
        places = analysis.attention("m", (640, 480)).places
        # A look at the place each second, from the second one on that misses them.
        is_due = n % 10 == 9 and places
        turned = (TurnedLook(90, (LYING,), places[0].track),) if is_due else ()
        reported += analysis(looked(n, (), turned)).insight.events
    types = [event.event_type for event in reported]
    assert types == ["appeared", "lying"] or types == ["appeared", "lost", "lying"]
    assert {event.track for event in reported} == {1}
    assert analysis.attention("m", (640, 480)).places[0].track == 1


def test_one_long_lost_comes_back_by_a_turned_look_with_their_id() -> None:
    analysis = Analysis(Settings(), True)
    for n in range(10):
        analysis(looked(n, (person(x=300, y=300, trunk_px=60),)))
    events = [event for n in range(10, 200) for event in analysis(looked(n, ())).insight.events]
    assert [event.event_type for event in events] == ["lost"]
    (place,) = analysis.attention("m", (640, 480)).places
    found = analysis(looked(200, (), (TurnedLook(270, (LYING,), place.track),)))
    assert [pose.track for pose in found.poses] == [1]
    assert found.insight.counts == {"person": 1}


def test_a_turned_pose_in_a_mask_is_dropped() -> None:
    everywhere = MaskSettings(name="all", polygon=((0, 0), (1, 0), (1, 1), (0, 1)))
    analysis = Analysis(Settings(mask=(everywhere,)), True)
    assert analysis(looked(0, (), (TurnedLook(90, (LYING,)),))).poses == ()


def test_a_level_trunk_lies_without_legs_and_bends_above_feet() -> None:
    legs = ("left_knee", "right_knee", "left_ankle", "right_ankle")
    assert posture(person(lean_degrees=85, unsure=legs)) == "lying"
    assert posture(person(lean_degrees=85, whole=False)) == "bent"
    assert posture(person()) == "standing"
