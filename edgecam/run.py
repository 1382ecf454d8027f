"""Opens what the settings name, runs the pipeline and reports on it until the end."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import msgspec

from edgecam.model import Model
from edgecam.pipeline import Pipeline
from edgecam.report import Reporter, caption
from edgecam.settings import MqttSettings, Settings
from edgecam.sinks import open_sinks
from edgecam.sources import open_source
from edgecam.telemetry import Meter
from edgecam.types import SettingsError, Sink

if TYPE_CHECKING:
    from edgecam.report import Broker
    from edgecam.sinks.window import Window
    from edgecam.wire import Telemetry

TICK_S = 0.1
# Systemd waits longer, but a person who pressed Ctrl-C does not.
CLOSE_S = 5.0
# A recording waits for its broker, or its first results would find none.
BROKER_WAIT_S = 5.0

log = logging.getLogger("edgecam.run")


def load_models(settings: Settings) -> list[Model]:
    """Load every model of the settings.

    Raises:
        SettingsError: none is named, or two have the same name.
        EdgecamError: one does not load.
    """
    if not settings.model:
        raise SettingsError(
            "no model given: use --model MODEL.tflite or a bundled name, such as --model posenet"
        )
    models = [Model(model, settings.inference) for model in settings.model]
    names = [model.name for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(f"model {twice!r} is given twice: results are told apart by file name")
    return models


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set ``stop`` instead of raising in the middle of something."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in kept:
        signal.signal(number, lambda *_: stop.set())
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _describe(models: Sequence[Model], settings: Settings, source: str) -> None:
    for model in models:
        report = model.delegate
        height, width = model.stager.height_px, model.stager.width_px
        log.info(
            "model %s: %s, input %dx%d, on %s with %d threads",
            model.name,
            model.decoder.family,
            height,
            width,
            report.active,
            model.threads,
        )
        if report.fallback is not None:
            log.warning("%s: fell back to %s (%s)", model.name, report.active, report.fallback)
    log.info("source %s; camera name %s", source, settings.name)


def run(
    settings: Settings,
    stop: threading.Event,
    on_telemetry: Callable[[Telemetry], None] | None = None,
    extra_sinks: Sequence[Sink] = (),
    with_broker: bool = True,
) -> Telemetry:
    """Run until the source ends, ``max_frames`` are published, or ``stop`` is set.

    ``on_telemetry`` gets every report, ``extra_sinks`` every result; without ``with_broker``
    nothing is published even if the settings name a broker. Returns the last report.

    Raises:
        EdgecamError: something does not open, or a stage failed.
    """
    if not with_broker:
        settings = msgspec.structs.replace(settings, mqtt=MqttSettings())
    boot_id = uuid.uuid4().hex[:8]
    models = load_models(settings)
    source = open_source(settings.source, stop)
    meter = Meter(settings.telemetry.window_s, time.monotonic())
    try:
        opened = open_sinks(settings, boot_id)
    except BaseException:
        source.close()
        raise
    sinks = [*opened.values(), *extra_sinks]
    broker = cast("Broker | None", opened.get("mqtt"))
    window = cast("Window | None", opened.get("window"))
    options = settings.decode.options()
    pipeline = Pipeline(source, models, sinks, meter, lambda: options, settings.max_frames)
    reporter = Reporter(settings, boot_id, models, source, pipeline, meter, sinks, broker)
    _describe(models, settings, source.description)
    if broker is not None and not source.live:
        _wait_for(broker, stop)
    try:
        pipeline.start()
        _until_the_end(pipeline, reporter, window, stop, on_telemetry)
        if window is not None and meter.frames_published == 1:
            _hold(window, stop)
    finally:
        pipeline.stop()
        pipeline.join(CLOSE_S)
        last = reporter.publish(time.monotonic())
        for sink in sinks:
            sink.close()
    return last


def _hold(window: Window, stop: threading.Event) -> None:
    """Leave a single picture on the screen until a key is pressed or the window closed."""
    while window.tick("", wait_ms=50) and not stop.is_set():
        pass


def _wait_for(broker: Broker, stop: threading.Event) -> None:
    end_s = time.monotonic() + BROKER_WAIT_S
    while not stop.is_set() and time.monotonic() < end_s and not broker.wait_connected(TICK_S):
        pass


def _until_the_end(
    pipeline: Pipeline,
    reporter: Reporter,
    window: Window | None,
    stop: threading.Event,
    on_telemetry: Callable[[Telemetry], None] | None,
) -> None:
    status = StatusLine()
    try:
        while not pipeline.wait(0.0 if window else TICK_S) and not stop.is_set():
            now_s = time.monotonic()
            if reporter.due(now_s):
                report = reporter.publish(now_s)
                if on_telemetry is not None:
                    on_telemetry(report)
            text = caption(reporter, now_s)
            status.show(text, now_s)
            if window is not None and not window.tick(text, wait_ms=20):
                return
    finally:
        status.clear()


class StatusLine:
    """One line that is written over itself, where standard error is a terminal."""

    INTERVAL_S = 0.5

    def __init__(self) -> None:
        # Results printed on the same terminal would be torn apart by it.
        self._on = sys.stderr.isatty() and not (sys.stdout.isatty() and "-" in sys.argv)
        self._next_s = 0.0

    def show(self, text: str, now_s: float) -> None:
        if self._on and now_s >= self._next_s:
            self._next_s = now_s + self.INTERVAL_S
            width = _terminal_width()
            sys.stderr.write(f"\r\x1b[2K{text[: width - 1]}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._on:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def _terminal_width() -> int:
    import shutil

    return shutil.get_terminal_size().columns
