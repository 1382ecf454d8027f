"""Which model, size, delegate, thread count and crop suit this board, by trying them all.

Each variant runs as it would on a camera, one frame after the other, over the same recording. How
much it sees is the mean OKS against the float model at the recording's own size.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from edgecam.core import redaction
from edgecam.core.errors import EdgecamError
from edgecam.core.result import Pose
from edgecam.daemon.build import load_models
from edgecam.inference.model import Model, default_threads
from edgecam.settings.schema import InferenceSettings, ModelSettings, MqttSettings, Settings
from edgecam.tools.evaluate.crop_throughput import see_as_reference
from edgecam.tools.evaluate.oks import PoseKeeper, likeness
from edgecam.tools.evaluate.throughput import TimingSink, run_recording

FRAMES = 48
DELEGATES = ("cpu", "edgetpu", "gpu", "nnapi")
SIZES = ("257x257", "257x353", "353x481", "481x641")
# Fewer pixels than this many times the small input leave a crop nothing to save.
_CROP_GAIN = 2.0

Progress = Callable[[str, float], None]


class Variant(msgspec.Struct, frozen=True):
    """One way to run a model; ``input_size`` HEIGHTxWIDTH."""

    model: str
    input_size: str
    delegate: str
    threads: int
    crop: bool

    def lines(self) -> dict[str, dict[str, object]]:
        """The settings that make it so, by section."""
        return {
            "model": {"path": self.model, "input_size": self.input_size},
            "inference": {"delegate": self.delegate, "threads": self.threads},
            "crop": {"enabled": self.crop},
        }


class Point(msgspec.Struct, frozen=True):
    """A variant measured: frames a second, and the mean OKS (0..1) against the float model."""

    variant: Variant
    rate_hz: float
    oks: float


class Tuning(msgspec.Struct, frozen=True):
    """``points``, fastest first; ``front``: no other is as fast and sees as much; ``chosen`` of it.

    ``left_out``: what did not run, and why. ``people``: those whom ``reference`` sees. ``skipped``:
    how many variants there was no time for.
    """

    points: tuple[Point, ...]
    front: tuple[Point, ...]
    chosen: Point
    left_out: tuple[str, ...]
    reference: str
    people: int
    skipped: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether the choice is one among most variants, and among two at least."""
        return len(self.points) > max(1, self.skipped)


def tune(
    settings: Settings,
    models: Sequence[str],
    reference: str,
    *,
    sizes: Sequence[str] = SIZES,
    keep: float,
    budget_s: float,
    progress: Progress,
) -> Tuning:
    """Measure what ``settings`` run now, then every variant, the smallest first.

    ``keep``: the share (0..1) of the best OKS that the chosen one must reach. ``budget_s``: no
    further variant is begun after so long. ``progress`` gets each variant and the share done.

    Raises:
        EdgecamError: a model is no PoseNet of free size, no person is in the recording, or what
            ``run`` raises.
    """
    started_s = time.monotonic()
    settings = replace(settings, max_frames=FRAMES, mqtt=MqttSettings())
    progress(f"{reference} as the reference", 0.0)
    # What cannot be measured is reported before the long look of the reference.
    left_out: list[str] = []
    now = _now(settings, models)
    others = [v for v in _variants(settings, models, sizes, left_out) if v != now]
    variants = [*([] if now is None else [now]), *others]
    first = PoseKeeper()
    one = replace(settings, model=(ModelSettings(path=reference),), max_frames=1)
    run_recording(one, load_models(one), first)
    truth, shown = see_as_reference(settings, reference, first.size_px)
    people = likeness(truth, {}).people
    if not people:
        raise EdgecamError(
            f"tune: {shown} sees no person in the first {FRAMES} frames of "
            f"{redaction.shown(settings.source.url)}; give a recording with people"
        )
    points: list[Point] = []
    skipped, took_s = 0, 0.0
    for number, variant in enumerate(variants):
        began_s = time.monotonic()
        # One that begins takes about as long as the one before.
        if began_s + took_s - started_s > budget_s and points:
            skipped = len(variants) - number
            left_out.append(f"{skipped} of {len(variants)} variants: no time left")
            break
        progress(_name(variant), number / len(variants))
        points.append(_measured(settings, variant, truth))
        took_s = time.monotonic() - began_s
    points.sort(key=lambda point: -point.rate_hz)
    best = front(points)
    chosen = choice(best, keep)
    return Tuning(tuple(points), best, chosen, tuple(left_out), shown, people, skipped)


