"""Looks at the turned picture, for people who lie: networks learned from people who stand.

A look is at the whole frame, or at a square around a person who was lost or may have fallen,
turned clockwise by 90 and by 270 degrees in turns. A frame gets one at most; when, says
``edgecam.pipeline.roi.turn_schedule``. Times are those of the frames, so that a recording is looked
at in the same way on every run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgecam.analysis.places import Attention, Place
from edgecam.core.frame import Frame
from edgecam.core.geometry import Rectangle
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Decoded, Pose, StageTimes, TurnedLook
from edgecam.core.tensors import Tensor
from edgecam.core.turning import turn_image, turn_points, turned_size
from edgecam.inference.model import Model, ModelImage
from edgecam.pipeline.roi.inference_steps import ModelRunner, Steps, run_steps
from edgecam.pipeline.roi.motion_gate import Motion
from edgecam.pipeline.roi.turn_schedule import DEGREES, WHOLE, Ask, TurnSchedule
from edgecam.settings.scene import MotionSettings
from edgecam.settings.schema import Settings

# Seconds between two looks at the whole frame, where the settings do not say.
DEFAULT_S = 10.0
# A part of the picture that is nearly all of it is looked at as a whole.
NEARLY_ALL = 0.8
# How often the scene is compared with how it was.
MOTION_EVERY_S = 0.5

_NO_LOOK: tuple[tuple[TurnedLook, ...], StageTimes] = ((), StageTimes(0.0, 0.0, 0.0))


class TurnedLooks:
    """Makes the turned looks of one model that finds people, the first of ``models``.

    A model that refines looks at places too: at whom the first one found there, and at a suspected
    fall where it found no person; and at all whom it found in a single picture. ``stills``:
    pictures of a folder get the looks too. They are no film in which a person is lost, and on
    pictures of people who stand the looks cost twice the time and find some who are not there.
    """

    def __init__(
        self,
        every_s: float,
        models: Sequence[Model],
        motion: MotionSettings,
        stills: bool = True,
    ) -> None:
        finds = [model.finds_people and not model.refines for model in models]
        place = finds.index(True)
        self._runner = ModelRunner(place, models[place])
        refines = [n for n, model in enumerate(models) if model.refines]
        self._refiner = ModelRunner(refines[0], models[refines[0]]) if refines else None
        self._schedule, self._stills = TurnSchedule(every_s), stills
        self._motion = Motion(motion.min_area, motion.min_contrast)
        self._moved_s = self._compared_s = -math.inf
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
            return (yield from self.still(frame, options)) if self._stills else _NO_LOOK
        self._compare(frame)
        ask = self._schedule.next(frame.time_s, attention.places, self._moved_s)
        if ask is None:
            return _NO_LOOK
        if ask.known is not None:
            self._schedule.looked(ask, ask.known)
            return (ask.known,), StageTimes(0.0, 0.0, 0.0)
        found, times = yield from self._turned(frame, ask, options)
        if found and self._refiner is not None and ask.place is not None:
            closer, took = yield from self._closer(self._refiner, frame, ask, ask.place, found[0])
            found, times = (closer,), times.plus(took)
        self._schedule.looked(ask, found[0] if found else None)
        return found, times

    def _closer(
        self, runner: ModelRunner, frame: Frame, ask: Ask, place: Place, found: TurnedLook
    ) -> Steps[tuple[TurnedLook, StageTimes]]:
        """The same with what the refining model makes of the surest pose, or of a fall there."""
        seen = max(found.poses, key=lambda pose: pose.score, default=None)
        if seen is None and not place.is_urgent:
            return found, StageTimes(0.0, 0.0, 0.0)
        # A run without such a model has no use for it.
        from edgecam.pipeline.roi.single_pose import lying_pose

        self._counts["turned_invokes"] += 1
        self._schedule.spend()
        pose, took = yield from lying_pose(runner, frame, place.square, ask.degrees, seen)
        if pose is None:
            return found, took
        others = (each for each in found.poses if each is not seen)
        return replace(found, poses=(pose, *others)), took

    def still(
        self, frame: Frame, options: DecodeOptions
    ) -> Steps[tuple[tuple[TurnedLook, ...], StageTimes]]:
        """Look at the whole of a picture in every turn."""
        found: list[TurnedLook] = []
        total = StageTimes(0.0, 0.0, 0.0)
        for degrees in DEGREES:
            more, times = yield from self._turned(frame, Ask(WHOLE, degrees, None), options)
            total = total.plus(times)
            for look in more:
                poses, times = yield from self._refined(frame, look)
                found.append(replace(look, poses=poses))
                total = total.plus(times)
        return tuple(found), total

    def _refined(
        self, frame: Frame, look: TurnedLook
    ) -> Steps[tuple[tuple[Pose, ...], StageTimes]]:
        """Everybody whom a look found, as the refining model sees them where it is believed."""
        poses, total = [], StageTimes(0.0, 0.0, 0.0)
        if self._refiner is None:
            return look.poses, total
        from edgecam.pipeline.roi.single_pose import lying_pose

        for seen in look.poses:
            # Whom a finder saw needs no place.
            found = lying_pose(self._refiner, frame, np.zeros(4), look.degrees, seen)
            pose, times = yield from found
            poses.append(seen if pose is None else pose)
            total = total.plus(times)
        return tuple(poses), total

    def with_stills(self, part: Decoded, frame: Frame, options: DecodeOptions) -> Decoded:
        """What was found in a picture with all of its turned looks, outside of a run.

        Raises:
            ModelError: the model fails.
        """

        def invoke(_: int, model: Model, staged: ModelImage, __: Frame) -> Sequence[Tensor]:
            return model.invoke(staged)

        return replace(part, turned=run_steps(self.still(frame, options), invoke)[0])

    def _compare(self, frame: Frame) -> None:
        """Note whether something moves."""
        now_s = frame.time_s
        if now_s < self._compared_s:
            # A recording that begins again.
            self._moved_s = -math.inf
        if not self._compared_s <= now_s < self._compared_s + MOTION_EVERY_S:
            is_first = self._compared_s == -math.inf
            self._compared_s = now_s
            if self._motion.seen(frame.image, now_s) and not is_first:
                self._moved_s = now_s

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
            return _NO_LOOK
        poses = turned_back(looked[0], ask.degrees, part)
        track = None if ask.place is None else ask.place.track
        return (TurnedLook(ask.degrees, poses, track),), looked[1]

    def counters(self) -> Mapping[str, int]:
        """How many turned looks there were, and how often they invoked the model."""
        return dict(self._counts)


def turned_looks(settings: Settings, models: Sequence[Model]) -> TurnedLooks:
    """Return what makes the turned looks that the settings ask for; a model has to find people."""
    every_s = DEFAULT_S if settings.turned_look_s is None else settings.turned_look_s
    return TurnedLooks(every_s, models, settings.motion, settings.turned_look_s is not None)


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
