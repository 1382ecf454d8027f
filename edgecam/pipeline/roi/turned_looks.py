"""Looks at the turned picture, for people who lie: networks learned from people who stand.

A look is at the whole frame, or at a square around a person who was lost or may have fallen,
turned clockwise by 90 and by 270 degrees in turns. A frame gets one at most. They keep to a
budget: the network invokes no tenth more often, but for suspected falls, which are looked at twice
a second until they are decided. Times are those of the frames, so that a recording is looked at in
the same way on every run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgecam.analysis.places import Attention, Place
from edgecam.analysis.tracker import MAX_GAP_S
from edgecam.core.frame import Frame
from edgecam.core.geometry import Rectangle
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Decoded, Pose, StageTimes, TurnedLook
from edgecam.core.tensors import Tensor
from edgecam.core.turning import turn_image, turn_points, turned_size
from edgecam.inference.model import Model, ModelImage
from edgecam.pipeline.roi.inference_steps import ModelRunner, Steps, run_steps
from edgecam.pipeline.roi.motion_gate import Motion
from edgecam.settings.scene import MotionSettings
from edgecam.settings.schema import Settings

DEGREES = (90, 270)
# Turned looks for each upright one, and how many may be saved up.
SHARE = 0.08
SAVED_AT_START = 4.0
MAX_SAVED = 12.0
# Seconds between the looks at one place: so many at once, then longer and longer ones.
AT_ONCE = 2
FIRST_WAIT_S = 0.4
LONGER = 1.5
SUSPECTED_WAIT_S = 0.4
# A place that was not asked for so long is forgotten.
FORGET_S = 5.0
# A part of the picture that is nearly all of it is looked at as a whole.
NEARLY_ALL = 0.8
# How often the scene is compared with how it was.
MOTION_EVERY_S = 0.5

_WHOLE = -1
# The key of a person without an id.
_NEW = 0


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A look to make: the ``place``, None for the whole frame, and the turn."""

    key: int
    degrees: int
    place: Place | None


@dataclass(slots=True)
class _Watch:
    """One place that is looked at: when next, turned how, and when it was last asked for."""

    next_s: float
    asked_s: float
    degrees: int = DEGREES[0]
    looks: int = 0
    wait_s: float = 0.0


@dataclass(slots=True)
class TurnSchedule:
    """Which turned look a frame gets; ``every_s`` from one at the whole frame to the next."""

    every_s: float
    _saved: float = SAVED_AT_START
    _last_s: float = -math.inf
    _watches: dict[int, _Watch] = field(default_factory=dict)

    def next(self, now_s: float, places: Sequence[Place], is_active: bool) -> Ask | None:
        """The look that a frame gets; ``is_active``: a person is there, or something moves."""
        if now_s < self._last_s:
            # A recording that begins again.
            self._watches.clear()
        self._last_s = now_s
        self._saved = min(MAX_SAVED, self._saved + SHARE)
        by_key = {_NEW if each.track is None else each.track: each for each in places}
        for key in by_key:
            self._watches.setdefault(key, _Watch(now_s, now_s)).asked_s = now_s
        whole = self._watches.setdefault(_WHOLE, _Watch(now_s + self.every_s, now_s))
        whole.asked_s = now_s
        self._watches = {
            key: watch for key, watch in self._watches.items() if watch.asked_s > now_s - FORGET_S
        }
        due = [key for key in by_key if self._watches[key].next_s <= now_s + 1e-6]
        due.sort(key=lambda key: (not by_key[key].is_urgent, self._watches[key].next_s, key))
        if due and (self._saved >= 1.0 or by_key[due[0]].is_urgent):
            return self._ask(due[0], by_key[due[0]])
        if is_active and self._saved >= 1.0 and whole.next_s <= now_s + 1e-6:
            return self._ask(_WHOLE, None)
        return None

    def _ask(self, key: int, place: Place | None) -> Ask:
        self._saved = max(0.0, self._saved - 1.0)
        return Ask(key, self._watches[key].degrees, place)

    def looked(self, ask: Ask, has_found: bool) -> None:
        """A look was made; one that found a person is made again, turned in the same way."""
        watch, now_s = self._watches[ask.key], self._last_s
        watch.looks += 1
        if not has_found:
            watch.degrees = DEGREES[1 - DEGREES.index(ask.degrees)]
        if ask.place is None:
            watch.next_s = now_s + self.every_s
        elif ask.place.is_urgent:
            watch.next_s = now_s + SUSPECTED_WAIT_S
        elif watch.looks >= AT_ONCE:
            longest_s = min(self.every_s, MAX_GAP_S)
            watch.wait_s = min(max(FIRST_WAIT_S, LONGER * watch.wait_s), longest_s)
            watch.next_s = now_s + watch.wait_s


