"""One id for a person whom several models see, and who counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from skeletons import person

from edgecam.analysis.analyzer import Analysis
from edgecam.analysis.following import overlap
from edgecam.core.events import Event
from edgecam.core.frame import Frame
from edgecam.core.result import Box, Decoded, Detection, Pose, Result
from edgecam.daemon.build import load_models
from edgecam.inference import catalog as bundled
from edgecam.settings.load import load
from edgecam.settings.scene import ZoneSettings
from edgecam.settings.schema import Settings
from edgecam.tools.evaluate.clips import Clip, Playing, look_at, play

IMAGE = np.zeros((480, 640, 3), np.uint8)
Found = tuple[Sequence[Pose], Sequence[Detection]]


def box(x: float, y: float = 240.0, width: float = 80.0, height: float = 200.0) -> Detection:
    """A person's box whose centre is at (x, y) pixels."""
    left, top = x - width / 2, y - height / 2
    return Detection("person", 0, 0.9, Box(left, top, left + width, top + height))


def standing(x: float) -> Pose:
    """A person whose keypoints are inside ``box(x)``."""
    pose: Pose = person(x=x, y=250.0, trunk_px=55.0)
    return pose


class Watched:
    """The results of an analysis of a pose model and a detector that see these people."""

    def __init__(
        self,
        seen_at: Callable[[float], Found],
        duration_s: float,
        settings: Settings = Settings(),  # noqa: B008
    ) -> None:
        analysis = Analysis(settings, finds_poses=True)
        self.results: list[Result] = []
        self.events: list[Event] = []
        for number in range(round(duration_s * 10)):
            poses, boxes = seen_at(number / 10)
            frame = Frame(IMAGE, number, 0.0, 1e9 + number / 10, number / 10)
            parts = {"p": Decoded(poses=tuple(poses)), "d": Decoded(detections=tuple(boxes))}
            result = analysis(Result(frame, parts))
            assert result.insight is not None
            self.results.append(result)
            self.events += result.insight.events

    def counts(self) -> list[int]:
        """How many people there are, as it changes."""
        numbers = [r.insight.counts.get("person", 0) for r in self.results if r.insight]
        return [n for n, before in zip(numbers, [None, *numbers], strict=False) if n != before]

    def types(self) -> list[str]:
        return [event.event_type for event in self.events]


def test_overlap_is_of_boxes_around_one_person() -> None:
    boxes = np.array([[0.0, 0, 10, 40], [2, 10, 8, 30], [9, 0, 19, 40], [4, 18, 6, 20]])
    near = overlap(boxes[:1], boxes)[0]
    assert near[:2] == pytest.approx([1.0, 120 / 400])
    # Beside it, and a spot inside it.
    assert near[2:].tolist() == [0.0, 0.0]


def test_a_pose_and_a_box_of_one_person_have_one_id_and_are_one_subject() -> None:
    watched = Watched(lambda t: ([standing(300 + 20 * t)], [box(300 + 20 * t)]), 5.0)
    last = watched.results[-1]
    assert last.poses[0].track == last.detections[0].track is not None
    assert watched.counts() == [0, 1]
    assert watched.types() == ["appeared"]


def test_a_person_whom_the_detector_alone_sees_counts_and_enters_zones() -> None:
    right = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
    settings = Settings(zone=(ZoneSettings(name="right", polygon=right),))
    watched = Watched(lambda _: ([standing(150)], [box(150), box(500)]), 3.0, settings)
    assert watched.counts() == [0, 2]
    assert sorted(watched.types()) == ["appeared", "appeared", "entered"]
    insight = watched.results[-1].insight
    assert insight is not None
    assert insight.zone_counts == {"right": {"person": 1}}


@pytest.mark.parametrize("is_box_first", [True, False])
def test_what_sees_a_person_later_takes_their_id(is_box_first: bool) -> None:
    def seen(time_s: float) -> Found:
        poses = [standing(300)] if not is_box_first or time_s >= 1.5 else []
        return poses, [box(300)] if is_box_first or time_s >= 1.5 else []

    watched = Watched(seen, 3.0)
    last = watched.results[-1]
    assert last.poses[0].track == last.detections[0].track == 1
    assert watched.types() == ["appeared"]


def test_who_loses_the_pose_and_keeps_the_box_is_not_lost() -> None:
    watched = Watched(lambda t: ([standing(300)] if t < 3 or t > 8 else [], [box(300)]), 10.0)
    assert watched.types() == ["appeared"]
    assert watched.counts() == [0, 1]
    assert watched.results[-1].poses[0].track == 1


def test_people_who_cross_keep_one_id_for_pose_and_box() -> None:
    """The one behind is hidden while they cross, from both models."""

    def seen(time_s: float) -> Found:
        xs = 120 + 60 * time_s, 520 - 60 * time_s
        shown = xs[:1] if abs(xs[0] - xs[1]) < 50 else xs
        return [standing(x) for x in shown], [box(x) for x in shown]

    watched = Watched(seen, 6.5)
    for result in (watched.results[20], watched.results[-1]):
        assert [p.track for p in result.poses] == [d.track for d in result.detections]
        assert [p.track for p in result.poses] == [1, 2]
    assert watched.counts() == [0, 2]


