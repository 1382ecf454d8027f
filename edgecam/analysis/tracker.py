"""Keeps an id on every pose and box from frame to frame.

Poses are matched by object keypoint similarity (OKS), boxes by intersection over union (IoU) with
a box of the same label. Both are greedy: of all pairs above the gate the most similar one first.
What is left over, as when a person falls or is seen again after some frames, is matched by the
distance of the centres in units of the box's size.

Time counts in looks where a model looks seldom: a track outlives three looks that miss it, even if
that is longer than ``tracking.max_age_s``, and of looks further apart than 0.25 s the later sees
people further on. ``docs/tracking.md`` has how many of the finds have an id at which rate.

Source: OKS as the COCO keypoint evaluation defines it, with its falloffs. A tracker that needs
four keypoints above 0.3, an age limit in time and OKS over normalised areas is TensorFlow.js'
(``pose-detection/src/calculators/keypoint_tracker.ts``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.intervals import Intervals
from edgecam.core.geometry import pose_boxes
from edgecam.core.keypoints import COCO, SKELETONS, SURE, Skeleton
from edgecam.core.result import Detection, Pose
from edgecam.settings.scene import TrackingSettings

Array = NDArray[np.float64]
Item = TypeVar("Item", Pose, Detection)

MIN_KEYPOINTS = 4
# Three looks may miss whom the fourth sees again; half of one more, for looks are not on time.
LOOKS_OF_A_TRACK = 3.5
# Turned looks at one place are at most so far apart.
MAX_GAP_S = 10.0
# Looks that are further apart see people further on: from here on the distance gate grows.
GATED_LOOK_S = 0.25
# Of a model that looks so seldom, or less, a sure first look counts, or a second one.
RARE_LOOK_S = 0.15
RARE_HITS = 2
SURE_AT_ONCE = 0.6
# Who stays within so many sizes of the box for so long rests.
SETTLED = 0.5
RESTS_S = 2.0
# Who is out of sight is expected to go on for so long, then to have stopped.
COAST_S = 0.3
# A fraction of the picture's area below which a person is a dot.
_MIN_AREA = 1e-5


@dataclass(slots=True, eq=False)
class Track:
    """One person or thing as last seen: ``item``, its ``box`` and ``centre``.

    These are float64[4] and float64[2], pixels. ``waited_s`` is how much of the time since then
    no model looked: it does not age. ``tallest_px`` is the greatest height of the box so far,
    ``first_box`` the first one. ``settled`` is the centre near which it has stayed since
    ``settled_s``. ``apart`` is for how many looks it was with another person's id. ``gap_s`` lies
    between the last two sights, ``turned_s`` is when a turned look saw it last.
    """

    id: int | None
    item: Pose | Detection
    box: Array
    first_s: float
    last_s: float
    hits: int = 1
    velocity: Array | None = None
    waited_s: float = 0.0
    tallest_px: float = 0.0
    apart: int = 0
    turned_s: float | None = None
    gap_s: float = 0.0
    first_box: Array = field(init=False)
    settled: Array = field(init=False)
    settled_s: float = field(init=False)
    centre: Array = field(init=False)

    def __post_init__(self) -> None:
        self.centre = centres(self.box[None])[0]
        self.tallest_px = max(self.tallest_px, float(self.box[3] - self.box[1]))
        self.first_box, self.settled, self.settled_s = self.box, self.centre, self.first_s

    @property
    def rests(self) -> bool:
        """Whether it had stayed where it was for ``RESTS_S`` when it was last seen."""
        return self.last_s - self.settled_s >= RESTS_S

    def take_over(self, tallest_px: float, settled: Array, settled_s: float) -> None:
        """Go on as a track that was lost."""
        self.tallest_px = max(self.tallest_px, tallest_px)
        self.settled, self.settled_s = settled, settled_s
        self.settle()

    def settle(self) -> None:
        """Remember since when it is where it is."""
        moved_px = float(np.linalg.norm(self.centre - self.settled))
        if moved_px > SETTLED * math.sqrt(max(1.0, float(areas(self.box[None])[0]))):
            self.settled, self.settled_s = self.centre, self.last_s

    @property
    def label(self) -> str:
        """Label of the pose's skeleton or of the box."""
        item = self.item
        return SKELETONS[item.skeleton].label if isinstance(item, Pose) else item.label

    @property
    def confirmed(self) -> bool:
        """Whether the track has an id."""
        return self.id is not None

    def outlives_s(self, age_s: float) -> float:
        """How long after its last sight it is given up: turned looks are seldom made."""
        return max(age_s, LOOKS_OF_A_TRACK * self.gap_s) if self.is_turned else age_s

    @property
    def is_turned(self) -> bool:
        """Whether the last look that saw it was a turned one."""
        return self.turned_s == self.last_s

    def shift(self, now_s: float) -> Array:
        """float64[2]: how far it should have moved since it was seen, pixels."""
        if self.velocity is None:
            return np.zeros(2)
        return self.velocity * min(now_s - self.last_s, COAST_S)


