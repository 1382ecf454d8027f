"""What stands between a decoded frame and the sinks: masks, tracks, smoothing, events and rates.

It knows no clock but the frames' own, so that the same recording gives the same results and the
same events on every run.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.absence import Absence, Absences, is_within_reach
from edgecam.analysis.checkpoint import Checkpoint, recall, remember, track_state
from edgecam.analysis.events import Rules
from edgecam.analysis.events.body import posture
from edgecam.analysis.events.rule import Rule
from edgecam.analysis.intervals import Intervals
from edgecam.analysis.page_smoothing import SteadyPages
from edgecam.analysis.scene import Scene, Subject
from edgecam.analysis.smoothing import DeadBand, OneEuro, smooth
from edgecam.analysis.tracker import Numbers, Track, Tracker, areas, boxes_of
from edgecam.analysis.zones import Polygon, is_inside
from edgecam.core.events import Event, Insight
from edgecam.core.frame import Frame
from edgecam.core.keypoints import PERSON
from edgecam.core.rate_limit import CameraLimits
from edgecam.core.result import Decoded, Detection, Document, Pose, Result
from edgecam.settings.scene import MaskSettings
from edgecam.settings.schema import Settings


class Masks:
    """What is in which mask."""

    def __init__(self, masks: Sequence[MaskSettings]) -> None:
        self._masks = [(Polygon(mask.polygon), mask) for mask in masks]

    def blind(self, subject: Subject, scene: Scene) -> frozenset[str]:
        """The rules that do not see it; ``all`` says that none does."""
        return frozenset(
            name
            for polygon, mask in self._masks
            if is_inside(polygon, subject, mask.inside, scene)
            for name in mask.excludes
        )

    def applied(self, scene: Scene) -> Scene:
        """The scene with what the masks hide from single rules."""
        if not self._masks:
            return scene
        seen = (replace(each, blind=self.blind(each, scene)) for each in scene.subjects)
        return replace(scene, subjects=tuple(seen))

    def without_hidden(self, part: Decoded, frame: Frame) -> Decoded:
        """What is left outside the masks that exclude everything."""
        if not self._masks:
            return part
        poses = tuple(pose for pose in part.poses if not self._hides(pose, frame))
        boxes = tuple(found for found in part.detections if not self._hides(found, frame))
        return replace(part, poses=poses, detections=boxes)

    def _hides(self, item: Pose | Detection, frame: Frame) -> bool:
        pose = item if isinstance(item, Pose) else None
        subject = Subject(0, "", item.score, _box(item), 0.0, pose)
        return "all" in self.blind(subject, _scene(frame, (), frozenset()))


class Analysis:
    """Takes every result in order, on one thread at a time, and returns it with what follows."""

    def __init__(
        self, settings: Settings, finds_poses: bool, periods_s: Mapping[str, float] | None = None
    ) -> None:
        """``finds_poses``: a model that finds poses runs, so people are known by their poses.

        ``periods_s``: how far apart the frames are that a model looks at, where that is limited.
        """
        self.periods_s = periods_s or {}
        self._tracking, self._output = settings.tracking, settings.output
        self.finds_poses = finds_poses
        self._masks = Masks(settings.mask)
        self._rules = Rules(settings.events, settings.zone, settings.line, _plugged(settings))
        self._limits = CameraLimits(settings.output.result_max_hz)
        self._ids = Numbers(1)
        self._trackers: dict[tuple[str, type], Tracker] = {}
        self._looks: dict[str, Intervals] = {}
        self._smoothers: dict[Track, OneEuro] = {}
        self._bands: dict[Track, DeadBand] = {}
        self._pages: dict[str, SteadyPages] = {}
        self._parts: Mapping[str, Decoded] = {}
        self._subjects: dict[str, list[Subject]] = {}
        self._last_s: float | None = None
        doors = [Polygon(zone.polygon) for zone in settings.zone if zone.door]
        doors += [Polygon(m.polygon) for m in settings.mask if "all" in m.excludes]
        self._absences = Absences(settings.tracking.lost_hold_s, doors)
        self._may_wait = settings.motion.enabled or settings.crop.enabled

    def __call__(self, result: Result) -> Result:
        """Return the result with masks, tracks and smoothing applied, its events and states."""
        frame, looked = result.frame, result.by_model
        parts = {m: self._masks.without_hidden(p, frame) for m, p in looked.items()}
        held = self._limits.of(frame.camera).holds(frame.time_s)
        # Pictures of a folder without a rate are no film: nothing moves from one to the next. Of
        # a camera that several workers share each sees a few.
        no_film = frame.media_time_s is None and frame.file is not None
        follows = self._tracking.enabled and not no_film and frame.camera is None
        ended: tuple[Event, ...] = ()
        if follows:
            ended = self._end_of_recording(frame)
            self._pass_time(result)
            for model, part in parts.items():
                parts[model], self._subjects[model] = self._tracked(model, part, frame)
        self._parts = self._parts if result.repeated else parts
        result = replace(result, by_model=self._parts, held=held)
        if not follows:
            return result
        found_by = self._subjects.items()
        subjects = [s for m, found in found_by if m in looked or m in result.waiting for s in found]
        self._lose(frame)
        lost = [absence.subject for absence in self._absences.lost.values()]
        scene = _scene(frame, subjects, self._alive() | {s.track for s in lost}, lost)
        events = self._rules.evaluate(self._masks.applied(scene))
        self._absences.give_up(frame.time_s, self._rules.falling)
        insight = Insight(
            ended + events,
            self._counts(),
            self._rules.zone_counts,
            self._rules.posture if self.finds_poses else None,
        )
        return replace(result, insight=insight, untracked=looked)

    def checkpoint(self) -> Checkpoint:
        """All that it remembers, between two frames."""
        states = [
            track_state(model, track, euro.last if euro is not None else None)
            for (model, _), tracker in self._trackers.items()
            for track in tracker.tracks
            for euro in (self._smoothers.get(track),)
        ]
        return Checkpoint(
            next_track=self._ids.following,
            next_number=self._rules.numbers.following,
            tracks=tuple(states),
            last_s=self._last_s,
            looks={model: replace(looks) for model, looks in self._looks.items()},
            parts=self._parts if self._may_wait else {},
            subjects=self._subjects if self._may_wait else {},
            memories={name: remember(kept) for name, kept in self._rules.memories.items()},
            absences=tuple(replace(each) for each in self._absences.lost.values()),
        )

    def resume(self, checkpoint: Checkpoint, forgotten: Container[str] = ()) -> None:
        """Go on from there; what rules remember under the ``forgotten`` names is left out.

        Raises:
            ValueError: it is of another version.
        """
        self._ids.following = checkpoint.next_track
        self._rules.numbers.following = checkpoint.next_number
        self._last_s, self._parts = checkpoint.last_s, checkpoint.parts
        self._looks = {model: replace(looks) for model, looks in checkpoint.looks.items()}
        self._subjects = {model: list(found) for model, found in checkpoint.subjects.items()}
        for state in checkpoint.tracks:
            track = state.track()
            self._tracker(state.model, type(track.item)).tracks.append(track)
            if state.filtered is not None:
                self._smoothers.setdefault(track, OneEuro()).last = state.filtered
        self._absences.lost = {a.subject.track: replace(a) for a in checkpoint.absences}
        for name, kept in self._rules.memories.items():
            if name in checkpoint.memories and name not in forgotten:
                recall(kept, checkpoint.memories[name])

    def _end_of_recording(self, frame: Frame) -> tuple[Event, ...]:
        """What ends with a recording that begins again with this frame, on the clock of its end."""
        if self._last_s is None or frame.time_s >= self._last_s:
            return ()
        for tracker in self._trackers.values():
            tracker.tracks.clear()
            tracker.given_up.clear()
        self._absences.lost.clear()
        self._subjects.clear()
        self._forget()
        return self._rules.evaluate(replace(_scene(frame, (), frozenset()), time_s=self._last_s))

    def _pass_time(self, result: Result) -> None:
        """Let the tracks of models grow older that should have looked at this frame and did not."""
        now_s = result.frame.time_s
        elapsed_s = 0.0 if self._last_s is None else max(0.0, now_s - self._last_s)
        self._last_s = now_s
        self._absences.wait(result.waiting, elapsed_s)
        for model in result.waiting & self._looks.keys():
            self._looks[model].wait(elapsed_s)
        for model in result.by_model:
            self._looks_of(model).note(now_s)
        for (model, _), tracker in self._trackers.items():
            if model in result.waiting:
                tracker.wait(elapsed_s)
            elif model not in result.by_model:
                tracker.expire(now_s)

    def _tracked(self, model: str, part: Decoded, frame: Frame) -> tuple[Decoded, list[Subject]]:
        subjects: list[Subject] = []
        now_s, size = frame.time_s, (frame.width_px, frame.height_px)
        poses, pose_tracks = self._tracker(model, Pose).update(part.poses, now_s, size)
        boxes, box_tracks = self._tracker(model, Detection).update(part.detections, now_s, size)
        smoothed = self._smooth(poses, pose_tracks, now_s)
        shown = [self._still(*pair) for pair in zip(smoothed, pose_tracks, strict=True)]
        around = boxes_of(smoothed)
        for pose, box, track in zip(smoothed, around, pose_tracks, strict=True):
            if track.id is not None:
                body = pose.body()
                seen = None if body is None else posture(body)
                about = (track.label, pose.score, box, track.first_s, body)
                subjects.append(Subject(track.id, *about, posture=seen))
        for found, track in zip(boxes, box_tracks, strict=True):
            # The people whom a pose model sees are known by their poses, once.
            if track.id is not None and not (self.finds_poses and found.label == PERSON):
                subjects.append(
                    Subject(track.id, found.label, found.score, track.box, track.first_s)
                )
        self._forget()
        documents = self._steadied(model, part.documents, now_s)
        kept = replace(part, poses=tuple(shown), detections=tuple(boxes), documents=documents)
        return kept, subjects

    def _tracker(self, model: str, kind: type) -> Tracker:
        if (model, kind) not in self._trackers:
            looks = self._looks_of(model)
            known = partial(self._known, model, kind)
            self._trackers[model, kind] = Tracker(self._tracking, self._ids, looks, known)
        return self._trackers[model, kind]

    def _known(self, model: str, kind: type, track: Track, now_s: float) -> int | None:
        """The id of the person out of sight whom a new track turns out to be."""
        if track.label != PERSON or (kind is Detection and self.finds_poses):
            return None
        tracker = self._trackers[model, kind]
        found = []
        for other in tracker.tracks:
            if other.id is not None and other.last_s < track.first_s and other.label == PERSON:
                elapsed_s = now_s - other.last_s - other.waited_s
                distance = is_within_reach(track.box, other.box, elapsed_s)
                if distance is not None:
                    found.append((distance, other.id, other))
        lost = self._absences.nearest(model, track, now_s)
        best = min(found, key=lambda each: each[:2], default=None)
        if best is not None and (lost is None or best[:2] < lost):
            tracker.tracks.remove(best[2])
            track.tallest_px = max(track.tallest_px, best[2].tallest_px)
            return best[1]
        if lost is None:
            return None
        absence = self._absences.lost.pop(lost[1])
        track.tallest_px = max(track.tallest_px, absence.tallest_px)
        return lost[1]

    def _lose(self, frame: Frame) -> None:
        """Keep the people whose tracks were given up inside the picture."""
        size_px = frame.width_px, frame.height_px
        for (model, kind), tracker in self._trackers.items():
            for track in tracker.given_up:
                is_told = kind is Pose or not self.finds_poses
                if track.id is not None and track.label == PERSON and is_told:
                    item = track.item
                    pose = item.body() if isinstance(item, Pose) else None
                    about = (track.label, item.score, track.box, track.first_s, pose)
                    absence = Absence(model, Subject(track.id, *about), track.last_s)
                    absence.waited_s, absence.tallest_px = track.waited_s, track.tallest_px
                    self._absences.lose(absence, track, size_px)
            tracker.given_up.clear()

    def _looks_of(self, model: str) -> Intervals:
        if model not in self._looks:
            self._looks[model] = Intervals(self.periods_s.get(model, 0.0))
        return self._looks[model]

    def _steadied(
        self, model: str, found: tuple[Document, ...], now_s: float
    ) -> tuple[Document, ...]:
        if not self._tracking.smoothing:
            return found
        pages = self._pages.setdefault(model, SteadyPages(self._tracking.max_age_s))
        return pages(found, now_s)

    def _smooth(self, poses: list[Pose], tracks: list[Track], now_s: float) -> list[Pose]:
        """The poses as the rules see them."""
        if not self._tracking.smoothing or not poses:
            return poses
        filters = [self._smoothers.setdefault(track, OneEuro()) for track in tracks]
        xy = np.array([pose.xy for pose in poses])
        scores = np.array([pose.scores for pose in poses])
        sizes_px = np.sqrt(areas(np.array([track.box for track in tracks])))
        smoothed = smooth(filters, xy, scores, sizes_px, now_s)
        return [
            Pose(pose.score, steady, pose.scores, pose.track, pose.skeleton)
            for pose, steady in zip(poses, smoothed, strict=True)
        ]

    def _still(self, pose: Pose, track: Track) -> Pose:
        """The pose as it is published."""
        if not self._output.dead_band_px:
            return pose
        band = self._bands.setdefault(track, DeadBand(self._output.dead_band_px))
        return Pose(pose.score, band(pose.xy), pose.scores, pose.track, pose.skeleton)

    def _forget(self) -> None:
        alive = {track for tracker in self._trackers.values() for track in tracker.tracks}
        for filters in (self._smoothers, self._bands):
            for track in filters.keys() - alive:
                del filters[track]

    def _alive(self) -> frozenset[int]:
        tracks = (track for tracker in self._trackers.values() for track in tracker.tracks)
        return frozenset(track.id for track in tracks if track.id is not None)

    def _counts(self) -> Mapping[str, int]:
        """Confirmed tracks by label; where several models see the same, the largest number."""
        found: dict[str, int] = {}
        by_model: dict[tuple[str, str], int] = {}
        for (model, _), tracker in self._trackers.items():
            for track in tracker.tracks:
                if track.confirmed:
                    key = model, track.label
                    by_model[key] = by_model.get(key, 0) + 1
        for absence in self._absences.lost.values():
            key = absence.model, absence.subject.label
            by_model[key] = by_model.get(key, 0) + 1
        for (_, label), number in by_model.items():
            found[label] = max(found.get(label, 0), number)
        return found


def _plugged(settings: Settings) -> Callable[[Callable[[], int]], Iterable[Rule]] | None:
    """Return what makes the rules of plugins, which nothing loads where none is listed."""
    if not settings.plugins:
        return None
    from edgecam.analysis.events.plugged import plugged_rules

    return partial(plugged_rules, settings)


def _box(item: Pose | Detection) -> NDArray[np.float64]:
    box: NDArray[np.float64] = boxes_of([item])[0]
    return box


def _scene(
    frame: Frame,
    subjects: Sequence[Subject],
    alive: frozenset[int],
    lost: Sequence[Subject] = (),
) -> Scene:
    return Scene(
        frame.time_s,
        frame.captured_unix_s,
        frame.width_px,
        frame.height_px,
        tuple(subjects),
        alive,
        tuple(lost),
    )
