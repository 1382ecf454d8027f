"""Which models, sizes, refining and turned looks suit this board, by frames a second and AP.

Each way to find people runs over the same recording, everybody refined in every frame, and over the
marked pictures that ship. Both say what is true here and for people like those: more pictures, and
one's own, are for ``edgecam eval``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from edgecam.core.errors import EdgecamError
from edgecam.settings.accuracy import chosen
from edgecam.settings.schema import ModelSettings, MqttSettings, Settings
from edgecam.tools.evaluate.accuracy import OPTIONS
from edgecam.tools.evaluate.marked import Marked, average_precision, read, shipped, turned
from edgecam.tools.evaluate.throughput import TimingSink, run_recording
from edgecam.tools.evaluate.tune import Progress
from edgecam.tools.evaluate.whole_run import WholeRun

FRAMES = 30
# Seconds between turned looks, where people who lie are to count.
TURNED_S = 1.0


class Way(msgspec.Struct, frozen=True):
    """One way to find people; ``turned_look_s`` as in the settings, None as they have it."""

    models: tuple[ModelSettings, ...]
    refine: str | None = None
    turned_look_s: float | None = None

    @property
    def name(self) -> str:
        """What the models are called, and what refines."""
        found = " + ".join(model.path for model in self.models)
        return found if self.refine is None else f"{found}, {self.refine}"

    def applied(self, settings: Settings) -> Settings:
        """The settings with this way to find people."""
        settings = replace(settings, model=self.models, refine=self.refine)
        if self.turned_look_s is None:
            return settings
        return replace(settings, turned_look_s=self.turned_look_s)


class Reached(msgspec.Struct, frozen=True):
    """A way measured: ``input`` HEIGHTxWIDTH of the first model, frames a second, AP 0..1."""

    way: Way
    input: str
    rate_hz: float
    ap: float


class Accuracies(msgspec.Struct, frozen=True):
    """``points``, fastest first; ``front``: none is as fast and sees as much.

    ``chosen``: None where none is as fast as asked. ``skipped``: how many there was no time for.
    """

    points: tuple[Reached, ...]
    front: tuple[Reached, ...]
    chosen: Reached | None
    pictures: int
    people: int
    skipped: int = 0


def ways(lying: bool) -> Iterator[Way]:
    """The bundled ones, the least work first; ``lying``: with turned looks and without."""
    small, usual, large = (
        ModelSettings(path="posenet", input_size=size) for size in ("257x257", None, "481x641")
    )
    boxes = ModelSettings(path="nanodet")
    listed: tuple[tuple[tuple[ModelSettings, ...], str | None], ...] = (
        ((small,), None),
        ((usual,), None),
        ((large,), None),
        ((small,), "lightning"),
        ((usual,), "lightning"),
        ((small,), "thunder"),
        ((usual,), "thunder"),
        ((large,), "thunder"),
        ((boxes,), "lightning"),
        ((boxes,), "thunder"),
        ((usual, replace(boxes, publish=False)), "thunder"),
    )
    for models, refine in listed:
        yield Way(models, refine, 0.0 if lying else None)
        # A detector's boxes are turned with no body in them.
        if lying and models[0] != boxes:
            yield Way(models, refine, TURNED_S)


def tune_accuracy(
    settings: Settings,
    *,
    fps: float | None,
    keep: float,
    lying: bool,
    budget_s: float,
    progress: Progress,
    tried: Iterable[Way] | None = None,
) -> Accuracies:
    """Measure what ``settings`` run now, then every way in ``tried``, by default all ``ways``.

    The chosen one sees the most of those that make ``fps`` frames a second, or, where that is
    None, is the fastest that has the share ``keep`` (0..1) of the best AP. ``lying``: the pictures
    count turned by 90 degrees too. ``budget_s``: no further one is begun after so long.

    Raises:
        EdgecamError: a model does not load, or what ``run_recording`` raises.
    """
    began_s = time.monotonic()
    upright = read(shipped())
    pictures = (*upright, *(turned(each, 90) for each in upright)) if lying else upright
    every = tuple(dict.fromkeys((_now(settings), *(ways(lying) if tried is None else tried))))
    points: list[Reached] = []
    took_s = 0.0
    for number, way in enumerate(every):
        now_s = time.monotonic()
        # One that begins takes about as long as the one before.
        if points and now_s + took_s - began_s > budget_s:
            break
        progress(way.name, number / len(every))
        points.append(_measured(settings, way, pictures))
        took_s = time.monotonic() - now_s
    points.sort(key=lambda point: -point.rate_hz)
    best = front(points)
    people = sum(len(picture.people) for picture in pictures)
    picked = choice(best, fps, keep)
    return Accuracies(tuple(points), best, picked, len(pictures), people, len(every) - len(points))


def front(points: Sequence[Reached]) -> tuple[Reached, ...]:
    """The points than which none is both faster and sees more, fastest first."""
    found: list[Reached] = []
    for point in sorted(points, key=lambda point: (-point.rate_hz, -point.ap)):
        if not found or point.ap > found[-1].ap:
            found.append(point)
    return tuple(found)


def choice(found: Sequence[Reached], fps: float | None, keep: float) -> Reached | None:
    """The one of a front, fastest first, that ``tune_accuracy`` chooses."""
    if fps is None:
        least = keep * max(point.ap for point in found)
        return next(point for point in found if point.ap >= least)
    # The slower one of a front sees more.
    return next((point for point in reversed(found) if point.rate_hz >= fps), None)


def _now(settings: Settings) -> Way:
    """What runs without a choice."""
    settings = chosen(settings)
    return Way(settings.model, settings.refine, settings.turned_look_s)


def _measured(settings: Settings, way: Way, pictures: Sequence[Marked]) -> Reached:
    """
    Raises:
        EdgecamError: a model does not load, or what ``run_recording`` raises.
    """
    settings = way.applied(settings)
    run = WholeRun(settings, OPTIONS, bool(way.turned_look_s))
    if not any(model.finds_people for model in run.models):
        names = ", ".join(model.name for model in run.models)
        raise EdgecamError(
            f"tune: expected models that find poses of people, found {names}; compare others with "
            "edgecam bench and edgecam eval"
        )
    found = [run.look(picture.frame)[0].poses for picture in pictures]
    marks = TimingSink()
    run_recording(replace(settings, max_frames=FRAMES, mqtt=MqttSettings()), run.models, marks)
    frame_ms, _ = marks.cost_ms()
    resizer = run.models[0].resizer
    return Reached(
        way,
        f"{resizer.height_px}x{resizer.width_px}",
        round(1e3 / frame_ms, 2),
        round(average_precision(pictures, found), 4),
    )