def centres(boxes: Array) -> Array:
    """float64[N, 2] of float64[N, 4] (x_min, y_min, x_max, y_max)."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2.0


def areas(boxes: Array) -> Array:
    """float64[N], at least 0."""
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).clip(0.0).prod(axis=1), np.float64)


def iou(first: Array, second: Array) -> Array:
    """float64[N, M]: intersection over union of float64[N, 4] with float64[M, 4]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low).clip(0.0).prod(axis=2)
    union = areas(first)[:, None] + areas(second)[None] - common
    return np.asarray(common / np.maximum(union, 1e-12), np.float64)


def oks(
    first: Array, second: Array, area: Array, sure: NDArray[np.bool_], skeleton: Skeleton = COCO
) -> Array:
    """float64[N, M]: object keypoint similarity, 0 where fewer than 4 keypoints are sure.

    ``first`` is float64[N, K, 2], ``second`` float64[M, K, 2], ``area`` float64[M] that of the
    second's boxes, all in one unit; ``sure`` bool[N, M, K] says which keypoints count. All have
    the K keypoints of ``skeleton``.
    """
    # COCO's OKS divides by the area of a person's outline; that of the box around it is larger. The
    # keypoints of one frame and the next agree far better than two annotators do, so it is kept.
    falloff = (2.0 * np.array(skeleton.falloffs)) ** 2
    distance = ((first[:, None] - second[None]) ** 2).sum(axis=3)
    similar = np.exp(-distance / (2.0 * area[None, :, None] * falloff)) * sure
    number = sure.sum(axis=2)
    return np.asarray(
        np.where(number >= MIN_KEYPOINTS, similar.sum(axis=2) / np.maximum(number, 1), 0.0)
    )


def pose_oks(first: Sequence[Pose], second: Sequence[Pose]) -> Array:
    """float64[N, M]: object keypoint similarity of poses in the same pixels.

    The keypoints that the second is sure of count, wherever the first has them.
    """
    if not first or not second:
        return np.zeros((len(first), len(second)))
    sure = np.array([pose.scores >= SURE for pose in second])
    area = np.maximum(areas(boxes_of(second)), 1.0)
    xy = [np.array([pose.xy for pose in poses]) for poses in (first, second)]
    every = np.broadcast_to(sure, (len(first), *sure.shape))
    return oks(xy[0], xy[1], area, every, SKELETONS[second[0].skeleton])


