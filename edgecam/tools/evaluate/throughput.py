"""Measures the whole pipeline against the bare interpreter, in turns within one run.

Wall clocks lie on a busy machine; a ratio of two things that took turns lies less. Processor time
is reported too: on a board whose cores are all busy inferring, what a frame costs beside its
invoke is what keeps the ratio from 1.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edgecam.core import redaction
from edgecam.core.errors import EdgecamError
from edgecam.core.keypoints import PERSON
from edgecam.core.protocols import Sink
from edgecam.core.result import Result
from edgecam.daemon.build import load_models
from edgecam.daemon.session import Session
from edgecam.inference import runtime
from edgecam.inference.model import Model
from edgecam.mqtt.broker import BROKER_WAIT_S
from edgecam.pipeline.meter import quantile
from edgecam.settings.schema import MqttSettings, Settings
from edgecam.tools.evaluate.tracks import (
    SCORED_WITH,
    TrackScore,
    TrackScorer,
    read_truth,
    truth_of,
)

# Frames at either end of a recording that find the queues not yet, or no longer, full.
EDGE_FRAMES = 8
BARE_WARM_INVOKES = 2
MAX_FRAMES_OF_A_ROUND = 200


class Spread(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p95: float
    p99: float


class Report(msgspec.Struct, frozen=True):
    """What the models cost here; times in milliseconds, one frame's or one invoke's.

    ``looks`` is the share of the results that each model had a part in. A bare invoke is that of
    every model, each as often as it looks at a frame; ``stages`` name their model if there are
    several.

    ``efficiency``: the pipeline's frames for each bare invoke in the same time, the median over
    ``rounds``; ``best_efficiency`` the highest of one round. ``cpu_efficiency``: processor time of
    the bare invoke over that of a frame, what all cores busy could reach at best. ``tracks`` is
    how well ids are kept, where a person drew the identities of the recording by hand.
    """

    model: str
    looks: Mapping[str, float]
    family: str
    input: str
    runtime: str
    delegate: str
    threads: int
    source: str
    broker: bool
    rounds: int
    frames: int
    bare_ms: float
    frame_ms: float
    efficiency: float
    best_efficiency: float
    bare_cpu_ms: float
    frame_cpu_ms: float
    cpu_efficiency: float
    stages: Mapping[str, Spread]
    peak_rss_bytes: int
    tracks: TrackScore | None = None


@dataclass(slots=True)
class TimingSink:
    """A sink that notes when each result came, and what its stages took."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    looks: Counter[str] = field(default_factory=Counter)
    several: bool = False

    def publish(self, result: Result) -> None:
        """Note when the result came and what it cost."""
        self.wall_s.append(time.perf_counter())
        self.cpu_s.append(time.process_time())
        age_ms = (time.monotonic() - result.frame.captured_s) * 1e3
        self.stages.setdefault("capture to publish", []).append(age_ms)
        for model, times in result.times.items():
            self.looks[model] += 1
            whose = f"{model}: " if self.several else ""
            self.stages.setdefault(f"{whose}preprocess", []).append(times.preprocess_ms)
            self.stages.setdefault(f"{whose}invoke", []).append(times.invoke_ms)
            self.stages.setdefault(f"{whose}decode", []).append(times.decode_ms)

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {}

    def close(self) -> None:
        """Do nothing: what was timed is kept."""
        return

    def cost_ms(self) -> tuple[float, float]:
        """Wall and processor milliseconds for each frame, the first and last ones left out."""
        first, last = EDGE_FRAMES, len(self.wall_s) - EDGE_FRAMES
        if last - first < 2:
            raise EdgecamError(
                f"bench: expected a source of more than {2 * EDGE_FRAMES + 2} frames, found "
                f"{len(self.wall_s)}; give a longer recording or more --max-frames"
            )
        return _slope(self.wall_s[first:last]) * 1e3, _slope(self.cpu_s[first:last]) * 1e3


def _slope(values: Sequence[float]) -> float:
    """What each value adds, by least squares: results may come a few at a time."""
    return statistics.linear_regression(range(len(values)), values).slope


@dataclass(frozen=True, slots=True)
class _Round:
    bare_ms: float
    bare_cpu_ms: float
    frame_ms: float
    frame_cpu_ms: float


def spread(values: Sequence[float]) -> Spread:
    """Median and upper percentiles of at least one value."""
    ordered = sorted(values)
    return Spread(*(round(quantile(ordered, share), 3) for share in (0.5, 0.95, 0.99)))


