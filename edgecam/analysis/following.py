"""Everybody and everything that is followed, over all models: one id for each.

Each model's poses and boxes have a tracker. A person whom several of them see, as a pose and as a
box, is one: a track that is confirmed where another tracker follows a person takes their id, and
one that stays with another person for some looks changes to theirs. A person whom no model sees
any more and who was last seen inside the picture is lost, not gone: ``edgecam.analysis.absence``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.absence import Absence, Absences, is_within_reach
from edgecam.analysis.intervals import Intervals
from edgecam.analysis.numbers import Numbers
from edgecam.analysis.scene import Subject
from edgecam.analysis.tracker import Track, Tracker, areas, greedy, iou
from edgecam.analysis.zones import Polygon
from edgecam.core.frame import Frame
from edgecam.core.keypoints import PERSON
from edgecam.core.result import Detection, Pose, Result
from edgecam.settings.schema import Settings

Array = NDArray[np.float64]

# A person last seen at an edge of the picture, or a door, still counts for so long.
LEAVES_S = 0.5
# A person whom so many looks missed still counts.
MISSED_LOOKS = 2.5
# Another tracker's track is where it was seen for so long, and for so many of its model's looks.
FRESH_S = 0.25
FRESH_LOOKS = 1.5
# The smaller of two boxes around one person is inside the other by this part at least. A box
# around keypoints has neither the top of the head nor the feet, so its IoU may be low.
MIN_INSIDE = 0.6
MIN_IOU = 0.1
# Who is followed for less, and stands where others are seen, is one of them seen twice.
GHOST_S = 1.0
# After so long with another person, and the look that shows it, an id is wrong.
APART_S = 0.25


def overlap(first: Array, second: Array) -> Array:
    """float64[N, M]: the IoU of boxes that may be around one person; else 0.

    ``first`` is float64[N, 4], ``second`` float64[M, 4], (x_min, y_min, x_max, y_max) in pixels.
    """
    shared = iou(first, second)
    sizes = areas(first)[:, None], areas(second)[None]
    common = shared * (sizes[0] + sizes[1]) / (1.0 + shared)
    inside = common / np.maximum(np.minimum(*sizes), 1e-12)
    return np.where((inside >= MIN_INSIDE) & (shared >= MIN_IOU), shared, 0.0)


class Following:
    """The tracks of every model, and who is lost."""

    def __init__(self, settings: Settings, periods_s: Mapping[str, float]) -> None:
        """``periods_s``: how far apart a model's looks are, where that is limited."""
        self._settings, self._periods_s = settings.tracking, periods_s
        self.ids = Numbers(1)
        self.trackers: dict[tuple[str, type], Tracker] = {}
        self.looks: dict[str, Intervals] = {}
        doors = [Polygon(zone.polygon) for zone in settings.zone if zone.door]
        doors += [Polygon(m.polygon) for m in settings.mask if "all" in m.excludes]
        self.absences = Absences(settings.tracking.lost_hold_s, doors)

    def tracker(self, model: str, kind: type) -> Tracker:
        """That of a model's poses or boxes."""
        if (model, kind) not in self.trackers:
            known = partial(self._known, model, kind)
            self.trackers[model, kind] = Tracker(
                self._settings, self.ids, self.looks_of(model), known
            )
        return self.trackers[model, kind]

    def looks_of(self, model: str) -> Intervals:
        """When the model looked."""
        if model not in self.looks:
            self.looks[model] = Intervals(self._periods_s.get(model, 0.0))
        return self.looks[model]

    def tracks(self) -> Iterator[Track]:
        """Every track of every model."""
        return (track for tracker in self.trackers.values() for track in tracker.tracks)

    def pass_time(self, result: Result, elapsed_s: float) -> None:
        """Let the tracks of models grow older that should have looked at this frame and did not."""
        now_s = result.frame.time_s
        self.absences.wait(result.waiting, elapsed_s)
        for model in result.waiting & self.looks.keys():
            self.looks[model].wait(elapsed_s)
        for model in result.by_model:
            self.looks_of(model).note(now_s)
        for (model, _), tracker in self.trackers.items():
            if model in result.waiting:
                tracker.wait(elapsed_s)
            elif model not in result.by_model:
                tracker.expire(now_s)

    def clear(self) -> None:
        """Forget everybody: a recording begins again."""
        for tracker in self.trackers.values():
            tracker.tracks.clear()
            tracker.given_up.clear()
        self.absences.lost.clear()

    def settle(self, frame: Frame, falling: frozenset[int] = frozenset()) -> None:
        """Let tracks that follow one person agree, and keep the people who are lost.

        ``falling``: the ids of those who fall or have fallen.
        """
        self._agree(frame.time_s)
        alive = self.alive
        for (model, _), tracker in self.trackers.items():
            for track in tracker.given_up:
                if track.id is not None and track.label == PERSON and track.id not in alive:
                    item = track.item
                    pose = item.body() if isinstance(item, Pose) else None
                    about = (track.label, item.score, track.box, track.first_s, pose)
                    absence = Absence(model, Subject(track.id, *about), track.last_s)
                    absence.waited_s, absence.tallest_px = track.waited_s, track.tallest_px
                    absence.rests = track.rests
                    absence.beside = self._beside(track, falling)
                    self.absences.lose(absence, track, (frame.width_px, frame.height_px))
            tracker.given_up.clear()

    def _beside(self, track: Track, falling: frozenset[int]) -> int | None:
        """The one who falls where a track ends; None where no one does, or it is their own."""
        if track.id in falling:
            return None
        lost = self.absences.lost
        boxes = {n: lost[n].subject.box for n in falling & lost.keys()}
        boxes |= {t.id: t.box for t in self.tracks() if t.id is not None and t.id in falling}
        near = [
            (distance, number)
            for number, box in boxes.items()
            for distance in [is_within_reach(track.box, box, 0.0)]
            if distance is not None
        ]
        return min(near)[1] if near else None

    @property
    def alive(self) -> frozenset[int]:
        """The ids that have a track."""
        return frozenset(track.id for track in self.tracks() if track.id is not None)

    def only_once(self, subjects: Iterable[Subject]) -> list[Subject]:
        """Each id once: its pose rather than its box, also where only the box is new."""
        posed = {
            track.id
            for (model, kind), tracker in self.trackers.items()
            if kind is Pose
            for track in tracker.tracks
            if track.last_s == self.looks_of(model).last_s
        }
        chosen: dict[int, Subject] = {}
        for subject in subjects:
            is_pose = subject.pose is not None
            if is_pose or subject.label != PERSON or subject.track not in posed:
                before = chosen.get(subject.track)
                if before is None or (is_pose and before.pose is None):
                    chosen[subject.track] = subject
        return list(chosen.values())

    def counts(self, frame: Frame, falling: frozenset[int]) -> Mapping[str, int]:
        """Who and what is there, by label; each person once, of things the most that a model sees.

        A person out of sight for longer than ``tracking.max_age_s`` counts where they rested or
        may have fallen; one who is lost only keeps a place from being empty.
        """
        people: set[int] = set()
        things: Counter[tuple[str, str]] = Counter()
        seen = [t for t in self.tracks() if t.id and t.label == PERSON and t.last_s == frame.time_s]
        for (model, _), tracker in self.trackers.items():
            for track in tracker.tracks:
                if track.id is not None and track.label == PERSON:
                    is_there = self._is_there(model, track, frame)
                    if track.id in falling or (is_there and not _is_ghost(track, seen, frame)):
                        people.add(track.id)
                elif track.id is not None:
                    things[model, track.label] += 1
        lost = self.absences.lost.items()
        people |= {track for track, absence in lost if absence.rests or track in falling}
        found = {PERSON: len(people) or min(1, len(lost))}
        for (_, label), number in things.items():
            found[label] = max(found.get(label, 0), number)
        return {label: number for label, number in found.items() if number}

    def _is_there(self, model: str, track: Track, frame: Frame) -> bool:
        unseen_s = frame.time_s - track.last_s - track.waited_s
        if unseen_s <= 0.0:
            return True
        if self.absences.has_left(track, (frame.width_px, frame.height_px)):
            return unseen_s <= LEAVES_S
        missed_s = max(self._settings.max_age_s, MISSED_LOOKS * self.looks_of(model).interval_s)
        return unseen_s <= missed_s or track.rests

    def _known(
        self, model: str, kind: type, track: Track, now_s: float, size_px: tuple[int, int]
    ) -> int | None:
        """The id of the person whom a new track turns out to be, who may be out of sight."""
        if track.label != PERSON:
            return None
        tracker = self.trackers[model, kind]
        is_seen = {other.id for other in tracker.tracks if other.last_s == now_s}
        twins = [t for t in self._fresh(tracker, now_s) if t.id not in is_seen]
        near = overlap(track.box[None], _boxes(twins, now_s))[0] if twins else np.zeros(1)
        if near.max() > 0.0:
            return self._taken_over(tracker, track, twins[int(near.argmax())].id)
        if self.absences.is_entrance(track.first_box, size_px):
            return None
        # The look that confirms a track may be the one that gives the other up.
        found = [
            (distance, other.id)
            for other in (*tracker.tracks, *tracker.given_up)
            if other.id is not None and other.last_s < track.first_s and other.label == PERSON
            for distance in [
                is_within_reach(track.box, other.box, now_s - other.last_s - other.waited_s)
            ]
            if distance is not None
        ]
        found += self.absences.near(track, now_s)
        return self._taken_over(tracker, track, min(found)[1]) if found else None

    def _taken_over(self, tracker: Tracker, track: Track, number: int | None) -> int | None:
        """Let a track go on where one of this id, if there is one, was lost."""
        for kept in (tracker.tracks, tracker.given_up):
            for other in [t for t in kept if t.id == number and t is not track]:
                kept.remove(other)
                track.take_over(other.tallest_px, other.settled, other.settled_s)
        absence = self.absences.lost.pop(number, None) if number is not None else None
        if absence is not None:
            track.tallest_px = max(track.tallest_px, absence.tallest_px)
        return number

    def _fresh(self, but: Tracker, now_s: float) -> list[Track]:
        """The people whom other trackers see."""
        found = []
        for (model, _), tracker in self.trackers.items():
            since_s = max(FRESH_S, FRESH_LOOKS * self.looks_of(model).interval_s)
            if tracker is not but:
                found += [
                    track
                    for track in tracker.tracks
                    if track.id is not None
                    and track.label == PERSON
                    and now_s - track.last_s - track.waited_s <= since_s
                ]
        return found

    def _agree(self, now_s: float) -> None:
        """Let a box that is with another person's pose for some looks take their id."""
        for (model, kind), tracker in self.trackers.items():
            seen = [t for t in tracker.tracks if t.id and t.last_s == now_s and t.label == PERSON]
            if kind is not Detection or not seen:
                continue
            poses = [t for t in self._fresh(tracker, now_s) if isinstance(t.item, Pose)]
            ids = {pose.id for pose in poses}
            near = overlap(_boxes(seen, now_s), _boxes(poses, now_s))
            twins = dict(greedy(near, MIN_IOU)) if poses else {}
            for place, track in enumerate(seen):
                twin = poses[twins[place]].id if place in twins else None
                is_apart = track.id != twin and (twin is not None or track.id in ids)
                track.apart = track.apart + 1 if is_apart else 0
                if track.apart > APART_S / max(self.looks_of(model).interval_s, 0.1):
                    track.apart = 0
                    is_free = twin is not None and all(t.id != twin for t in seen)
                    track.id = self._taken_over(tracker, track, twin) if is_free else None


def _is_ghost(track: Track, seen: Sequence[Track], frame: Frame) -> bool:
    """Whether it was followed only just, and others are where it was or should be.

    A model may find one of two people who stand together twice, for some looks.
    """
    is_young = track.last_s - track.first_s < GHOST_S
    if not is_young or not seen or any(other.id == track.id for other in seen):
        return False
    places = np.vstack((track.box[None], _boxes([track], frame.time_s)))
    near = overlap(places, _boxes(seen, frame.time_s))
    return bool(near.max() > 0.0)


def _boxes(tracks: Sequence[Track], now_s: float) -> Array:
    """float64[N, 4]: where the tracks should be by now."""
    if not tracks:
        return np.empty((0, 4))
    return np.array([np.concatenate((t.shift(now_s), t.shift(now_s))) + t.box for t in tracks])
