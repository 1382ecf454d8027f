"""Everything that is open for one set of settings, from the source to the sinks."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from edgecam.analysis.analyzer import Analysis
from edgecam.analysis.events.body import CEILING_DEGREES
from edgecam.core import board
from edgecam.core.errors import EdgecamError
from edgecam.core.protocols import Sink
from edgecam.daemon.build import RunPlan
from edgecam.daemon.live_settings import LiveSettings
from edgecam.daemon.telemetry_report import Reporter
from edgecam.daemon.thermal_governor import Governor
from edgecam.inference.model import Model
from edgecam.pipeline.meter import Meter
from edgecam.settings.schema import Settings
from edgecam.sinks import Opener, OpenSink, kinds_of, open_sinks
from edgecam.sources import open_source

if TYPE_CHECKING:
    from edgecam.daemon.remote_control import CommandBroker, RemoteControl
    from edgecam.messages.telemetry import Telemetry
    from edgecam.mqtt.broker import Broker
    from edgecam.pipeline.turns import Turn, Turns
    from edgecam.sinks.recorder.recorder import Recorder
    from edgecam.sinks.render.snapshot import Snapshots
    from edgecam.sinks.web.sink import Page
    from edgecam.sinks.window import Window

# A stage that is stuck in native code is left behind.
CLOSE_S = 1.0

log = logging.getLogger(__name__)

# Fewer looks a second make falls less sure.
FALL_RATE_HZ = 3.0


def seldom_looks_hz(models: Sequence[Model], settings: Settings) -> float | None:
    """Looks a second of the pose model that looks most often, if they are too few for falls."""
    if not (settings.events.fall and settings.tracking.enabled):
        return None
    rates = [model.rate_hz for model in models if model.finds_people]
    limited = [rate_hz for rate_hz in rates if rate_hz is not None]
    if not limited or len(limited) < len(rates) or max(limited) >= FALL_RATE_HZ:
        return None
    return max(limited)


def looks_straight_down(models: Sequence[Model], settings: Settings) -> bool:
    """Whether falls and postures are asked for of a camera that cannot tell them."""
    pitch_degrees = settings.scene.pitch_degrees
    asked = settings.tracking.enabled and (settings.events.fall or settings.events.posture)
    finds_people = any(model.finds_people for model in models)
    is_steep = pitch_degrees is not None and pitch_degrees >= CEILING_DEGREES
    return asked and finds_people and is_steep


@dataclass(frozen=True, slots=True)
class Shared:
    """What the cameras of the process ``process`` have in common.

    ``turns`` are those at the models, ``sinks`` open a camera's part of what all publish to.
    """

    process: str
    turns: Turns
    sinks: Mapping[str, Opener]


class Session:
    """One run of the pipeline; a reload closes it and opens the next.

    ``stop`` ends the opening of a camera that does not answer, ``extra_sinks`` are the caller's,
    ``kept`` those of the session before that go on. ``shared``: what cameras of one process have
    in common, None where this one has it to itself.

    Raises:
        EdgecamError: the source or a sink does not open; what did is closed again.
    """

    def __init__(
        self,
        settings: Settings,
        models: Sequence[Model],
        stop: threading.Event,
        extra_sinks: Sequence[Sink] = (),
        kept: Mapping[str, OpenSink] | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.settings, self.models = settings, models
        self._stop, self._extra_sinks, self._shared = stop, extra_sinks, shared
        plan = RunPlan(settings, models)
        boot_id = uuid.uuid4().hex[:8]
        self.source = open_source(settings.source, stop, settings.mqtt, settings)
        self.meter = Meter(settings.telemetry.window_s, time.monotonic())
        try:
            self.opened = open_sinks(settings, boot_id, kept, shared.sinks if shared else None)
        except BaseException:
            self.source.close()
            raise
        self.sinks: list[Sink] = [*self.opened.values(), *extra_sinks]
        self.snapshots: Snapshots | None = None
        self.broker = cast("Broker | None", self.opened.get("mqtt"))
        self.window = cast("Window | None", self.opened.get("window"))
        self.page = cast("Page | None", self.opened.get("web"))
        if self.broker is not None:
            from edgecam.homeassistant.announce import announce

            announce(self.broker, settings, models, shared.process if shared else None)
            self._open_snapshots(self.broker)
        self.governor = Governor(settings.thermal)
        self._thermal_zones = Path(settings.thermal.directory)
        control = self._remote_control()
        self.remote = control or LiveSettings(settings)
        self.recorder = self._open_recorder(boot_id, plan.analysis)
        self.pipeline = plan.pipeline(
            self.source,
            self.sinks,
            self.meter,
            self.remote.options,
            lambda: self.governor.interval_s,
            lambda: self.remote.paused,
            None if shared is None else self._turn(shared, plan.analysis),
        )
        self.reporter = self._reporter(boot_id)
        if self.page is not None and control is not None:
            self._attach(self.page, control)
        self._describe()

    def _reporter(self, boot_id: str) -> Reporter:
        return Reporter(
            self.settings,
            boot_id,
            self.models,
            self.source,
            self.pipeline,
            self.meter,
            self.sinks,
            self.broker,
            self.governor,
            self.remote,
            None if self.recorder is None else self.recorder.report,
            None if self._shared is None else self._shared.process,
        )

    def _attach(self, page: Page, control: RemoteControl) -> None:
        """Give the page what the settings allow it to do."""
        saved, look, allowed = None, None, self.settings.web.controls
        if "zones" in allowed:
            from edgecam.settings.saved_places import SavedPlaces

            process = self._shared.process if self._shared else self.settings.name
            saved = SavedPlaces(process, self.settings.name, os.environ)
            if saved.are_there:
                log.info("zones, masks and lines are those saved on the page: %s", saved.path)
        if "detect" in allowed:
            from edgecam.pipeline.single_look import SingleLook

            look = SingleLook(self.settings, self.models, self.remote.options)
        page.attach(control.change, self.settings, saved, look)

    def has_saved_places(self) -> bool:
        """Whether zones were saved on the page since this was last asked."""
        return self.page is not None and self.page.has_saved_places()

    def _remote_control(self) -> RemoteControl | None:
        """What changes settings from outside, None where there is neither a broker nor a page."""
        if self.broker is None and self.page is None:
            return None
        from edgecam.daemon.remote_control import RemoteControl

        return RemoteControl(
            self.settings,
            cast("CommandBroker | None", self.opened.get("mqtt")),
            None if self.snapshots is None else self.snapshots.ask,
        )

    def _open_snapshots(self, broker: Broker) -> None:
        settings = self.settings.snapshot
        if settings.mode == "off" or not settings.retain:
            broker.forget_snapshots()
        if settings.mode != "off":
            from edgecam.sinks.render.snapshot import Snapshots

            self.snapshots = Snapshots(
                settings, lambda jpeg: broker.publish_snapshot(jpeg, settings.retain)
            )
            self.sinks.append(self.snapshots)

    def _turn(self, shared: Shared, analysis: Analysis) -> Turn:
        """The camera's turns at the models, boosted by what it sees where that is asked for."""
        turn = shared.turns.of_camera(self.settings.priority)
        if self.settings.boost_when:
            from edgecam.pipeline.boost import Boost

            self.sinks.append(Boost(turn, self.settings.boost_when, lambda: analysis.has_fall))
        return turn

    def _open_recorder(self, boot_id: str, analysis: Analysis) -> Recorder | None:
        if not self.settings.recorder.enabled:
            return None
        if not self.settings.tracking.enabled:
            log.warning("recorder.enabled: without tracking there are no events to record")
        from edgecam.sinks.recorder.recorder import Recorder

        recorder = Recorder(self.settings, boot_id, analysis, self.source.live)
        self.sinks.append(recorder)
        return recorder

    def _describe(self) -> None:
        for model in self.models:
            report = model.delegate
            log.info(
                "model %s: %s, input %dx%d, on %s with %d threads",
                model.name,
                model.decoder.family,
                model.resizer.height_px,
                model.resizer.width_px,
                report.active,
                model.threads,
            )
            if report.fallback is not None:
                log.warning("%s: fell back to %s (%s)", model.name, report.active, report.fallback)
        log.info("source %s; camera name %s", self.source.description, self.settings.name)
        rate_hz = seldom_looks_hz(self.models, self.settings)
        if rate_hz is not None:
            log.warning(
                "falls are less sure: expected %g looks a second or more of a model that finds "
                "poses, found rate_hz = %g; raise it, or set events.fall = false",
                FALL_RATE_HZ,
                rate_hz,
            )
        if looks_straight_down(self.models, self.settings):
            log.warning(
                "from the ceiling nothing tells who stands, sits, lies or falls: expected "
                "scene.pitch_degrees below %g, found %g; counts, zones and lines work; hang the "
                "camera lower, or set events.fall and events.posture to false",
                CEILING_DEGREES,
                self.settings.scene.pitch_degrees,
            )

    def tick(self, now_s: float) -> None:
        """Call several times a second: temperature, the flight recorder, the live page."""
        if self.broker is not None:
            self.broker.check()
        if self.governor.due(now_s):
            temperature_c = board.temperature_c(self._thermal_zones)
            rate_hz = self.meter.rates(now_s).inferred or 0.0
            self.governor.update(now_s, temperature_c, board.throttled(), rate_hz)
        if self.recorder is not None:
            self.recorder.tick(now_s)
        if self.page is not None and self.page.due(now_s):
            threshold = self.remote.options().score_threshold
            self.page.report(self.reporter.report(now_s), threshold)

    def halt(self) -> Telemetry:
        """Stop the pipeline and close the source; returns the last report."""
        self.remote.close()
        self.pipeline.stop()
        self.pipeline.join(CLOSE_S)
        for own in (self.snapshots, self.recorder):
            if own is not None:
                own.close()
        return self.reporter.publish(time.monotonic())

    def close(self) -> Telemetry:
        """Halt and close every sink; returns the last report."""
        last = self.halt()
        for sink in self.sinks:
            sink.close()
        return last

    def reopened(
        self,
        settings: Settings,
        models: Sequence[Model],
        refuse: Callable[[EdgecamError, str], None],
    ) -> Session:
        """Halt and go on with other settings; with the old ones where the others do not open.

        ``refuse`` gets the reason and what the new configuration does not do.

        Raises:
            EdgecamError: neither open; nothing is left open.
        """
        self.halt()
        try:
            return self._successor(settings, models)
        except EdgecamError as error:
            refuse(error, "does not start")
        try:
            return self._successor(self.settings, self.models)
        except EdgecamError:
            self.close()
            raise

    def _successor(self, settings: Settings, models: Sequence[Model]) -> Session:
        known = kinds_of(settings)
        for name, sink in list(self.opened.items()):
            kind = known.get(name)
            if kind is None or kind.settings(settings) != kind.settings(self.settings):
                # Before the new one opens: two would fight for one availability topic.
                sink.close()
                del self.opened[name]
        # A camera that is away is degraded, and no reason to end a service.
        source = msgspec.structs.replace(settings.source, wait=True)
        settings = msgspec.structs.replace(settings, source=source)
        return Session(
            settings, models, self._stop, self._extra_sinks, self.opened, shared=self._shared
        )