def measure(settings: Settings, rounds: int) -> Report:
    """Run bare invokes and the pipeline in turns, ``rounds`` times, on one recording.

    Raises:
        EdgecamError: a source that is live or too short, or what ``run`` raises.
    """
    frames = min(settings.max_frames or MAX_FRAMES_OF_A_ROUND, MAX_FRAMES_OF_A_ROUND)
    settings = msgspec.structs.replace(settings, max_frames=frames)
    models = load_models(settings)
    several = len(models) > 1
    marks, done = TimingSink(several=several), []
    with tempfile.NamedTemporaryFile(suffix=".jsonl", prefix=".edgecam-") as lines:
        output = msgspec.structs.replace(settings.output, jsonl=lines.name)
        settings = msgspec.structs.replace(settings, output=output)
        for number in range(rounds):
            marks = TimingSink(stages=marks.stages, several=several)
            # Each goes first in turn, so that a drift of the machine favours neither.
            bare = [_bare(model, settings) for model in models] if number % 2 == 0 else None
            run_recording(settings, models, marks)
            bare = bare or [_bare(model, settings) for model in models]
            shares = [marks.looks[model.name] / len(marks.wall_s) for model in models]
            ms, cpu_ms = (
                sum(share * cost[which] for share, cost in zip(shares, bare, strict=True))
                for which in (0, 1)
            )
            done.append(_Round(ms, cpu_ms, *marks.cost_ms()))
    return _report(settings, models, done, marks)


def score_tracks(settings: Settings) -> TrackScore | None:
    """Identity switches and fragments over the whole recording; None where they are not drawn.

    Everybody is decoded whom ``evaluate.tracks.SCORED_WITH`` asks for, whatever the settings say.

    Raises:
        EdgecamError: what ``run`` raises.
    """
    path = truth_of(Path(settings.source.url))
    models = load_models(settings) if path is not None else []
    if path is None or not any(PERSON in model.counted for model in models):
        return None
    decode = msgspec.structs.replace(settings.decode, **SCORED_WITH)
    settings = msgspec.structs.replace(
        settings, decode=decode, mqtt=MqttSettings(), max_frames=None
    )
    scorer = TrackScorer(read_truth(path))
    run_recording(settings, models, scorer)
    return scorer.score


def run_recording(settings: Settings, models: Sequence[Model], *sinks: Sink) -> Mapping[str, int]:
    """Run a whole recording into ``sinks`` too; returns what was counted.

    Raises:
        EdgecamError: it is none, the broker does not answer, or what ``run`` raises.
    """
    session = Session(settings, models, threading.Event(), sinks)
    try:
        if session.source.live:
            raise EdgecamError("bench: expected a recording: a live source has its own rate")
        if session.broker is not None and not session.broker.wait_connected(BROKER_WAIT_S):
            raise EdgecamError(f"bench: no broker at {settings.mqtt.url}; start it or drop it")
        session.pipeline.start()
        while not session.pipeline.wait(0.5):
            session.tick(time.monotonic())
        return dict(session.pipeline.counters())
    finally:
        session.close()


def _bare(model: Model, settings: Settings) -> tuple[float, float]:
    """Wall and processor milliseconds of a bare invoke in a loop."""
    invokes = max(1, (settings.max_frames or 1) // 2)
    for _ in range(BARE_WARM_INVOKES):
        model.interpreter.invoke()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(invokes):
        model.interpreter.invoke()
    wall_ms = (time.perf_counter() - wall_s) * 1e3 / invokes
    return wall_ms, (time.process_time() - cpu_s) * 1e3 / invokes


def _report(
    settings: Settings, models: Sequence[Model], done: Sequence[_Round], marks: TimingSink
) -> Report:
    ratios = [one.bare_ms / one.frame_ms for one in done]
    found = runtime.find()
    bare_cpu_ms = statistics.median(one.bare_cpu_ms for one in done)
    frame_cpu_ms = statistics.median(one.frame_cpu_ms for one in done)
    return Report(
        model="+".join(model.name for model in models),
        looks={m.name: round(marks.looks[m.name] / len(marks.wall_s), 3) for m in models},
        family="+".join(model.decoder.family for model in models),
        input="+".join(f"{m.resizer.height_px}x{m.resizer.width_px}" for m in models),
        runtime=f"{found.name} {found.version}",
        delegate="+".join(dict.fromkeys(model.delegate.active for model in models)),
        threads=models[0].threads,
        source=redaction.shown(settings.source.url).rpartition("/")[2],
        broker=settings.mqtt.url is not None,
        rounds=len(done),
        frames=len(marks.wall_s),
        bare_ms=round(statistics.median(one.bare_ms for one in done), 3),
        frame_ms=round(statistics.median(one.frame_ms for one in done), 3),
        efficiency=round(statistics.median(ratios), 3),
        best_efficiency=round(max(ratios), 3),
        bare_cpu_ms=round(bare_cpu_ms, 3),
        frame_cpu_ms=round(frame_cpu_ms, 3),
        cpu_efficiency=round(bare_cpu_ms / frame_cpu_ms, 3),
        stages={name: spread(values) for name, values in marks.stages.items()},
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
