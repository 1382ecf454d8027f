"""Matching, ids, ages, and the identities of the bundled clip."""

from __future__ import annotations

import threading
from itertools import count, permutations

import numpy as np
import pytest
from skeletons import person

from edgecam.analysis.intervals import Intervals
from edgecam.analysis.tracker import Tracker, greedy, iou, oks
from edgecam.core.errors import EdgecamError
from edgecam.core.frame import Frame
from edgecam.core.result import Box, Decoded, Detection, Pose, Result
from edgecam.daemon.run import run
from edgecam.inference import catalog as bundled
from edgecam.settings.load import load
from edgecam.settings.scene import TrackingSettings
from edgecam.tools.evaluate.tracks import TrackScorer, Truth, read_truth

SIZE = (640, 480)


def tracker(**changes: float) -> Tracker:
    return Tracker(TrackingSettings(**changes), count(1))


def ids(found: list[Pose] | list[Detection]) -> list[int | None]:
    return [item.track for item in found]


def test_oks_is_what_pycocotools_computes() -> None:
    cocoeval = pytest.importorskip("pycocotools.cocoeval", reason="pycocotools is not installed")
    rng = np.random.default_rng(1)
    for _ in range(20):
        first, second = (rng.uniform(0, 200, (17, 2)) for _ in range(2))
        second = first + rng.normal(0, 8, (17, 2))
        area = float(rng.uniform(2e3, 3e4))
        evaluation = cocoeval.COCOeval(iouType="keypoints")
        flat = np.concatenate([second, np.full((17, 1), 2)], axis=1).ravel().tolist()
        found = np.concatenate([first, np.full((17, 1), 1)], axis=1).ravel().tolist()
        evaluation._gts[1, 1] = [{"keypoints": flat, "bbox": [0, 0, 1, 1], "area": area}]
        evaluation._dts[1, 1] = [{"keypoints": found, "score": 1.0}]
        evaluation.params.maxDets = [20]
        expected = evaluation.computeOks(1, 1)[0, 0]
        ours = oks(first[None], second[None], np.array([area]), np.ones((1, 1, 17), bool))
        assert ours[0, 0] == pytest.approx(expected, abs=1e-9)


def test_oks_needs_four_sure_keypoints_and_knows_no_picture_size() -> None:
    xy = person().xy[None]
    for number, expected in ((3, 0.0), (4, 1.0), (17, 1.0)):
        sure = (np.arange(17) < number)[None, None]
        assert oks(xy, xy, np.array([1e4]), sure)[0, 0] == expected
    sure = np.ones((1, 1, 17), bool)
    large, small = (oks(xy / k, (xy + 9) / k, np.array([1e4 / k**2]), sure) for k in (1, 640))
    assert large == pytest.approx(small)


