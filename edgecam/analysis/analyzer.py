"""What stands between a decoded frame and the sinks: masks, tracks, smoothing, events and rates.

It knows no clock but the frames' own, so that the same recording gives the same results and the
same events on every run.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.bearing import Bearings
from edgecam.analysis.events import Rules
from edgecam.analysis.events.rule import Memory, Rule
from edgecam.analysis.following import Following
from edgecam.analysis.places import Attention, attention, find_lost
from edgecam.analysis.scene import Scene, Subject
from edgecam.analysis.smoothing import DeadBand, OneEuro, smooth
from edgecam.analysis.tracker import Track, areas, boxes_of
from edgecam.analysis.turned import merged
from edgecam.analysis.zones import Polygon, is_inside
from edgecam.core.events import Event, Insight
from edgecam.core.frame import Frame
from edgecam.core.rate_limit import CameraLimits
from edgecam.core.result import Decoded, Detection, Document, Pose, Result
from edgecam.settings.scene import MaskSettings
from edgecam.settings.schema import Settings

if TYPE_CHECKING:
    from edgecam.analysis.checkpoint import Checkpoint
    from edgecam.analysis.page_smoothing import SteadyPages


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
        turned = tuple(
            replace(look, poses=tuple(pose for pose in look.poses if not self._hides(pose, frame)))
            for look in part.turned
        )
        return replace(part, poses=poses, detections=boxes, turned=turned)

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
        self._max_poses = settings.decode.max_poses
        self.finds_poses = finds_poses
        self._masks = Masks(settings.mask)
        self._rules = Rules(settings.events, settings.zone, settings.line, _plugged(settings))
        self._limits = CameraLimits(settings.output.result_max_hz)
        self._following = Following(settings, self.periods_s)
        self._bearings = Bearings(settings.scene)
        self._smoothers: dict[Track, OneEuro] = {}
        self._bands: dict[Track, DeadBand] = {}
        self._pages: dict[str, SteadyPages] = {}
        self._parts: Mapping[str, Decoded] = {}
        self._subjects: dict[str, list[Subject]] = {}
        self._last_s: float | None = None
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
        else:
            parts = {model: merged(part, self._max_poses)[0] for model, part in parts.items()}
        self._parts = self._parts if result.repeated else parts
        result = replace(result, by_model=self._parts, held=held)
        if not follows:
            return result
        found_by = self._subjects.items()
        self._following.settle(frame, self._rules.falling)
        found = (s for m, part in found_by if m in looked or m in result.waiting for s in part)
        subjects = self._following.only_once(found)
        absences = self._following.absences
        lost = [absence.subject for absence in absences.lost.values()]
        scene = _scene(frame, subjects, self._following.alive | {s.track for s in lost}, lost)
        classes = (part.classes[0] for part in parts.values() if part.classes)
        scene = replace(scene, surest=next(classes, None))
        self._bearings.people.keep(scene)
        events = self._rules.evaluate(self._masks.applied(scene))
        absences.give_up(frame.time_s, self._rules.falling)
        insight = Insight(
            ended + events,
            self._following.counts(frame, self._rules.falling),
            self._rules.zone_counts,
            self._rules.posture if self.finds_poses else None,
            self._rules.label,
        )
        return replace(result, insight=insight, untracked=looked)

    def checkpoint(self) -> Checkpoint:
        """All that it remembers, between two frames."""
        # A run without the recorder has no use for it.
        from edgecam.analysis.checkpoint import Checkpoint, remember, track_state

        states = [
            track_state(model, track, euro.last if euro is not None else None)
            for (model, _), tracker in self._following.trackers.items()
            for track in tracker.tracks
            for euro in (self._smoothers.get(track),)
        ]
        return Checkpoint(
            next_track=self._following.ids.following,
            next_number=self._rules.numbers.following,
            tracks=tuple(states),
            last_s=self._last_s,
            looks={model: replace(looks) for model, looks in self._following.looks.items()},
            parts=self._parts if self._may_wait else {},
            subjects=self._subjects if self._may_wait else {},
            memories={name: remember(kept) for name, kept in self.memories.items()},
            absences=tuple(replace(each) for each in self._following.absences.lost.values()),
        )

    def resume(self, checkpoint: Checkpoint, forgotten: Container[str] = ()) -> None:
        """Go on from there; what rules remember under the ``forgotten`` names is left out.

        Raises:
            ValueError: it is of another version.
        """
        from edgecam.analysis.checkpoint import recall

        self._following.ids.following = checkpoint.next_track
        self._rules.numbers.following = checkpoint.next_number
        self._last_s, self._parts = checkpoint.last_s, checkpoint.parts
        looks = {model: replace(each) for model, each in checkpoint.looks.items()}
        self._following.looks.update(looks)
        self._subjects = {model: list(found) for model, found in checkpoint.subjects.items()}
        for state in checkpoint.tracks:
            track = state.track()
            self._following.tracker(state.model, type(track.item)).tracks.append(track)
            if state.filtered is not None:
                self._smoothers.setdefault(track, OneEuro()).last = state.filtered
        lost = {a.subject.track: replace(a) for a in checkpoint.absences}
        self._following.absences.lost = lost
        for name, kept in self.memories.items():
            if name in checkpoint.memories and name not in forgotten:
                recall(kept, checkpoint.memories[name])

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """What is known of people besides their tracks, by whose it is."""
        return {**self._rules.memories, self._bearings.name: self._bearings.people}

    def _end_of_recording(self, frame: Frame) -> tuple[Event, ...]:
        """What ends with a recording that begins again with this frame, on the clock of its end."""
        if self._last_s is None or frame.time_s >= self._last_s:
            return ()
        self._following.clear()
        self._subjects.clear()
        self._forget()
        return self._rules.evaluate(replace(_scene(frame, (), frozenset()), time_s=self._last_s))

    def _pass_time(self, result: Result) -> None:
        """Let the tracks of models grow older that should have looked at this frame and did not."""
        now_s = result.frame.time_s
        elapsed_s = 0.0 if self._last_s is None else max(0.0, now_s - self._last_s)
        self._last_s = now_s
        self._following.pass_time(result, elapsed_s)

    def _tracked(self, model: str, part: Decoded, frame: Frame) -> tuple[Decoded, list[Subject]]:
        subjects: list[Subject] = []
        now_s, size = frame.time_s, (frame.width_px, frame.height_px)
        part, turned = merged(part, self._max_poses)
        following, boxes = self._following, part.detections
        find_lost(following, model, part.poses, now_s)
        poses, pose_tracks = following.tracker(model, Pose).update(part.poses, now_s, size)
        seen, tracks = following.tracker(model, Detection).update(boxes, now_s, size)
        smoothed = self._smooth(poses, pose_tracks, now_s)
        shown = [self._still(*pair) for pair in zip(smoothed, pose_tracks, strict=True)]
        around = boxes_of(smoothed)
        for place, (pose, box, track) in enumerate(zip(smoothed, around, pose_tracks, strict=True)):
            if place in turned:
                track.turned_s = now_s
            if track.id is not None:
                body = pose.body()
                about = (track.label, pose.score, box, track.first_s, body)
                seen_as = (
                    None
                    if body is None
                    else self._bearings.read(track.id, body, size[1], place in turned)
                )
                posture = None if seen_as is None else seen_as.posture
                subjects.append(Subject(track.id, *about, posture=posture))
        for found, track in zip(seen, tracks, strict=True):
            if track.id is not None:
                subjects.append(
                    Subject(track.id, found.label, found.score, track.box, track.first_s)
                )
        self._forget()
        documents = self._steadied(model, part.documents, now_s)
        kept = replace(part, poses=tuple(shown), detections=tuple(seen), documents=documents)
        return kept, subjects

    @property
    def has_fall(self) -> bool:
        """Whether a fall is suspected, or reported and not over."""
        return bool(self._rules.falling)

    def attention(self, model: str, size_px: tuple[int, int]) -> Attention:
        """What the next look of ``model`` at a frame of (width, height) should know."""
        return attention(self._following, model, self._rules.suspected, size_px)

    def _steadied(
        self, model: str, found: tuple[Document, ...], now_s: float
    ) -> tuple[Document, ...]:
        if not self._tracking.smoothing or not (found or model in self._pages):
            return found
        from edgecam.analysis.page_smoothing import SteadyPages

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
        alive = set(self._following.tracks())
        for filters in (self._smoothers, self._bands):
            for track in filters.keys() - alive:
                del filters[track]


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
