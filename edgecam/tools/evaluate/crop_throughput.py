"""What looking at the people alone gains over looking at the whole frame, and what it costs.

Both run over the same recording, in turns, with everything else as it is. How well each does is
the mean OKS against the same network in float arithmetic at the frame's own size.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from edgecam.core import redaction
from edgecam.core.errors import EdgecamError
from edgecam.core.result import Pose
from edgecam.daemon.build import load_models
from edgecam.inference.decoders.posenet import SIDE_STEP
from edgecam.settings.scene import CropSettings
from edgecam.settings.schema import ModelSettings, MqttSettings, Settings
from edgecam.tools.evaluate.oks import PoseKeeper, likeness
from edgecam.tools.evaluate.throughput import MAX_FRAMES_OF_A_ROUND, TimingSink, run_recording

# Everybody whom the reference sees counts, whatever the runs are asked for.
REFERENCE_MAX_POSES = 20


class CropReport(msgspec.Struct, frozen=True):
    """One recording, looked at whole and by crops; times in milliseconds a frame.

    ``speedup``: frames by crops for each whole one in the same time, the median over ``rounds``;
    ``best_speedup`` the highest of one round. ``invoke_speedup``: the same of the time in the
    interpreter alone. ``whole_oks``, ``crop_oks``: mean over all people of all frames, 0..1,
    against ``reference``. ``whole_looks`` of ``frames`` the crops needed too.
    """

    model: str
    source: str
    threads: int
    rounds: int
    frames: int
    whole_input: str
    crop_input: str
    whole_ms: float
    crop_ms: float
    speedup: float
    best_speedup: float
    invoke_speedup: float
    whole_looks: int
    reference: str
    people: int
    whole_oks: float
    crop_oks: float
    whole_found: int
    crop_found: int
    whole_extra: int
    crop_extra: int


def measure_crop(settings: Settings, reference: str, rounds: int) -> CropReport:
    """Run whole looks and crops in turns, ``rounds`` times; ``reference`` is a float PoseNet.

    Raises:
        EdgecamError: more than one model, a source that is no recording or too short, a model
            that takes no other size, or what ``run`` raises.
    """
    if len(settings.model) != 1:
        raise EdgecamError(f"bench --crop: expected one model, found {len(settings.model)}")
    frames = min(settings.max_frames or MAX_FRAMES_OF_A_ROUND, MAX_FRAMES_OF_A_ROUND)
    with tempfile.NamedTemporaryFile(suffix=".jsonl", prefix=".edgecam-") as lines:
        output = replace(settings.output, jsonl=lines.name)
        settings = replace(settings, max_frames=frames, output=output)
        whole, crop = _Side(settings, False), _Side(settings, True)
        for number in range(rounds):
            # Each goes first in turn, so that a drift of the machine favours neither.
            for side in (whole, crop) if number % 2 == 0 else (crop, whole):
                side.run()
        truth, shown = see_as_reference(settings, reference, whole.frame_px)
    return _report(whole, crop, truth, shown)


class _Side:
    """One way to look, with the times of each round and the poses of the last."""

    def __init__(self, settings: Settings, is_crop: bool) -> None:
        self.settings = replace(settings, crop=replace(settings.crop, enabled=is_crop))
        self.models = load_models(self.settings)
        self.poses = PoseKeeper()
        self.marks = TimingSink()
        self.frame_ms: list[float] = []
        self.counts: Mapping[str, int] = {}

    def run(self) -> None:
        self.marks = TimingSink(stages=self.marks.stages)
        self.counts = run_recording(self.settings, self.models, self.poses, self.marks)
        self.frame_ms.append(self.marks.cost_ms()[0])

    @property
    def frame_px(self) -> tuple[int, int]:
        """(width, height)."""
        return self.poses.size_px

    @property
    def invoke_ms(self) -> float:
        return statistics.fmean(self.marks.stages["invoke"])


def see_as_reference(
    settings: Settings, reference: str, frame_px: tuple[int, int]
) -> tuple[Mapping[int, Sequence[Pose]], str]:
    """What a float model sees at the frames' own size, unsmoothed, and how it was asked."""
    width, height = (SIDE_STEP * round((side - 1) / SIDE_STEP) + 1 for side in frame_px)
    model = ModelSettings(path=reference, input_size=f"{height}x{width}")
    keeper = PoseKeeper()
    settings = replace(
        settings,
        model=(model,),
        crop=CropSettings(),
        mqtt=MqttSettings(),
        tracking=replace(settings.tracking, enabled=False),
        decode=replace(settings.decode, max_poses=REFERENCE_MAX_POSES),
    )
    run_recording(settings, load_models(settings), keeper)
    return keeper.poses, f"{reference} {model.input_size}"


def _report(
    whole: _Side, crop: _Side, truth: Mapping[int, Sequence[Pose]], reference: str
) -> CropReport:
    settings = crop.settings
    ratios = [one / other for one, other in zip(whole.frame_ms, crop.frame_ms, strict=True)]
    whole_like, crop_like = (likeness(truth, side.poses.poses) for side in (whole, crop))
    (model,) = whole.models
    return CropReport(
        model=model.name,
        source=redaction.shown(settings.source.url).rpartition("/")[2],
        threads=model.threads,
        rounds=len(ratios),
        frames=len(whole.poses.poses),
        whole_input=f"{model.resizer.height_px}x{model.resizer.width_px}",
        crop_input=settings.crop.input_size,
        whole_ms=round(statistics.median(whole.frame_ms), 3),
        crop_ms=round(statistics.median(crop.frame_ms), 3),
        speedup=round(statistics.median(ratios), 3),
        best_speedup=round(max(ratios), 3),
        invoke_speedup=round(whole.invoke_ms / crop.invoke_ms, 3),
        whole_looks=crop.counts["crop_whole_looks"],
        reference=reference,
        people=whole_like.people,
        whole_oks=round(whole_like.mean_oks, 4),
        crop_oks=round(crop_like.mean_oks, 4),
        whole_found=whole_like.found,
        crop_found=crop_like.found,
        whole_extra=whole_like.extra,
        crop_extra=crop_like.extra,
    )