def test_iou_is_overlap_over_union_and_0_without_area() -> None:
    boxes = np.array([[0.0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [4, 4, 4, 4]])
    assert iou(boxes, boxes) == pytest.approx(
        np.array([[1, 1 / 7, 0, 0], [1 / 7, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    )


def test_greedy_takes_the_most_similar_first() -> None:
    assert greedy(np.array([[0.8, 0.9], [0.1, 0.85]]), 0.2) == [(0, 1)]
    assert greedy(np.array([[0.8, 0.9], [0.3, 0.85]]), 0.2) == [(0, 1), (1, 0)]
    assert greedy(np.zeros((0, 3)), 0.2) == []


def test_a_track_is_confirmed_after_its_hits_and_keeps_its_id() -> None:
    following = tracker(min_hits=3)
    seen = [ids(following.update([person(x=100 + 5 * n)], n / 10, SIZE)[0]) for n in range(6)]
    assert seen == [[None], [None], [1], [1], [1], [1]]


def test_a_track_ages_in_seconds_at_any_frame_rate() -> None:
    for rate_hz in (5.0, 50.0):
        following = tracker(max_age_s=1.0, min_hits=1)
        for gap_s, expected in ((0.0, 1), (0.9, 1), (1.1, 2)):
            last_s = max((t.last_s for t in following.tracks), default=0.0)
            for number in range(1, round(gap_s * rate_hz)):
                following.update([], last_s + number / rate_hz, SIZE)
            found, _ = following.update([person()], last_s + gap_s, SIZE)
            assert ids(found) == [expected]


def looked(settings: TrackingSettings, period_s: float, *looks: tuple[float, bool]) -> list[bool]:
    """Whether there is a track after each look: its time, and whether a person is seen."""
    intervals = Intervals(period_s)
    following = Tracker(settings, count(1), intervals)
    found = []
    for now_s, is_seen in looks:
        intervals.note(now_s)
        following.update([person()] if is_seen else [], now_s, SIZE)
        found.append(bool(following.tracks))
    return found


@pytest.mark.parametrize("period_s", [0.0, 2.0])
def test_a_track_outlives_three_looks_that_miss_it_however_rare(period_s: float) -> None:
    """Where the rate is a setting, and where the board or the source is slow."""
    settings = TrackingSettings(max_age_s=1.0)
    # A look is never quite on time.
    times = [2.0 * n + 0.1 * (n % 2) for n in range(6)]
    seen = [True, True, False, False, False, False]
    there = looked(settings, period_s, *zip(times, seen, strict=True))
    assert there == [True, True, True, True, True, False]


def test_an_outage_does_not_make_looks_rare() -> None:
    settings = TrackingSettings(max_age_s=1.0)
    often = [(n / 10, True) for n in range(5)]
    after = [(30.0, True), (31.2, False)]
    assert looked(settings, 0.0, *often, *after)[-2:] == [True, False]


def test_time_in_which_nothing_moves_is_no_gap_between_looks() -> None:
    intervals = Intervals()
    for now_s in (0.0, 5.0, 10.0):
        intervals.note(now_s)
        intervals.wait(4.9)
    assert intervals.interval_s == pytest.approx(0.1)


def test_looks_of_a_recording_that_begins_again_are_counted_from_there() -> None:
    intervals = Intervals()
    for now_s in (0.0, 5.0, 10.0, 0.0, 0.1):
        intervals.note(now_s)
    assert intervals.interval_s == pytest.approx(0.1)


def test_who_walks_is_the_same_person_at_the_next_look_a_second_later() -> None:
    """1.4 m/s are about 1.5 sizes of the box around a person a second."""

    def walked(gate: float, step_s: float) -> list[list[int | None]]:
        intervals = Intervals()
        settings = TrackingSettings(min_hits=1, distance_gate=gate)
        following, found = Tracker(settings, count(1), intervals), []
        for number in range(4):
            now_s = number * step_s
            intervals.note(now_s)
            walker = Detection("person", 0, 0.9, Box(150 * now_s, 10, 150 * now_s + 50, 210))
            found.append(ids(following.update([walker], now_s, SIZE)[0]))
        return found

    assert walked(0.5, 1.0) == [[1], [1], [1], [1]]
    assert walked(0.5, 0.1) == [[1], [1], [1], [1]]
    assert walked(0.0, 1.0) == [[1], [2], [3], [4]]


class Tally:
    """Boxes, those with an id, and people who were counted, over all looks of a clip."""

    def __init__(self) -> None:
        self.looks = self.boxes = self.identified = self.counted = 0

    def publish(self, result: Result) -> None:
        assert result.insight is not None
        if bundled.resolve("ssdlite").stem not in result.by_model:
            return
        self.looks += 1
        self.boxes += len(result.detections)
        self.identified += sum(found.track is not None for found in result.detections)
        self.counted += result.insight.counts.get("person", 0)

    def counters(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("interval_s", "score", "hits"), [(0.1, 0.9, 3), (0.2, 0.5, 2), (0.2, 0.7, 1), (2.0, 0.5, 2)]
)
def test_a_model_that_looks_seldom_is_believed_sooner(
    interval_s: float, score: float, hits: int
) -> None:
    following = Tracker(TrackingSettings(min_hits=3), count(1), Intervals(interval_s))
    found = [
        ids(following.update([person(score=score)], number * interval_s, SIZE)[0])[0]
        for number in range(4)
    ]
    assert found == [None] * (hits - 1) + [1] * (5 - hits)


def test_a_seldom_detector_beside_a_pose_model_counts_as_it_does_alone() -> None:
    alone, beside = Tally(), Tally()
    for tally, models in (
        (alone, ["ssdlite:rate_hz=1"]),
        (beside, ["ssdlite:rate_hz=1", "posenet:input_size=129x161"]),
    ):
        flags = {"model.path": models, "source.url": str(bundled.clip())}
        run(load(None, {}, flags), threading.Event(), extra_sinks=[tally])
    assert (alone.looks, alone.boxes, alone.identified) == (
        beside.looks,
        beside.boxes,
        beside.identified,
    )


@pytest.mark.parametrize(
    ("elapsed_s", "shift_px"), [(0.0, 0.0), (0.1, 10.0), (0.3, 30.0), (0.5, 30.0), (60.0, 30.0)]
)
def test_who_is_out_of_sight_is_expected_to_have_stopped_after_the_coast_time(
    elapsed_s: float, shift_px: float
) -> None:
    following = tracker(min_hits=1)
    for number in range(3):
        following.update([person(x=100 + 10 * number)], number / 10, SIZE)
    (track,) = following.tracks
    assert track.shift(0.2 + elapsed_s) == pytest.approx([shift_px, 0.0])


def test_who_stopped_out_of_sight_keeps_the_id() -> None:
    """Seen walking at 300 px/s, then not for 0.9 s, then where 0.3 s of walking lead."""
    following = tracker(min_hits=1, max_age_s=2.0)

    def seen(x: float, now_s: float) -> list[int | None]:
        box = Detection("person", 0, 0.9, Box(x, 10.0, x + 40.0, 110.0))
        return ids(following.update([box], now_s, (4000, 480))[0])

    assert [seen(30.0 * n, n / 10) for n in range(4)] == [[1]] * 4
    assert seen(180.0, 1.2) == [1]


def test_the_order_of_poses_does_not_matter() -> None:
    people = [person(x=x, y=y) for x, y in ((100, 200), (180, 210), (260, 190))]
    following = tracker(min_hits=1)
    following.update(people, 0.0, SIZE)
    expected = dict(zip([100, 180, 260], [1, 2, 3], strict=True))
    for number, order in enumerate(permutations(people), start=1):
        found, _ = following.update(list(order), number / 10, SIZE)
        assert [expected[round(p.xy[[11, 12], 0].mean())] for p in found] == ids(found)


def test_people_who_pass_each_other_keep_their_ids() -> None:
    following = tracker(min_hits=1)
    seen = set()
    for number in range(60):
        pair = [
            person(x=100 + 7 * number, y=200),
            person(x=513 - 7 * number, y=230, trunk_px=110),
        ]
        found, _ = following.update(pair[:: 1 if number % 2 else -1], number / 10, SIZE)
        seen.add(tuple(ids(sorted(found, key=lambda pose: float(pose.xy[11, 1])))))
    assert seen == {(2, 1)}


def test_boxes_are_matched_within_their_label() -> None:
    following = tracker(min_hits=1)

    def boxes(*labels: str) -> list[Detection]:
        return [Detection(label, 0, 0.9, Box(10, 10, 60, 110)) for label in labels]

    assert ids(following.update(boxes("car", "person"), 0.0, SIZE)[0]) == [1, 2]
    assert ids(following.update(boxes("person", "dog", "car"), 0.1, SIZE)[0]) == [2, 3, 1]


def test_a_recording_that_begins_again_begins_with_no_person() -> None:
    following = tracker(min_hits=1)
    following.update([person()], 9.9, SIZE)
    assert ids(following.update([person()], 0.0, SIZE)[0]) == [2]


def test_scores_and_all_else_stay_as_they_are() -> None:
    pose = person(score=0.37)
    found, _ = tracker(min_hits=1).update([pose], 0.0, SIZE)
    assert found[0].score == 0.37
    assert np.array_equal(found[0].xy, pose.xy)


def scored(tracks_at: dict[int, dict[int, tuple[float, float, float, float]]]) -> TrackScorer:
    names = ("A", "B")
    truth = Truth(
        {n: np.array([[0.0, 0, 10, 20], [50, 0, 60, 20]]) for n in tracks_at},
        dict.fromkeys(tracks_at, names),
    )
    scorer = TrackScorer(truth)
    for number, tracks in tracks_at.items():
        found = tuple(Detection("person", 0, 0.9, Box(*b), t) for t, b in tracks.items())
        frame = Frame(np.zeros((8, 8, 3), np.uint8), number, 0.0, 0.0)
        scorer.publish(Result(frame, {"m": Decoded(detections=found)}))
    return scorer


def test_switches_fragments_and_false_ids_are_counted() -> None:
    left, right, nowhere = (0, 0, 10, 20), (50, 0, 60, 20), (200, 0, 210, 20)
    score = scored(
        {0: {1: left, 2: right}, 1: {1: left}, 2: {2: left, 1: right}, 3: {2: left, 7: nowhere}}
    ).score
    assert (score.frames, score.people, score.boxes, score.found) == (4, 2, 8, 6)
    # B is found again in frame 2 after frame 1, under A's id, as A is under B's.
    assert (score.switches, score.fragments, score.false) == (2, 1, 1)


def test_identities_of_no_clip_are_refused() -> None:
    with pytest.raises(EdgecamError, match="expected the identities"):
        read_truth(bundled.clip())


def test_identities_on_the_bundled_clip() -> None:
    """The bounds are what was counted with the bundled model, with a margin for other runtimes."""
    clip = bundled.clip()
    scorer = TrackScorer(read_truth(clip.with_suffix(".tracks.json")))
    flags = {
        "model.path": ["posenet"],
        "model.input_size": "481x641",
        "source.url": str(clip),
        "decode.score_threshold": 0.3,
        "decode.max_poses": 15,
    }
    run(load(None, {}, flags), threading.Event(), extra_sinks=[scorer])
    score = scorer.score
    assert score.frames == 21
    assert score.boxes == 127
    assert score.found >= 100
    assert score.switches <= 8
    assert score.fragments <= 9
    assert score.false <= 10