def front(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points than which none is both faster and sees more, fastest first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.rate_hz, -point.oks)):
        if not found or point.oks > found[-1].oks:
            found.append(point)
    return tuple(found)


def choice(found: Sequence[Point], keep: float) -> Point:
    """The fastest point of a front that has at least ``keep`` of the front's best OKS."""
    least = keep * max(point.oks for point in found)
    return next(point for point in found if point.oks >= least)


def _now(settings: Settings, models: Sequence[str]) -> Variant | None:
    """What runs without a choice: as the settings have it, else the first of ``models``."""
    (own, *more) = settings.model or (ModelSettings(path=models[0]),)
    if more:
        return None
    found = Model(replace(own, labels=None), settings.inference)
    if not found.finds_poses or found.decoder.size_step is None:
        return None
    size = f"{found.resizer.height_px}x{found.resizer.width_px}"
    threads = settings.inference.threads or default_threads()
    return Variant(own.path, size, "cpu", threads, settings.crop.enabled)


def _variants(
    settings: Settings, models: Sequence[str], sizes: Sequence[str], left_out: list[str]
) -> Iterator[Variant]:
    """All that this board can run, the fewest pixels first; the rest goes to ``left_out``."""
    threads = sorted({1, default_threads()})
    delegates = [
        delegate
        for delegate in DELEGATES
        if _loads(settings.inference, models[0], delegate, left_out)
    ]
    for model in models[1:]:
        _loads(settings.inference, model, "cpu", left_out)
    for size in sizes:
        Model(ModelSettings(path=models[0], input_size=size), settings.inference)
    small = _pixels(settings.crop.input_size)
    for size in sorted(dict.fromkeys(sizes), key=_pixels):
        crops = (False, True) if _pixels(size) >= _CROP_GAIN * small else (False,)
        for (model, delegate), count, crop in itertools.product(
            itertools.product(models, delegates), threads, crops
        ):
            # Only the processor's threads are ours to choose.
            if delegate == "cpu" or count == threads[-1]:
                yield Variant(model, size, delegate, count, crop)


def _loads(inference: InferenceSettings, model: str, delegate: str, left_out: list[str]) -> bool:
    wanted = replace(inference, delegate=delegate, delegate_required=delegate != "cpu")
    try:
        found = Model(ModelSettings(path=model), wanted)
    except EdgecamError as error:
        if delegate == "cpu":
            raise
        reason = str(error).partition("; ")[0]
        left_out.append(f"{delegate}: {reason}")
        return False
    if not found.finds_poses or found.decoder.size_step is None:
        raise EdgecamError(
            f"tune: {model} is a {found.decoder.family} model; expected a PoseNet, which takes "
            "every input size; measure others with edgecam bench and edgecam eval"
        )
    return True


def _measured(settings: Settings, variant: Variant, truth: Mapping[int, Sequence[Pose]]) -> Point:
    settings = replace(
        settings,
        model=(ModelSettings(path=variant.model, input_size=variant.input_size),),
        inference=replace(settings.inference, delegate=variant.delegate, threads=variant.threads),
        crop=replace(settings.crop, enabled=variant.crop),
    )
    # As for a camera: one frame at a time, and all threads for that one.
    models = [Model(each, settings.inference) for each in settings.model]
    keeper, marks = PoseKeeper(), TimingSink()
    run_recording(settings, models, keeper, marks)
    frame_ms, _ = marks.cost_ms()
    seen = likeness(truth, keeper.poses)
    return Point(variant, round(1e3 / frame_ms, 2), round(seen.mean_oks, 4))


def _pixels(size: str) -> int:
    height, _, width = size.partition("x")
    return int(height) * int(width)


def _name(variant: Variant) -> str:
    crop = ", crop" if variant.crop else ""
    return f"{variant.model} {variant.input_size}, {variant.threads} on {variant.delegate}{crop}"
