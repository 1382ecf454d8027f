"""Rates, latencies and counters of a running pipeline, and the report made of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edgecam.core.result import Result
from edgecam.messages.telemetry import Percentiles, Rates

STAGES = ("preprocess_ms", "invoke_ms", "decode_ms")


@dataclass(slots=True)
class _Window:
    """Values of the last ``span_s`` seconds, with when they came."""

    span_s: float
    entries: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, now_s: float, value: float) -> None:
        self.entries.append((now_s, value))
        self.trim(now_s)

    def trim(self, now_s: float) -> None:
        while self.entries and self.entries[0][0] < now_s - self.span_s:
            self.entries.popleft()

    def values(self, now_s: float) -> list[float]:
        self.trim(now_s)
        return [value for _, value in self.entries]


def percentiles(values: Iterable[float]) -> Percentiles | None:
    """The median and the 95th percentile in milliseconds, or None of nothing."""
    known = sorted(values)
    if not known:
        return None
    return Percentiles(p50=round(quantile(known, 0.5), 2), p95=round(quantile(known, 0.95), 2))


def quantile(ordered: Sequence[float], share: float) -> float:
    """What ``share`` of at least one rising value stays below, linear between two of them.

    As ``numpy.percentile`` has it, which imports numpy.ma when it is first called.
    """
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


class Meter:
    """Counts what passes the stages, over a sliding window of ``window_s`` seconds.

    Its methods may be called from any thread; ``now_s`` is ``time.monotonic()``.
    """

    def __init__(self, window_s: float, started_s: float) -> None:
        self._lock = threading.Lock()
        self._span_s, self._started_s = window_s, started_s
        self._rates = {name: _Window(window_s) for name in ("captured", "inferred", "published")}
        self._stages: dict[tuple[str, str], _Window] = {}
        self._totals = {stage: _Window(window_s) for stage in STAGES}
        self._ages = _Window(window_s)
        self._last_capture_s: float | None = None
        self.frames_published = 0

    def captured(self, now_s: float) -> None:
        """Count a captured frame."""
        with self._lock:
            self._last_capture_s = now_s
            self._rates["captured"].add(now_s, 1.0)

    def inferred(self, now_s: float) -> None:
        """Count an inferred frame."""
        with self._lock:
            self._rates["inferred"].add(now_s, 1.0)

    def published(self, result: Result, now_s: float) -> None:
        """Count a published result with its latencies."""
        with self._lock:
            self.frames_published += 1
            self._rates["published"].add(now_s, 1.0)
            self._ages.add(now_s, (now_s - result.frame.captured_s) * 1e3)
            for stage, total in self._totals.items():
                total.add(now_s, sum(getattr(times, stage) for times in result.times.values()))
            for model, times in result.times.items():
                for stage in STAGES:
                    window = self._stages.setdefault((model, stage), _Window(self._span_s))
                    window.add(now_s, getattr(times, stage))

    def rates(self, now_s: float) -> Rates:
        """Frames per second; over the time since start while that is less than the window."""
        span_s = min(self._span_s, max(now_s - self._started_s, 1e-3))
        with self._lock:
            return Rates(
                **{
                    name: round(len(window.values(now_s)) / span_s, 2)
                    for name, window in self._rates.items()
                }
            )

    def percentiles_by_model(self, stage: str, now_s: float) -> Mapping[str, Percentiles | None]:
        """Percentiles of one of ``STAGES`` by model name."""
        with self._lock:
            windows = {m: w.values(now_s) for (m, s), w in self._stages.items() if s == stage}
        return {model: percentiles(values) for model, values in windows.items()}

    def percentiles(self, stage: str, now_s: float) -> Percentiles | None:
        """Percentiles of the sum over the models that looked at a frame."""
        with self._lock:
            totals = self._totals[stage].values(now_s)
        return percentiles(totals)

    def ages(self, now_s: float) -> Percentiles | None:
        """Capture to publish, milliseconds."""
        with self._lock:
            values = self._ages.values(now_s)
        return percentiles(values)

    def last_frame_age_s(self, now_s: float) -> float | None:
        """Return the age of the last captured frame, None before the first."""
        last = self._last_capture_s
        return None if last is None else round(now_s - last, 2)
