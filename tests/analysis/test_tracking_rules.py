"""Each rule of the tracker alone, by numbers worked out by hand."""

from __future__ import annotations

import math
from itertools import count

import numpy as np
import pytest
from skeletons import person

from edgecam.analysis import tracker as tracking
from edgecam.analysis.intervals import Intervals
from edgecam.analysis.numbers import Numbers
from edgecam.analysis.tracker import Tracker, areas, greedy, iou, pose_oks
from edgecam.core.keypoints import OKS_SIGMAS, SURE, Skeleton
from edgecam.core.result import Box, Detection, Pose
from edgecam.settings.scene import TrackingSettings

SIZE = (640, 480)
STAR = Skeleton("star", ("a", "b", "c", "d", "e"), ((0, 1),), (0.1, 0.1, 0.1, 0.1, 0.1), "star")


def box(x: float, y: float, side: float = 100.0, label: str = "person") -> Detection:
    """A square whose centre is at (x, y) pixels."""
    half = side / 2.0
    return Detection(label, 0, 0.9, Box(x - half, y - half, x + half, y + half))


def follow(**settings: float) -> Tracker:
    return Tracker(TrackingSettings(min_hits=1, **settings), count(1))


def ids(following: Tracker, now_s: float, *items: Pose | Detection) -> list[int | None]:
    return [each.track for each in following.update(list(items), now_s, SIZE)[0]]


def test_two_looks_at_one_time_are_a_gap_of_none() -> None:
    looks = Intervals()
    for now_s in (0.0, 5.0, 5.0, 10.0):
        looks.note(now_s)
    assert looks.gaps_s == (5.0, 0.0, 5.0)
    assert looks.interval_s == 0.0


def test_only_the_last_gaps_count_and_never_less_than_what_is_meant() -> None:
    looks = Intervals(period_s=2.0)
    for now_s in (0.0, 1.0, 5.0, 9.0, 13.0):
        looks.note(now_s)
    assert looks.interval_s == 4.0
    looks.note(13.5)
    assert looks.interval_s == 2.0


def test_waiting_adds_up_and_ends_with_a_look() -> None:
    looks = Intervals()
    looks.note(0.0)
    looks.wait(2.0)
    looks.wait(2.0)
    looks.note(5.0)
    looks.note(10.0)
    assert looks.gaps_s == (1.0, 5.0)


def test_area_is_never_below_none() -> None:
    boxes = np.array([[0, 0, 2, 3], [0, 0, -1, 5], [5, 5, 1, 1], [1, 1, 1.5, 1.5]], float)
    assert areas(boxes).tolist() == [6.0, 0.0, 0.0, 0.25]


def test_boxes_of_no_person_are_none_of_four_numbers() -> None:
    assert tracking.boxes_of([]).shape == (0, 4)


def test_iou_knows_no_unit() -> None:
    boxes = np.array([[0, 0, 0.5, 0.5], [0.25, 0, 0.75, 0.5], [0, 0, 1e-4, 1e-4]])
    assert iou(boxes, boxes)[:2, :2] == pytest.approx(np.array([[1, 1 / 3], [1 / 3, 1]]))
    assert iou(boxes, boxes)[2, 2] == pytest.approx(1.0)


def test_nearness_is_in_sizes_of_the_second_box() -> None:
    first = np.array([[0.0, 0, 2, 2], [10, 0, 12, 2]])
    second = np.array([[3.0, 4, 5, 6], [0, 0, 2, 2], [0.5, 0.5, 1.5, 1.5], [1, 1, 1, 1]])
    distance = np.array(
        [
            [5.0 / 2.0, 0.0, 0.0, 0.0],
            [math.hypot(7.0, 4.0) / 2.0, 10.0 / 2.0, 10.0, 10.0],
        ]
    )
    assert tracking._nearness(first, second) == pytest.approx(1.0 / (1.0 + distance))


def test_greedy_takes_what_is_exactly_at_the_gate_and_the_first_of_equals() -> None:
    assert greedy(np.array([[0.5]]), 0.5) == [(0, 0)]
    assert greedy(np.array([[0.5]]), 0.5000001) == []
    equal = np.random.default_rng(1).choice([0.25, 0.5, 0.75], (60, 60))
    cells = sorted(np.ndindex(equal.shape), key=lambda cell: -equal[cell])
    expected: list[tuple[int, int]] = []
    for row, column in cells:
        if all(row != r and column != c for r, c in expected):
            expected.append((row, column))
    assert greedy(equal, 0.2) == expected


def test_similarity_of_poses_counts_what_the_second_is_sure_of() -> None:
    one, other = person(x=100.0), person(x=106.0, y=308.0, unsure=("nose", "left_eye"))
    sure = other.scores >= SURE
    area = float(np.prod(np.ptp(other.xy[sure], axis=0)))
    every = [
        math.exp(-100.0 / (2.0 * area * (2.0 * sigma) ** 2))
        for sigma, counts in zip(OKS_SIGMAS, sure, strict=True)
        if counts
    ]
    found = pose_oks([one, other], [other])
    assert found.shape == (2, 1)
    assert found[:, 0] == pytest.approx([sum(every) / 15, 1.0])
    assert pose_oks([], [one]).shape == (0, 1)
    assert pose_oks([one], []).shape == (1, 0)


def test_similarity_counts_a_keypoint_that_is_just_sure_and_no_area_below_a_pixel() -> None:
    just = person(score=SURE)
    assert pose_oks([just], [just]).tolist() == [[1.0]]
    dot = Pose(0.9, np.zeros((17, 2)), np.full(17, 0.9))
    beside = Pose(0.9, np.full((17, 2), 0.1), np.full(17, 0.9))
    every = [math.exp(-0.02 / (2.0 * (2.0 * sigma) ** 2)) for sigma in OKS_SIGMAS]
    assert pose_oks([beside], [dot])[0, 0] == pytest.approx(sum(every) / 17)


