"""Rules on synthetic skeletons: what they tell, and what they must not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import get_args

import msgspec
import numpy as np
import pytest
from skeletons import hands_up, person, waving

from edgecam.analysis.analyzer import Analysis
from edgecam.analysis.checkpoint import Checkpoint, plain, rebuilt
from edgecam.analysis.events import kind_of
from edgecam.analysis.events.rule import Asked
from edgecam.core.events import Event, EventType
from edgecam.core.frame import Frame
from edgecam.core.keypoints import NAMES
from edgecam.core.result import Box, Decoded, Detection, Pose, Result
from edgecam.core.rules import RULES as REGISTRY
from edgecam.messages.event import EventMessage
from edgecam.settings.events import EventSettings
from edgecam.settings.scene import (
    LineSettings,
    MaskSettings,
    TrackingSettings,
    ZoneSettings,
)
from edgecam.settings.scene import Rule as RuleName
from edgecam.settings.schema import Settings

RATE_HZ = 10.0
DEFAULTS = Settings()
IMAGE = np.zeros((480, 640, 3), np.uint8)
EVERYWHERE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def play(
    poses_at: Callable[[float], Iterable[Pose | None]],
    duration_s: float,
    settings: Settings = DEFAULTS,
    rate_hz: float = RATE_HZ,
) -> list[Event]:
    """The events of a recording in which these people are seen at each time."""
    analysis = Analysis(settings, finds_poses=True)
    events: list[Event] = []
    for number in range(round(duration_s * rate_hz)):
        time_s = number / rate_hz
        poses = tuple(pose for pose in poses_at(time_s) if pose is not None)
        frame = Frame(IMAGE, number, 100.0 + time_s, 1e9 + time_s, time_s)
        result = analysis(Result(frame, {"m": Decoded(poses=poses)}))
        assert result.insight is not None
        events += result.insight.events
    return events


def types(events: Iterable[Event], without: tuple[str, ...] = ("appeared", "left")) -> list[str]:
    return [event.event_type for event in events if event.event_type not in without]


def falling(time_s: float, fall_s: float = 2.0, takes_s: float = 0.6, up_s: float = 1e9) -> Pose:
    """Stands, falls at ``fall_s``, lies, and gets up at ``up_s``."""
    down = min(max((time_s - fall_s) / takes_s, 0.0), 1.0) - min(max(time_s - up_s, 0.0), 1.0)
    return person(y=300.0 + 130.0 * down, lean_degrees=85.0 * down)


def test_a_fall_is_published_once_and_its_recovery_under_the_same_id() -> None:
    events = [e for e in play(lambda t: [falling(t, up_s=12.0)], 16.0) if e.event_type != "lying"]
    assert types(events) == ["fall", "recovered"]
    fall, recovered = (e for e in events if e.event_type in ("fall", "recovered"))
    assert 2.0 < fall.started_s < 3.0
    assert fall.time_s == pytest.approx(fall.started_s + 5.0, abs=0.11)
    assert fall.dwell_s == pytest.approx(5.0, abs=0.11)
    assert recovered.number == fall.number
    assert recovered.track == fall.track
    assert 12.5 < recovered.time_s < 14.5


def test_who_gets_up_at_once_has_not_fallen() -> None:
    assert "fall" not in types(play(lambda t: [falling(t, up_s=5.0)], 12.0))


def test_who_lies_down_slowly_has_not_fallen() -> None:
    events = play(lambda t: [falling(t, takes_s=8.0)], 20.0)
    assert "fall" not in types(events)
    assert types(events)[-1] == "lying"


def test_who_is_lying_from_the_beginning_has_not_fallen() -> None:
    assert types(play(lambda _: [person(lean_degrees=88.0)], 10.0)) == ["lying"]


@pytest.mark.parametrize("lean_degrees", [30.0, 60.0, 80.0, 95.0])
@pytest.mark.parametrize("legs", ["standing", "crouching"])
def test_tying_a_shoe_is_not_a_fall(lean_degrees: float, legs: str) -> None:
    def bends(time_s: float) -> list[Pose]:
        if not 2.0 <= time_s < 12.0:
            return [person()]
        share = min((time_s - 2.0) / 0.5, 1.0)
        return [person(lean_degrees=share * lean_degrees, whole=False, legs=legs)]

    assert not {"fall", "lying"} & set(types(play(bends, 14.0)))


@pytest.mark.parametrize(
    "unsure",
    [
        ("left_hip", "right_hip"),
        ("left_knee", "right_knee", "left_ankle", "right_ankle"),
    ],
)
def test_hidden_hips_or_legs_are_no_reason_for_silence(unsure: tuple[str, ...]) -> None:
    found = types(play(lambda t: falls_with(t, unsure), 12.0))
    assert found.count("fall") == 1
    assert set(found) <= {"fall", "lying"}


def test_it_abstains_where_head_and_trunk_are_not_sure() -> None:
    unsure = (*NAMES[:7], "left_hip", "right_hip")
    assert types(play(lambda t: falls_with(t, unsure), 12.0)) == []


def falls_with(time_s: float, unsure: tuple[str, ...]) -> list[Pose]:
    """A person who falls at second 2; these keypoints are not sure from then on."""
    lies = min(max((time_s - 2.0) / 0.6, 0.0), 1.0)
    hidden = unsure if time_s >= 2.0 else ()
    return [person(y=300 + 130 * lies, lean_degrees=85 * lies, unsure=hidden)]


def test_a_fall_onto_a_masked_sofa_is_none() -> None:
    mask = MaskSettings(name="sofa", polygon=EVERYWHERE, excludes=("fall", "posture"))
    masked = Settings(mask=(mask,))
    events = play(lambda t: [falling(t)], 12.0, masked)
    assert types(events) == []
    assert types(events, ()) == ["appeared"]
    elsewhere = MaskSettings(name="sofa", polygon=((0.9, 0.0), (1, 0.0), (1, 0.1)))
    assert "fall" in types(play(lambda t: [falling(t)], 12.0, Settings(mask=(elsewhere,))))


def test_who_comes_out_of_a_mask_lying_has_not_fallen() -> None:
    """Upright outside, hidden by the mask for less than ``fall_within_s``, lying outside."""

    def passes(time_s: float) -> list[Pose]:
        x = 100.0 + 300.0 * min(max(time_s - 2.0, 0.0), 1.0)
        lean_degrees = 88.0 * min(max((time_s - 2.3) / 0.4, 0.0), 1.0)
        y = 300.0 + 40.0 * lean_degrees / 88.0
        return [person(x=x, y=y, lean_degrees=lean_degrees, trunk_px=60.0)]

    middle = ((0.25, 0.0), (0.5, 0.0), (0.5, 1.0), (0.25, 1.0))
    mask = MaskSettings(name="screen", polygon=middle, excludes=("fall",))
    assert types(play(passes, 12.0)) == ["lying", "fall"]
    assert "fall" not in types(play(passes, 12.0, Settings(mask=(mask,))))


def test_several_people_do_not_confuse_it() -> None:
    def scene(time_s: float) -> list[Pose]:
        fallen = falling(time_s)
        walker = person(x=40.0 + 45.0 * time_s, y=200.0, trunk_px=60.0)
        sitter = person(x=560.0, y=350.0, trunk_px=80.0, legs="sitting")
        people = [fallen, walker, sitter]
        # Decoders give no order.
        return people if round(time_s * 10) % 2 else people[::-1]

    events = play(scene, 12.0)
    assert sorted(types(events)) == ["fall", "lying", "sitting"]
    by_type = {event.event_type: event.track for event in events}
    assert by_type["fall"] == by_type["lying"] != by_type["sitting"]
    assert types(events, ()).count("appeared") == 3


def test_a_fall_is_seen_through_noise_and_missed_frames() -> None:
    rng = np.random.default_rng(5)

    def noisy(time_s: float) -> list[Pose | None]:
        pose = falling(time_s)
        shaken = Pose(pose.score, pose.xy + rng.normal(0, 4.0, (17, 2)), pose.scores)
        return [None if rng.uniform() < 0.2 else shaken]

    assert types(play(noisy, 12.0)).count("fall") == 1


def test_sitting_is_published_after_its_time() -> None:
    def sits(time_s: float) -> list[Pose]:
        return [person(legs="sitting" if time_s >= 2.0 else "standing")]

    events = [e for e in play(sits, 6.0) if e.event_type == "sitting"]
    assert len(events) == 1
    assert 2.9 < events[0].time_s < 3.6
    assert events[0].attributes == {"before": "standing"}


def test_standing_and_walking_are_no_event() -> None:
    assert types(play(lambda t: [person(x=50.0 + 50.0 * t)], 10.0)) == []


@pytest.mark.parametrize(("height", "reported"), [(1.8, True), (1.5, True), (1.2, False)])
def test_hands_up(height: float, reported: bool) -> None:
    def raises(time_s: float) -> list[Pose]:
        return [person(moved=hands_up(height) if 2.0 <= time_s < 5.0 else {})]

    events = [e for e in play(raises, 8.0) if e.event_type == "hands_up"]
    assert len(events) == reported
    if reported:
        assert 2.4 < events[0].time_s < 3.3


@pytest.mark.parametrize("lean_degrees", [60.0, 90.0])
def test_the_hands_of_one_who_is_bent_or_lies_are_not_up(lean_degrees: float) -> None:
    above = dict.fromkeys(("left_wrist", "right_wrist"), (-1.0, 1.6))
    assert "hands_up" not in types(
        play(lambda _: [person(lean_degrees=lean_degrees, moved={**hands_up(), **above})], 3.0)
    )


def test_one_raised_hand_or_an_unsure_face_is_not_hands_up() -> None:
    one = {name: place for name, place in hands_up().items() if name.startswith("left")}
    assert types(play(lambda _: [person(moved=one)], 4.0)) == []
    assert types(play(lambda _: [person(moved=hands_up(), unsure=("nose",))], 4.0)) == []


@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_a_wave_is_published_once(rate_hz: float) -> None:
    events = play(lambda t: [person(moved=waving(t, 1.2))], 6.0, rate_hz=rate_hz)
    assert types(events) == ["wave"]
    assert next(e for e in events if e.event_type == "wave").attributes == {"hand": "right"}


def test_what_is_not_a_wave() -> None:
    hanging = {"right_wrist": (-0.38, 0.05)}
    still = play(lambda _: [person(moved=waving(0.2))], 5.0)
    slow = play(lambda t: [person(moved=waving(t, 0.2))], 8.0)
    small = play(lambda t: [person(moved=waving(t, 1.2, width=0.04))], 6.0)
    low = play(lambda t: [person(moved={**waving(t, 1.2), **hanging})], 5.0)
    assert [types(e) for e in (still, slow, small, low)] == [[], [], [], []]


def zone(**changes: object) -> Settings:
    half = {"name": "right", "polygon": ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))}
    return Settings(zone=(msgspec.convert({**half, **changes}, ZoneSettings),))


def test_enter_dwell_and_leave_a_zone() -> None:
    def visits(time_s: float) -> list[Pose]:
        # Over the edge at second 2.0, and back over it at second 6.0.
        return [person(x=320.0 + min(100.0, 50.0 * (2.0 - abs(4.0 - time_s))))]

    events = [e for e in play(visits, 9.0, zone(dwell_s=2.0)) if e.zone]
    assert types(events) == ["entered", "dwelling", "exited"]
    assert {e.number for e in events} == {events[0].number}
    entered, dwelling, exited = events
    # Smoothing comes a little late.
    assert entered.started_s == pytest.approx(2.0, abs=0.21)
    assert entered.time_s == pytest.approx(entered.started_s + 0.3, abs=0.01)
    assert dwelling.dwell_s == pytest.approx(2.0, abs=0.11)
    assert exited.dwell_s == pytest.approx(4.0, abs=0.21)


def test_a_flickering_box_at_the_edge_enters_once() -> None:
    rng = np.random.default_rng(3)

    def flickers(_: float) -> list[Pose | None]:
        # Inside four times in five, and not seen at all now and then.
        if rng.uniform() < 0.15:
            return [None]
        return [person(x=330.0 if rng.uniform() < 0.8 else 310.0)]

    assert types(e for e in play(flickers, 20.0, zone()) if e.zone) == ["entered"]


def test_who_vanishes_inside_has_left_the_zone() -> None:
    events = play(lambda t: [person(x=420.0) if t < 4.0 else None], 8.0, zone(dwell_s=60.0))
    assert types(events, ()) == ["appeared", "entered", "left", "exited"]
    exited = events[-1]
    assert exited.dwell_s == pytest.approx(3.7, abs=0.25)
    assert events[2].dwell_s == pytest.approx(3.9, abs=0.11)


@pytest.mark.parametrize(
    ("inside", "moved", "expected"),
    [
        ("box_bottom", {}, 0),
        ("ankle", {"left_ankle": (1.3, -1.6)}, 1),
        ("ankle", {"left_wrist": (1.3, 1.0)}, 0),
        ("keypoint", {"left_wrist": (1.3, 1.0)}, 1),
        ("hips", {"left_wrist": (1.3, 1.0)}, 0),
    ],
)
def test_what_counts_as_inside(
    inside: str, moved: dict[str, tuple[float, float]], expected: int
) -> None:
    events = play(lambda _: [person(x=230.0, moved=moved)], 3.0, zone(inside=inside))
    assert types(events).count("entered") == expected


def crossing(settings: dict[str, object], poses: Callable[[float], list[Pose]]) -> list[Event]:
    line = {"name": "door", "start": (0.5, 0.0), "end": (0.5, 1.0), **settings}
    events = play(poses, 8.0, Settings(line=(msgspec.convert(line, LineSettings),)))
    return [event for event in events if event.event_type == "line_crossed"]


def test_a_line_is_crossed_by_a_box_with_its_direction() -> None:
    there = crossing({}, lambda t: [person(x=100.0 + 60.0 * t)])
    assert [e.attributes for e in there] == [
        {"line": "door", "direction": "right_to_left", "by": "box_bottom"}
    ]
    back = crossing({}, lambda t: [person(x=560.0 - 60.0 * t)])
    assert [e.attributes["direction"] for e in back] == ["left_to_right"]
    beside = crossing({"end": (0.5, 0.1)}, lambda t: [person(x=100.0 + 60.0 * t)])
    assert beside == []


def test_a_line_is_crossed_by_a_wrist_alone() -> None:
    def reaches(time_s: float) -> list[Pose]:
        out = {"left_wrist": (1.3, 0.6), "left_elbow": (0.8, 0.8)}
        return [person(x=230.0, moved=out if 2.0 <= time_s < 4.0 else {})]

    events = crossing({"crossed_by": "wrist"}, reaches)
    assert [e.attributes["by"] for e in events] == ["left_wrist"] * 2
    assert [e.attributes["direction"] for e in events] == ["right_to_left", "left_to_right"]
    assert crossing({}, reaches) == []


def test_who_stands_on_a_line_crosses_nothing() -> None:
    rng = np.random.default_rng(4)
    assert crossing({}, lambda _: [person(x=320.0 + rng.normal(0.0, 2.0))]) == []


def test_things_have_events_too_and_people_are_published_once() -> None:
    analysis = Analysis(zone(labels=("car", "person")), finds_poses=True)
    events: list[Event] = []
    for number in range(20):
        found = tuple(
            Detection(label, place, 0.8, Box(400.0, 200.0, 480.0, 300.0))
            for place, label in enumerate(("car", "person", "dog"))
        )
        parts = {"posenet": Decoded(poses=(person(x=440.0),)), "ssd": Decoded(detections=found)}
        result = analysis(Result(Frame(IMAGE, number, 0.0, 1e9, number / 10.0), parts))
        assert result.insight is not None
        events += result.insight.events
    assert sorted(e.label for e in events if e.event_type == "entered") == ["car", "person"]
    assert sorted(e.label for e in events if e.event_type == "appeared") == ["car", "dog", "person"]
    assert result.insight.zone_counts == {"right": {"car": 1, "person": 1}}
    assert result.insight.counts == {"person": 1, "car": 1, "dog": 1}
    tracks = [pose.track for pose in result.poses] + [found.track for found in result.detections]
    # The pose and the box of the person are one.
    assert len(set(tracks)) == 3
    assert None not in tracks


def test_the_gravest_posture_is_the_state() -> None:
    analysis = Analysis(Settings(), finds_poses=True)
    seen = []
    for number in range(160):
        time_s = number / 10.0
        poses = (falling(time_s, up_s=12.0), person(x=550.0, legs="sitting"))
        frame = Frame(IMAGE, number, 0.0, 1e9, time_s)
        insight = analysis(Result(frame, {"m": Decoded(poses=poses)})).insight
        assert insight is not None
        if insight.posture not in seen[-1:]:
            seen.append(insight.posture)
    assert seen == ["none", "unknown", "sitting", "lying", "fallen", "sitting"]


def vanishing(x: float) -> list[Event]:
    """A small person who stands for 4 s and is then seen no more."""
    return play(lambda t: [person(x=x, y=200.0, trunk_px=50.0) if t < 4.0 else None], 70.0)


def test_who_is_lost_inside_the_picture_is_lost_and_leaves_unseen() -> None:
    events = vanishing(300.0)
    assert types(events, ()) == ["appeared", "lost", "left"]
    assert len({e.number for e in events}) == 1
    assert events[1].time_s == pytest.approx(5.0, abs=0.11)
    assert events[2].attributes == {"unseen": pytest.approx(60.0, abs=0.2)}


def test_who_is_lost_at_the_edge_has_left() -> None:
    assert types(vanishing(620.0), ()) == ["appeared", "left"]


def test_who_is_lost_in_a_zone_with_a_door_or_beside_a_mask_has_left() -> None:
    middle = ((0.4, 0.0), (0.6, 0.0), (0.6, 1.0), (0.4, 1.0))
    door = Settings(zone=(ZoneSettings(name="hall", polygon=middle, door=True),))
    screen = Settings(mask=(MaskSettings(name="screen", polygon=middle),))

    def walks(time_s: float) -> list[Pose | None]:
        x = 100.0 + 50.0 * time_s
        return [person(x=x, y=200.0, trunk_px=50.0) if x < 290.0 else None]

    for settings in (door, screen):
        assert "lost" not in types(play(walks, 10.0, settings), ())
    assert "lost" in types(play(walks, 10.0), ())


def test_a_track_that_begins_within_reach_is_the_lost_one() -> None:
    def broken(time_s: float) -> list[Pose | None]:
        x = 300.0 + 5.0 * time_s
        return [None if 3.0 <= time_s < 8.0 else person(x=x, y=200.0, trunk_px=50.0)]

    assert types(play(broken, 12.0), ()) == ["appeared", "lost"]
    off = Settings(tracking=TrackingSettings(lost_hold_s=0.0))
    assert types(play(broken, 12.0, off), ()) == ["appeared", "left", "appeared"]


def test_a_fall_is_reported_of_one_who_is_no_longer_seen_and_stays_counted() -> None:
    """The network loses people on their way down; they lie there for a quarter of an hour."""

    def falls_unseen(time_s: float) -> list[Pose | None]:
        share = min(max((time_s - 2.0) / 0.6, 0.0), 1.0)
        pose = person(y=200.0 + 65.0 * share, lean_degrees=85.0 * share, trunk_px=50.0)
        return [pose if share < 0.7 else None]

    events = play(falls_unseen, 900.0, rate_hz=5.0)
    assert types(events, ()) == ["appeared", "lost", "fall"]
    (fall,) = (e for e in events if e.event_type == "fall")
    assert fall.track == events[0].track
    assert set(fall.attributes) == {"confidence", "drop", "lying_seen", "still_s", "looks"}


def test_one_who_falls_headlong_is_found_at_two_looks_a_second() -> None:
    """Upright at one look, missed at two, and then low and three trunks further on."""

    def falls(time_s: float) -> list[Pose | None]:
        if time_s < 4.0:
            return [person(x=200.0, y=200.0, trunk_px=50.0)]
        down = person(x=300.0, y=270.0, lean_degrees=85.0, trunk_px=50.0)
        return [None if time_s < 5.0 else down]

    assert "fall" in types(play(falls, 14.0, rate_hz=2.0))


def test_a_still_thing_that_looks_like_one_who_stands_ends_no_fall() -> None:
    """After the fall a small ghost stands near by, which a network takes for the person."""

    def falls(time_s: float) -> list[Pose]:
        if time_s < 4.0:
            return [person(x=200.0, y=200.0, trunk_px=50.0)]
        if time_s < 4.4:
            return [person(x=200.0, y=265.0, lean_degrees=85.0, trunk_px=50.0)]
        return [person(x=240.0, y=290.0, trunk_px=30.0)]

    assert "fall" in types(play(falls, 14.0))


@pytest.mark.parametrize(("takes_s", "falls"), [(0.8, True), (3.2, False)])
def test_a_fall_at_a_quarter_of_its_speed_is_lying_down(takes_s: float, falls: bool) -> None:
    events = play(lambda t: [falling(t, takes_s=takes_s)], 14.0)
    assert ("fall" in types(events)) == falls


def test_who_walks_down_the_picture_does_not_fall() -> None:
    def nears(time_s: float) -> list[Pose]:
        return [person(y=120.0 + 25.0 * time_s, trunk_px=30.0 + 2.0 * time_s)]

    assert "fall" not in types(play(nears, 12.0))


def test_no_event_of_a_recording_that_begins_again_began_after_it_ended() -> None:
    analysis = Analysis(zone(dwell_s=1.0), finds_poses=True)
    events: list[Event] = []
    for number in range(120):
        time_s = number % 40 / 10.0
        people = (person(x=420.0, y=200.0, trunk_px=50.0),)
        frame = Frame(IMAGE, number, 0.0, 1e9 + number / 10.0, time_s)
        insight = analysis(Result(frame, {"m": Decoded(poses=people)})).insight
        assert insight is not None
        events += insight.events
    assert all(event.started_s <= event.time_s for event in events)
    one_lap = ["appeared", "entered", "dwelling", "left", "exited"]
    assert types(events, ()) == [*one_lap, *one_lap, *one_lap[:3]]


def test_a_person_who_is_lost_is_remembered_by_a_checkpoint() -> None:
    first, second = (Analysis(Settings(), finds_poses=True) for _ in range(2))

    def seen(analysis: Analysis, number: int) -> list[str]:
        time_s = number / 10.0
        share = min(max((time_s - 2.0) / 0.6, 0.0), 1.0)
        pose = person(y=200.0 + 65.0 * share, lean_degrees=85.0 * share, trunk_px=50.0)
        poses = (pose,) if share < 0.7 else ()
        result = analysis(
            Result(Frame(IMAGE, number, 0.0, 1e9, time_s), {"m": Decoded(poses=poses)})
        )
        assert result.insight is not None
        return [event.event_type for event in result.insight.events]

    for number in range(50):
        seen(first, number)
    packed = msgspec.json.encode(first.checkpoint(), enc_hook=plain)
    second.resume(msgspec.json.decode(packed, type=Checkpoint, dec_hook=rebuilt))
    after = [[seen(a, number) for number in range(50, 90)] for a in (first, second)]
    assert after[0] == after[1]
    assert ["fall"] in after[0]


def test_a_rule_of_one_line_is_known_to_masks_messages_and_metrics() -> None:
    assert [kind_of(name).name for name in REGISTRY] == list(REGISTRY)
    assert [kind_of(name).event_types for name in REGISTRY] == list(REGISTRY.values())
    stated = [each for types in REGISTRY.values() for each in types]
    assert len(set(stated)) == len(stated)
    assert get_args(EventType) == tuple(stated)
    assert get_args(RuleName) == tuple(REGISTRY)
    described = msgspec.json.schema(EventMessage)["$defs"]["EventMessage"]["properties"]
    assert sorted(described["event_type"]["enum"]) == sorted(stated)


def test_every_rule_can_be_left_out() -> None:
    switches = {name: False for name in REGISTRY if name not in ("zone", "line")}
    asked = Asked(EventSettings(**switches))
    made = [rule.asked_by(asked, lambda: 0) for rule in map(kind_of, REGISTRY)]
    left = [rule.name for rule in made if rule is not None]
    # ``classified`` keeps the state of the picture without its events too.
    assert left == ["zone", "line", "classified"]


def test_one_who_was_always_small_is_not_kept_as_lost() -> None:
    far = play(lambda t: [person(y=200.0, trunk_px=20.0) if t < 4.0 else None], 8.0)
    assert types(far, ()) == ["appeared", "left"]
