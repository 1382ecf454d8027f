"""Clips that are played to a run in many ways: rates, held pictures, lost looks, directions.

A model finds the same in the same picture. So models that look at whole frames look at each only
once; what refining and turned looks return may be kept by ``KeptOutputs``.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import SourceError
from edgecam.core.events import Event
from edgecam.core.frame import Frame, Image
from edgecam.core.opencv import cv2
from edgecam.core.result import Decoded, Result
from edgecam.daemon.build import RunPlan
from edgecam.inference.model import Model
from edgecam.pipeline.roi.inference_steps import Invoke, invoke_only, run_steps
from edgecam.pipeline.turned_step import TurnedStep
from edgecam.settings.load import load
from edgecam.settings.schema import Settings
from edgecam.sources import open_source

# Frame times are rounded sums.
_ROUNDING_S = 1e-6
# So much sooner than the rate says a picture is still the one.
_SOON_S = 0.01


@dataclass(frozen=True, slots=True)
class Clip:
    """What each model found in each picture of a clip; ``times_s`` is when each is shown.

    ``pngs`` are the pictures, for turned looks and refining; none where a run makes neither. A run
    that refines finds people as it is played.
    """

    name: str
    width_px: int
    height_px: int
    times_s: Sequence[float]
    found: Sequence[Mapping[str, Decoded]]
    pngs: Sequence[NDArray[np.uint8]] = ()

    def picture(self, place: int) -> Image:
        """uint8[H, W, 3] of one of them, black where the pictures were not kept."""
        if not self.pngs:
            return np.broadcast_to(np.zeros((), np.uint8), (self.height_px, self.width_px, 3))
        return np.asarray(cv2.imdecode(self.pngs[place], cv2.IMREAD_COLOR), np.uint8)

    @property
    def duration_s(self) -> float:
        """Until the last picture has been shown as long as the one before."""
        step_s = self.times_s[-1] - self.times_s[-2] if len(self.times_s) > 1 else 0.0
        return self.times_s[-1] + step_s


@dataclass(frozen=True, slots=True)
class Playing:
    """How a clip is shown: looks a second, seconds for which its ends are held, and its pace.

    ``lost``: the share of looks that find nothing, chosen by ``seed``. ``loops``: how often it is
    shown, one after the other; its clock begins again each time, as with ``source.loop``.
    """

    rate_hz: float = 10.0
    hold_first_s: float = 0.0
    hold_last_s: float = 0.0
    slower: float = 1.0
    backwards: bool = False
    lost: float = 0.0
    seed: int = 0
    loops: int = 1


def look_at(
    path: Path,
    settings: Settings,
    models: Sequence[Model],
    invoke: Invoke = invoke_only,
    is_mirrored: bool = False,
    most_hz: float = math.inf,
) -> Clip:
    """Let every model look at the pictures of a clip, by ``invoke``; at ``most_hz`` of a second.

    Raises:
        SourceError: it cannot be read, or has no picture.
        ModelError: a model fails.
    """
    source_settings = load(None, {}, {"source.url": str(path)}).source
    source = open_source(source_settings, threading.Event(), settings.mqtt)
    options = settings.decode.options()
    buffers = [model.buffer() for model in models]
    times_s: list[float] = []
    found: list[Mapping[str, Decoded]] = []
    pngs: list[NDArray[np.uint8]] = []
    plan = RunPlan(settings, models)
    keeps = plan.turned is not None or plan.roi is not None
    size_px = (0, 0)
    for frame in source.frames():
        if times_s and frame.time_s < times_s[-1] + 1.0 / most_hz - _SOON_S:
            continue
        if is_mirrored:
            frame = replace(frame, image=np.ascontiguousarray(frame.image[:, ::-1]))
        looked: dict[str, Decoded] = {}
        for place, (model, buffer) in enumerate(zip(models, buffers, strict=True)):
            if plan.roi is not None:
                break
            staged = model.preprocess(frame, buffer)
            tensors = invoke(place, model, staged, frame)
            looked[model.name] = model.decode(tensors or (), staged, frame, options)
        times_s.append(frame.time_s)
        found.append(looked)
        size_px = frame.width_px, frame.height_px
        if keeps:
            pngs.append(cv2.imencode(".png", frame.image)[1])
    source.close()
    if not found:
        raise SourceError(f"{path}: expected a clip, found no picture in it")
    return Clip(path.name, *size_px, times_s, found, pngs)


def looks(clip: Clip, playing: Playing) -> Iterator[tuple[float, int | None]]:
    """When the models look and at which picture, in order; None of looks that are lost."""
    chance = random.Random(playing.seed)
    shown_s = clip.duration_s * playing.slower * playing.loops
    total_s = playing.hold_first_s + shown_s + playing.hold_last_s
    number = 0
    while (now_s := number / playing.rate_hz) < total_s - _ROUNDING_S:
        place = _place(clip, playing, now_s - playing.hold_first_s, shown_s)
        is_lost = playing.lost > 0.0 and chance.random() < playing.lost
        yield now_s, None if is_lost else place
        number += 1


def _place(clip: Clip, playing: Playing, at_s: float, shown_s: float) -> int:
    """The number of the picture that is shown so long after the first one is no longer held."""
    last = len(clip.found) - 1
    if at_s < 0.0:
        place = 0
    elif at_s >= shown_s - _ROUNDING_S:
        place = last
    else:
        in_clip_s = (at_s / playing.slower) % clip.duration_s + _ROUNDING_S
        place = int(np.searchsorted(clip.times_s, in_clip_s, side="right")) - 1
    return last - max(0, place) if playing.backwards else max(0, place)


def play(
    clip: Clip,
    settings: Settings,
    models: Sequence[Model],
    playing: Playing,
    invoke: Invoke = invoke_only,
) -> Iterator[Result]:
    """Yield the results of a run that sees the clip so; ``invoke`` runs the models."""
    plan, options = RunPlan(settings, models), settings.decode.options()
    lap_s = clip.duration_s * playing.slower
    names = [model.name for model in models if model.publishes and not model.refines]
    for sequence, (shown_s, place) in enumerate(looks(clip, playing)):
        now_s = shown_s % lap_s if playing.loops > 1 else shown_s
        frame = Frame(clip.picture(place or 0), sequence, now_s, now_s, media_time_s=now_s)
        if place is None:
            yield plan.analysis(Result(frame, dict.fromkeys(clip.found[0] or names, Decoded())))
            continue
        result = Result(frame, clip.found[place])
        if plan.roi is not None:
            result = run_steps(plan.roi.infer(frame, [True] * len(models), options), invoke)
        if plan.turned is not None:
            turned = TurnedStep(plan.turned, plan.analysis.attention)
            result = turned.infer(frame, options, invoke)(result)
        yield plan.analysis(result)


@dataclass(slots=True)
class Cost:
    """How many looks there were, and how many turned ones besides, with what they invoked."""

    looks: int = 0
    turned: int = 0

    def __str__(self) -> str:
        share = self.turned / max(1, self.looks)
        return f"{self.turned} turned looks for {self.looks} others, {share:.1%} more invokes"


def events(
    clip: Clip,
    settings: Settings,
    models: Sequence[Model],
    playing: Playing,
    cost: Cost,
    invoke: Invoke = invoke_only,
) -> list[Event]:
    """What is reported of a clip that is shown so; ``cost`` counts the looks."""
    reported: list[Event] = []
    for result in play(clip, settings, models, playing, invoke):
        cost.looks += 1
        cost.turned += sum(len(part.turned) for part in (result.untracked or {}).values())
        if result.insight is not None:
            reported += result.insight.events
    return reported