def test_numbers_go_on_from_where_they_were() -> None:
    numbers = Numbers(5)
    assert [next(numbers), next(numbers), next(numbers)] == [5, 6, 7]
    assert numbers.following == 8


def test_second_look_at_one_time_keeps_the_id_and_the_pace() -> None:
    following = follow()
    assert ids(following, 1.0, box(100, 100)) == [1]
    assert ids(following, 1.0, box(110, 100)) == [1]
    (track,) = following.tracks
    assert track.velocity is None
    assert (track.first_s, track.last_s, track.hits) == (1.0, 1.0, 2)
    assert ids(following, 1.1, box(120, 100)) == [1]
    assert (track.first_s, track.last_s) == (1.0, 1.1)
    assert track.velocity == pytest.approx([100.0, 0.0])


def test_pace_is_half_of_the_new_one_and_half_of_the_old() -> None:
    following = follow()
    for number, x in enumerate((100, 110, 130, 130)):
        assert ids(following, number / 10, box(x, 100)) == [1]
        (track,) = following.tracks
        expected = (None, 100.0, 150.0, 75.0)[number]
        if expected is None:
            assert track.velocity is None
        else:
            assert track.velocity == pytest.approx([expected, 0.0])


@pytest.mark.parametrize(("now_s", "track"), [(7.0, 1), (7.01, 2)])
def test_time_without_looks_does_not_age(now_s: float, track: int) -> None:
    following = follow(max_age_s=1.0)
    ids(following, 0.0, box(100, 100))
    following.wait(3.0)
    following.wait(3.0)
    assert ids(following, now_s, box(100, 100)) == [track]
    assert following.tracks[-1].waited_s == 0.0


@pytest.mark.parametrize(("moved", "track"), [(99.0, 1), (101.0, 2)])
def test_box_that_overlaps_too_little_is_matched_within_the_distance(
    moved: float, track: int
) -> None:
    following = follow(distance_gate=1.0)
    ids(following, 0.0, box(100, 100))
    assert ids(following, 0.1, box(100 + moved, 100)) == [track]


@pytest.mark.parametrize(("share", "track"), [(0.98, 1), (1.02, 2)])
def test_pose_that_is_too_unlike_is_matched_within_the_distance(share: float, track: int) -> None:
    following = follow(distance_gate=0.5, oks_gate=1.0)
    first = person(x=200.0)
    ids(following, 0.0, first)
    size = math.sqrt(float(areas(tracking.boxes_of([first]))[0]))
    assert ids(following, 0.1, person(x=200.0 + 0.5 * share * size)) == [track]


def test_distance_never_matches_another_label_or_a_track_that_is_taken() -> None:
    following = follow(distance_gate=1.0)
    ids(following, 0.0, box(100, 100, label="car"))
    assert ids(following, 0.1, box(180, 100, label="dog")) == [2]
    following = follow(distance_gate=1.0)
    assert ids(following, 0.0, box(100, 100), box(400, 100)) == [1, 2]
    # The first is the second of before, and the second is a new one that is near it.
    assert ids(following, 0.1, box(400, 100), box(480, 100)) == [2, 3]
    assert ids(following, 0.2, box(400, 100), box(480, 100), box(180, 100)) == [2, 3, 1]


def test_pose_near_by_is_matched_by_similarity_and_one_far_away_is_not() -> None:
    for moved, track in ((3.0, 1), (200.0, 2)):
        following = follow(distance_gate=0.0)
        ids(following, 0.0, person(x=200.0, score=SURE))
        assert ids(following, 0.1, person(x=200.0 + moved, score=SURE)) == [track]


def test_pose_is_looked_for_where_its_pace_leads() -> None:
    following = follow(distance_gate=0.0)
    places = [100.0, 103.0, 109.0, 118.0, 130.0, 145.0, 163.0, 184.0, 208.0, 235.0, 265.0, 298.0]
    for number, x in enumerate(places):
        assert ids(following, number / 10, person(x=x)) == [1]
    # Two frames are missing: 66 px further on, where it would be unlike who stood still.
    assert ids(following, 1.4, person(x=397.0)) == [1]


def test_similarity_counts_what_both_are_sure_of() -> None:
    arms = ("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_ear", "right_ear")
    head = ("nose", "left_eye", "right_eye", "left_knee", "right_knee", "left_ankle")
    hidden = (*arms, *head)
    whole, part = person(x=200.0), person(x=200.0, unsure=hidden)
    part.xy[part.scores < SURE] = 0.0
    for first, second in ((whole, part), (part, whole)):
        following = follow(distance_gate=0.0, oks_gate=0.9)
        ids(following, 0.0, first)
        assert ids(following, 0.1, second) == [1]


def test_poses_of_another_skeleton_are_compared_by_its_own_falloffs() -> None:
    xy = np.array([[100.0, 100], [200, 100], [200, 200], [100, 200], [150, 150]])
    first = Pose(0.9, xy, np.full(5, 0.9), None, STAR.name)
    second = Pose(0.9, xy + np.array((12.0, 16.0)), np.full(5, 0.9), None, STAR.name)
    # Twenty pixels on ten thousand square pixels, all of one falloff.
    assert pose_oks([second], [first])[0, 0] == pytest.approx(math.exp(-400 / (2 * 1e4 * 0.04)))
    following = follow(distance_gate=0.0)
    ids(following, 0.0, first)
    assert ids(following, 0.1, second) == [1]
