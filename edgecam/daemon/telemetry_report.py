"""Gathers what every part says about itself into one telemetry report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from edgecam.core import board
from edgecam.core.protocols import CaptureFormat, Sink, Source
from edgecam.daemon.live_settings import LiveSettings
from edgecam.daemon.thermal_governor import Governor
from edgecam.inference import runtime
from edgecam.inference.model import Model
from edgecam.messages.telemetry import (
    CaptureReport,
    ModelReport,
    RecorderReport,
    SourceReport,
    Telemetry,
)
from edgecam.pipeline.base import Pipeline
from edgecam.pipeline.meter import Meter
from edgecam.settings.schema import Settings

if TYPE_CHECKING:
    from edgecam.mqtt.broker import Broker


class Reporter:
    """Makes a report every ``telemetry.interval_s``, at once when something changes."""

    def __init__(
        self,
        settings: Settings,
        boot_id: str,
        models: Sequence[Model],
        source: Source,
        pipeline: Pipeline,
        meter: Meter,
        sinks: Sequence[Sink],
        broker: Broker | None,
        governor: Governor,
        remote: LiveSettings,
        recorder: Callable[[], RecorderReport] | None = None,
        process: str | None = None,
    ) -> None:
        """``process``: the name of the one that this camera shares with others."""
        self._settings, self._boot_id = settings, boot_id
        self._models, self._source = models, source
        self.pipeline, self.meter = pipeline, meter
        self._sinks, self._broker, self._governor = sinks, broker, governor
        self._remote, self._recorder = remote, recorder
        self._process = UNSET if process is None else process
        self._thermal_zones = Path(settings.thermal.directory)
        self._started_s = time.monotonic()
        self._next_s = 0.0
        self._last: tuple[str | int | None, ...] | None = None
        self._sequence = 0

    def due(self, now_s: float) -> bool:
        """Whether a report is due: its time has come, or a state has changed."""
        status = self._source.status()
        broker = self._broker.status().state if self._broker is not None else None
        failed = tuple(self.pipeline.schedule.faults)
        seen = (
            *(status.state, status.reason, broker, self._governor.step, self._remote.paused),
            *failed,
        )
        changed, self._last = seen != self._last, seen
        if not changed and now_s < self._next_s:
            return False
        self._next_s = now_s + self._settings.telemetry.interval_s
        return True

    def publish(self, now_s: float) -> Telemetry:
        """Make a report and send it to the broker, where there is one."""
        self._sequence += 1
        report = self.report(now_s)
        if self._broker is not None:
            # A frozen picture is a problem, but one that is delivered.
            self._broker.publish_source(report.source.state in ("online", "frozen"))
            self._broker.publish_telemetry(report)
        return report

    def report(self, now_s: float) -> Telemetry:
        """How everything is now; its sequence is that of the last report sent."""
        state = board.read(self._thermal_zones)
        found = runtime.find()
        status = self._source.status()
        meter = self.meter
        return Telemetry(
            name=self._settings.name,
            boot_id=self._boot_id,
            sequence=self._sequence,
            time_unix_s=round(time.time(), 3),
            clock_synced=state.clock_synced,
            uptime_s=round(now_s - self._started_s, 1),
            fps=meter.rates(now_s),
            preprocess_ms=meter.percentiles("preprocess_ms", now_s),
            invoke_ms=meter.percentiles("invoke_ms", now_s),
            decode_ms=meter.percentiles("decode_ms", now_s),
            capture_to_publish_ms=meter.ages(now_s),
            dropped=self.pipeline.dropped,
            reconnects=status.reconnects,
            source=SourceReport(
                state=status.state,
                reason=status.reason,
                last_frame_age_s=meter.last_frame_age_s(now_s),
                reconnects=status.reconnects,
                faults=status.faults,
                asked=_capture(status.asked),
                got=_capture(status.got),
            ),
            runtime=f"{found.name} {found.version}",
            delegate="+".join(dict.fromkeys(model.delegate.active for model in self._models)),
            threads=self._models[0].threads,
            temperature_c=state.temperature_c,
            throttled=state.throttled,
            paused=self._remote.paused,
            thermal=self._governor.report(),
            rss_bytes=state.rss_bytes,
            mqtt=None if self._broker is None else self._broker.status(),
            recorder=None if self._recorder is None else self._recorder(),
            models=self._model_reports(now_s),
            process=self._process,
            counters=self._counters(),
        )

    def _model_reports(self, now_s: float) -> tuple[ModelReport, ...]:
        stages = {
            stage: self.meter.percentiles_by_model(stage, now_s)
            for stage in ("preprocess_ms", "invoke_ms", "decode_ms")
        }
        schedule = self.pipeline.schedule
        faults, failures = schedule.faults, schedule.failures
        return tuple(
            ModelReport(
                name=model.name,
                family=model.decoder.family,
                finds=model.decoder.finds,
                delegate=model.delegate.active,
                state="failed" if model.name in faults else "running",
                reason=faults.get(model.name),
                failures=failures[model.name],
                rate_hz=model.rate_hz,
                **{stage: by_model.get(model.name) for stage, by_model in stages.items()},
            )
            for model in self._models
        )

    def _counters(self) -> dict[str, int]:
        counters = {
            "dropped_frames": self.pipeline.dropped,
            "model_failures": sum(self.pipeline.schedule.failures.values()),
            "delegate_fallbacks": sum(m.delegate.fallback is not None for m in self._models),
        }
        counters.update(self.pipeline.counters())
        counters.update(self._governor.counters())
        counters.update(self._remote.counters())
        for sink in self._sinks:
            counters.update(sink.counters())
        return counters


def _capture(found: CaptureFormat | None) -> CaptureReport | UnsetType:
    if found is None:
        return UNSET
    return CaptureReport(
        form=found.form,
        width_px=found.width_px,
        height_px=found.height_px,
        rate_hz=None if found.rate_hz is None else round(found.rate_hz, 2),
    )


def caption(reporter: Reporter, now_s: float) -> str:
    """One line for a person: rates, invoke time and drops."""
    rates = reporter.meter.rates(now_s)
    invoke = reporter.meter.percentiles("invoke_ms", now_s)
    ages = reporter.meter.ages(now_s)
    parts = [f"{rates.published or 0.0:.1f} fps"]
    if invoke is not None:
        parts.append(f"invoke {invoke.p50:.1f} ms")
    if ages is not None:
        parts.append(f"latency {ages.p50:.0f} ms")
    parts.append(f"dropped {reporter.pipeline.dropped}")
    return "  ".join(parts)