class TurnedLooks:
    """Makes the turned looks of one model that finds people, the first of ``models``."""

    def __init__(self, every_s: float, models: Sequence[Model], motion: MotionSettings) -> None:
        place = next(n for n, model in enumerate(models) if model.finds_people)
        self._runner = ModelRunner(place, models[place])
        self._schedule = TurnSchedule(every_s)
        self._motion = Motion(motion.min_area, motion.min_contrast)
        self._moved, self._compared_s = False, -math.inf
        self._counts = Counter(dict.fromkeys(("turned_looks", "turned_invokes"), 0))

    @property
    def model(self) -> str:
        """The name of the model that looks."""
        return self._runner.name

    @property
    def place(self) -> int:
        """The number of that model."""
        return self._runner.place

    def infer(
        self, frame: Frame, attention: Attention, options: DecodeOptions
    ) -> Steps[tuple[tuple[TurnedLook, ...], StageTimes]]:
        """Look at a frame that the model has looked at, if it is time to; and what that took."""
        if frame.media_time_s is None and frame.file is not None:
            # Pictures of a folder are no film: each gets all the looks at once.
            return (yield from self.still(frame, options))
        is_active = self._moves(frame) or attention.is_occupied
        ask = self._schedule.next(frame.time_s, attention.places, is_active)
        if ask is None:
            return (), StageTimes(0.0, 0.0, 0.0)
        found, times = yield from self._turned(frame, ask, options)
        if ask.place is None:
            self._moved = False
        self._schedule.looked(ask, bool(found and found[0].poses))
        return found, times

    def still(
        self, frame: Frame, options: DecodeOptions
    ) -> Steps[tuple[tuple[TurnedLook, ...], StageTimes]]:
        """Look at the whole of a picture in every turn."""
        found: list[TurnedLook] = []
        total = StageTimes(0.0, 0.0, 0.0)
        for degrees in DEGREES:
            more, times = yield from self._turned(frame, Ask(_WHOLE, degrees, None), options)
            found += more
            total = total.plus(times)
        return tuple(found), total

    def with_stills(self, part: Decoded, frame: Frame, options: DecodeOptions) -> Decoded:
        """What was found in a picture with all of its turned looks, outside of a run.

        Raises:
            ModelError: the model fails.
        """

        def invoke(_: int, model: Model, staged: ModelImage, __: Frame) -> Sequence[Tensor]:
            return model.invoke(staged)

        return replace(part, turned=run_steps(self.still(frame, options), invoke)[0])

    def _moves(self, frame: Frame) -> bool:
        """Whether something has moved since the last look at the whole frame."""
        now_s = frame.time_s
        if not self._compared_s <= now_s < self._compared_s + MOTION_EVERY_S:
            is_first = self._compared_s == -math.inf
            self._compared_s = now_s
            self._moved |= self._motion.seen(frame.image, now_s) and not is_first
        return self._moved

    def _turned(
        self, frame: Frame, ask: Ask, options: DecodeOptions
    ) -> Steps[tuple[tuple[TurnedLook, ...], StageTimes]]:
        size_px = frame.width_px, frame.height_px
        part = _part(ask.place, size_px)
        shown = np.ascontiguousarray(frame.image[part.rows, part.columns])
        turned = replace(frame, image=turn_image(shown, ask.degrees))
        self._counts["turned_looks"] += 1
        self._counts["turned_invokes"] += 1
        looked = yield from self._runner.whole(turned, options)
        if looked is None:
            return (), StageTimes(0.0, 0.0, 0.0)
        poses = turned_back(looked[0], ask.degrees, part)
        track = None if ask.place is None else ask.place.track
        return (TurnedLook(ask.degrees, poses, track),), looked[1]

    def counters(self) -> Mapping[str, int]:
        """How many turned looks there were, and how often they invoked the model."""
        return dict(self._counts)


def turned_looks(settings: Settings, models: Sequence[Model]) -> TurnedLooks | None:
    """Return what makes the turned looks that the settings ask for, None of none."""
    every_s = settings.turned_look_s
    if not every_s or not any(model.finds_people for model in models):
        return None
    return TurnedLooks(every_s, models, settings.motion)


def turned_back(found: Decoded, degrees: int, part: Rectangle) -> tuple[Pose, ...]:
    """The poses found in a turned ``part`` of a frame, in pixels of the frame."""
    size_px = turned_size((part.width_px, part.height_px), degrees)
    corner = np.array((part.left_px, part.top_px))
    return tuple(
        replace(pose, xy=turn_points(pose.xy, 360 - degrees, size_px) + corner)
        for pose in found.poses
    )


def _part(place: Place | None, size_px: tuple[int, int]) -> Rectangle:
    """The square of a place, moved into the frame; all of the frame where it is nearly all."""
    if place is None:
        return Rectangle(0, 0, *size_px)
    sides = np.minimum(place.square[2:] - place.square[:2], size_px)
    if float(sides.prod()) >= NEARLY_ALL * size_px[0] * size_px[1]:
        return Rectangle(0, 0, *size_px)
    corner = np.clip(place.square[:2], 0.0, np.array(size_px) - sides)
    left, top = np.rint(corner).astype(int).tolist()
    width, height = np.maximum(np.rint(sides).astype(int), 1).tolist()
    return Rectangle(left, top, min(width, size_px[0] - left), min(height, size_px[1] - top))