def test_a_box_that_stays_with_another_persons_pose_takes_their_id() -> None:
    """The box of one who sits down jumps to another who stands where they were."""

    def seen(time_s: float) -> Found:
        if time_s < 2.0:
            return [standing(250)], [box(250)]
        return [standing(250), standing(330)], [box(260 if time_s < 2.2 else 330)]

    last = Watched(seen, 4.0).results[-1]
    assert last.detections[0].track == last.poses[1].track != last.poses[0].track


def test_one_who_comes_in_at_the_side_is_not_one_who_was_lost() -> None:
    def seen(time_s: float) -> Found:
        if time_s < 3.0:
            return [standing(450)], []
        return ([standing(640 - 20 * (time_s - 5.0))] if time_s >= 5.0 else []), []

    assert Watched(seen, 8.0).types() == ["appeared", "lost", "appeared"]


def test_who_rested_counts_while_lost_and_who_walked_keeps_the_place_from_being_empty() -> None:
    def seen(time_s: float) -> Found:
        there = [standing(550)] if time_s < 20 else []
        if time_s < 4.0:
            there += [standing(100), standing(200 + 60 * time_s)]
        return there, []

    # Three; the walker is lost; the one on the right rested too.
    assert Watched(seen, 30.0).counts() == [0, 3, 2]
    walker = Watched(lambda t: ([standing(200 + 60 * t)] if t < 4 else [], []), 70.0)
    assert walker.counts() == [0, 1, 0]


def test_the_look_that_confirms_a_track_may_give_up_the_one_that_was_theirs() -> None:
    """One is lost at the place where they are found again in three looks."""

    def seen(time_s: float) -> Found:
        found = time_s < 3.0 or time_s >= 3.9
        return ([standing(300 if time_s < 3.0 else 380)] if found else []), []

    # The last look that found them was at 2.9 s, the third of the others is at 4.1 s.
    watched = Watched(seen, 6.0, load(None, {}, {"tracking.max_age_s": 1.15}))
    assert watched.types() == ["appeared"]


@pytest.fixture(scope="module")
def clip() -> Clip:
    """What PoseNet and SSDLite find in the bundled clip."""
    settings = load(None, {}, {"model.path": ["posenet", "ssdlite"], "turned_look_s": 0.0})
    return look_at(bundled.clip(), settings, load_models(settings))


@pytest.mark.parametrize("models", [slice(0, 1), slice(1, 2), slice(0, 2)])
def test_a_looped_clip_counts_the_same_at_every_rate_and_most_finds_have_an_id(
    clip: Clip, models: slice
) -> None:
    """Six people are in each picture on average, as counted by hand."""
    names = ["posenet", "ssdlite"][models]
    keys = [key for key in clip.found[0] if key.startswith(tuple(n[:3] for n in names))]
    seen = replace(clip, found=[{key: each[key] for key in keys} for each in clip.found])
    means = []
    for rate_hz in (10.0, 5.0, 2.0, 1.0, 0.5):
        flags = {"model.path": [f"{n}:rate_hz={rate_hz}" for n in names], "turned_look_s": 0.0}
        settings = load(None, {}, flags)
        playing = Playing(rate_hz, loops=6)
        results = list(play(seen, settings, load_models(settings), playing))
        reported = [r.insight for r in results if r.insight is not None]
        assert all(e.started_s <= e.time_s for each in reported for e in each.events)
        means.append(np.mean([i.counts.get("person", 0) for i in reported[round(10 * rate_hz) :]]))
        ids = [pose.track for r in results for pose in r.poses]
        ids += [found.track for r in results for found in r.detections]
        identified = sum(track is not None for track in ids)
        assert identified >= 0.85 * len(ids), (rate_hz, identified, len(ids))
    middle = np.mean(means)
    assert max(means) <= 1.15 * middle, means
    assert min(means) >= 0.85 * middle, means
    assert 4.0 <= middle <= 7.0


def test_a_person_who_is_found_twice_for_some_looks_counts_once() -> None:
    """Of two who stand together one has two poses for 0.4 s; the second one is gone after it."""

    def seen(time_s: float) -> Found:
        people = [standing(300.0), standing(360.0)]
        twice = [standing(308.0)] if 2.0 <= time_s < 2.4 else []
        return [*people, *twice], [box(300.0), box(360.0)]

    watched = Watched(seen, 6.0)
    after = [r.insight.counts["person"] for r in watched.results[24:] if r.insight]
    assert set(after) == {2}
    assert max(watched.counts()) <= 3


def test_a_person_who_was_followed_for_long_counts_behind_another() -> None:
    def seen(time_s: float) -> Found:
        hidden = 3.0 <= time_s < 3.5
        return [standing(300.0), *([] if hidden else [standing(330.0)])], []

    watched = Watched(seen, 5.0)
    assert watched.counts() == [0, 2]