def greedy(similarity: Array, gate: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of at least ``gate``, most similar first, each row and column once."""
    rows, columns = np.nonzero(similarity >= gate)
    # Stable: of equals the first row and column, or two runs might differ.
    order = np.argsort(-similarity[rows, columns], kind="stable")
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = set(), set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken[0] and column not in taken[1]:
            taken[0].add(row)
            taken[1].add(column)
            pairs.append((row, column))
    return pairs


def boxes_of(items: Sequence[Pose | Detection]) -> Array:
    """float64[N, 4] in pixels; of a pose the box around its sure keypoints."""
    if not items:
        return np.empty((0, 4))
    if isinstance(items[0], Pose):
        poses = [item for item in items if isinstance(item, Pose)]
        xy = np.array([pose.xy for pose in poses]).transpose(0, 2, 1)
        return pose_boxes(xy, np.array([pose.scores for pose in poses]))
    boxes = [item.box for item in items if isinstance(item, Detection)]
    return np.array([(b.x_min, b.y_min, b.x_max, b.y_max) for b in boxes])


class Tracker:
    """Tracks what one model finds of one kind, poses or detections.

    ``ids`` gives the next id; trackers that share it never give one twice. ``looks`` are those of
    the model: the caller of ``update`` says there when it looks. ``known`` returns the id of
    the lost person that a track turns out to be, as it is confirmed. ``given_up`` collects the
    confirmed tracks that are; who uses them empties it.
    """

    def __init__(
        self,
        settings: TrackingSettings,
        ids: Iterator[int],
        looks: Intervals | None = None,
        known: Callable[[Track, float, tuple[int, int]], int | None] = lambda *_: None,
    ) -> None:
        self._settings, self._ids, self._known = settings, ids, known
        self._looks = looks or Intervals()
        self.tracks: list[Track] = []
        self.given_up: list[Track] = []

    def update(
        self, items: Sequence[Item], now_s: float, size_px: tuple[int, int]
    ) -> tuple[list[Item], list[Track]]:
        """The items with the ids of their tracks, and the tracks of each; ``size_px`` (w, h).

        An item of a track that is not confirmed yet has no id.
        """
        self.expire(now_s)
        if not items:
            return [], []
        boxes = boxes_of(items)
        found: list[Track | None] = [None] * len(items)
        for item, place in self._pairs(items, boxes, now_s, size_px):
            found[item] = self.tracks[place]
        middles = centres(boxes)
        # Who is followed first: a new track may only be a person whom this look does not show.
        for place in sorted(range(len(items)), key=lambda place: found[place] is None):
            about = items[place], boxes[place], middles[place]
            found[place] = self._seen(found[place], *about, now_s, size_px)
        tracks = [track for track in found if track is not None]
        return [replace(i, track=t.id) for i, t in zip(items, tracks, strict=True)], tracks

    def expire(self, now_s: float) -> None:
        """Forget the tracks that were not seen for too long, as of now."""
        if self.tracks and now_s < max(track.last_s for track in self.tracks):
            # A recording that begins again shows no one who was there at its end.
            self.tracks.clear()
        looks_s = LOOKS_OF_A_TRACK * self._looks.interval_s
        age_s = max(self._settings.max_age_s, looks_s)
        old = [t for t in self.tracks if t.last_s + t.waited_s < now_s - t.outlives_s(age_s)]
        self.given_up += [t for t in old if t.confirmed]
        self.tracks = [t for t in self.tracks if t not in old]

    def wait(self, elapsed_s: float) -> None:
        """Skip so long without a look: those who were there still are."""
        for track in self.tracks:
            track.waited_s += elapsed_s

    def _seen(
        self,
        track: Track | None,
        item: Item,
        box: Array,
        centre: Array,
        now_s: float,
        size_px: tuple[int, int],
    ) -> Track:
        if track is None:
            track = Track(None, item, box, now_s, now_s)
            self.tracks.append(track)
        else:
            elapsed_s = now_s - track.last_s
            if elapsed_s > 0.0:
                moved = (centre - track.centre) / elapsed_s
                # Half of the old one: a box jitters more than a person changes pace.
                track.velocity = moved if track.velocity is None else (moved + track.velocity) / 2
            track.gap_s = min(elapsed_s, MAX_GAP_S)
            track.item, track.box, track.centre = item, box, centre
            track.last_s, track.waited_s = now_s, 0.0
            track.hits += 1
            track.tallest_px = max(track.tallest_px, float(box[3] - box[1]))
            track.settle()
        if track.id is None and self._is_sure(track):
            known = self._known(track, now_s, size_px)
            track.id = next(self._ids) if known is None else known
        return track

    def _is_sure(self, track: Track) -> bool:
        """Whether it was seen often enough, or surely enough for a model that looks seldom."""
        if track.hits >= self._settings.min_hits:
            return True
        if self._looks.interval_s < RARE_LOOK_S:
            return False
        return track.hits >= RARE_HITS or track.item.score >= SURE_AT_ONCE

    def _pairs(
        self, items: Sequence[Item], boxes: Array, now_s: float, size_px: tuple[int, int]
    ) -> list[tuple[int, int]]:
        """Which item (row) is which track (column)."""
        if not self.tracks:
            return []
        shifts = np.array([track.shift(now_s) for track in self.tracks])
        boxes_then = np.array([track.box for track in self.tracks])
        expected = boxes_then + np.concatenate((shifts, shifts), axis=1)
        same: Array | float = 1.0
        if isinstance(items[0], Pose):
            similar = self._pose_similarity(items, expected, shifts, max(size_px))
            gate = self._settings.oks_gate
        else:
            labels = [[item.label] for item in items if isinstance(item, Detection)]
            known = np.array([[track.label for track in self.tracks]])
            same = (np.array(labels) == known).astype(np.float64)
            similar = iou(boxes, expected) * same
            gate = self._settings.iou_gate
        # A look that was made for one person says whom it found.
        places = {track.id: n for n, track in enumerate(self.tracks) if track.id is not None}
        named = [(n, places[item.track]) for n, item in enumerate(items) if item.track in places]
        for row, column in named:
            similar[row, :] = similar[:, column] = 0.0
        pairs = named + greedy(similar, gate)
        if len(pairs) == min(similar.shape):
            return pairs
        near = _nearness(boxes, expected) * same
        for row, column in pairs:
            near[row, :] = near[:, column] = 0.0
        times = max(1.0, self._looks.interval_s / GATED_LOOK_S)
        return pairs + greedy(near, 1.0 / (1.0 + times * self._settings.distance_gate))

    def _pose_similarity(
        self, items: Sequence[Pose | Detection], expected: Array, shifts: Array, side_px: int
    ) -> Array:
        new = [item for item in items if isinstance(item, Pose)]
        old = [track.item for track in self.tracks if isinstance(track.item, Pose)]
        new_sure = np.array([pose.scores >= SURE for pose in new])
        old_sure = np.array([pose.scores >= SURE for pose in old])
        return oks(
            np.array([pose.xy for pose in new]) / side_px,
            (np.array([pose.xy for pose in old]) + shifts[:, None]) / side_px,
            np.maximum(areas(expected) / side_px**2, _MIN_AREA),
            new_sure[:, None] & old_sure[None],
            SKELETONS[new[0].skeleton],
        )


def _nearness(first: Array, second: Array) -> Array:
    """float64[N, M]: 1 / (1 + distance of the centres in units of the second's size)."""
    distance = np.linalg.norm(centres(first)[:, None] - centres(second)[None], axis=2)
    size = np.sqrt(np.maximum(areas(second), 1.0))
    return np.asarray(1.0 / (1.0 + distance / size[None]), np.float64)
