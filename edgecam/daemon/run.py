"""Opens what the settings name, runs the pipeline and reports on it until the end."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from edgecam.core.printable import printable
from edgecam.core.protocols import Sink
from edgecam.daemon.cameras import Cameras, load_all
from edgecam.daemon.service import Service
from edgecam.daemon.session import Session
from edgecam.daemon.tally import STATUS_INTERVAL_S, Tally, has_output
from edgecam.daemon.telemetry_report import caption
from edgecam.settings.house import House, of_one
from edgecam.settings.schema import MqttSettings, Settings
from edgecam.sinks import check_sinks
from edgecam.sources import is_file

if TYPE_CHECKING:
    from edgecam.messages.telemetry import Telemetry
    from edgecam.mqtt.broker import Broker
    from edgecam.sinks.window import Window

TICK_S = 0.1

log = logging.getLogger(__name__)


def run(
    settings: Settings | House,
    stop: threading.Event,
    on_telemetry: Callable[[Telemetry], None] | None = None,
    extra_sinks: Sequence[Sink] = (),
    with_broker: bool = True,
    service: Service | None = None,
    tally: Tally | None = None,
) -> Telemetry:
    """Run until every source ends, ``max_frames`` are published, or ``stop`` is set.

    ``settings`` are those of one camera, or of a house with several. ``on_telemetry`` gets every
    report, ``extra_sinks`` every result; without ``with_broker``
    nothing is published even if the settings name a broker. ``service`` learns how it goes, and
    asked for new settings. ``tally``, a sink among ``extra_sinks``, goes to the log at the end
    and now and then where there is no other output. Returns the last report, of the first camera.

    Raises:
        EdgecamError: something does not open, a stage failed, or a recording ended whose broker
            was never reached.
    """
    house = of_one(settings) if isinstance(settings, Settings) else settings
    if not with_broker:
        house = _without_broker(house)
    service = service or Service()
    for camera in house.cameras:
        check_sinks(camera)
    models = load_all(house, service.loaded)
    service.opening()
    cameras = Cameras(house, models, stop, extra_sinks)
    try:
        for session in cameras.sessions.values():
            if session.broker is not None and is_file(session.settings.source):
                _wait_for(session.broker, stop)
        cameras.start()
        service.ready(cameras.house)
        while _until_the_end(cameras, stop, service, on_telemetry, tally):
            service.reloading()
            cameras.reopen(*service.taken(), service.refuse)
            service.ready(cameras.house)
        window, meter = cameras.first.window, cameras.first.meter
        if window is not None and meter.frames_published == 1:
            _hold(window, stop)
    finally:
        service.stopping()
        sessions = dict(cameras.sessions)
        last = cameras.close()
    if tally is not None:
        log.info(tally.summary())
    for name, session in sessions.items():
        source = last[name].source
        if source.state == "ended" and source.reason is not None:
            log.warning("%s: %s", session.source.description, source.reason)
        if session.broker is not None and not session.source.live and not stop.is_set():
            session.broker.check_reached()
    return next(iter(last.values()))


def _without_broker(house: House) -> House:
    def without(settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, mqtt=MqttSettings())

    return House(without(house.shared), tuple(map(without, house.cameras)))


def _hold(window: Window, stop: threading.Event) -> None:
    """Leave a single picture on the screen until a key is pressed or the window closed."""
    while window.tick("", wait_ms=50) and not stop.is_set():
        pass


def _wait_for(broker: Broker, stop: threading.Event) -> None:
    from edgecam.mqtt.broker import BROKER_WAIT_S

    end_s = time.monotonic() + BROKER_WAIT_S
    while not stop.is_set() and time.monotonic() < end_s and not broker.wait_connected(TICK_S):
        broker.check()


def _until_the_end(
    cameras: Cameras,
    stop: threading.Event,
    service: Service,
    on_telemetry: Callable[[Telemetry], None] | None,
    tally: Tally | None = None,
) -> bool:
    """Report until the cameras are over; True if other settings are ready to take their place."""
    has_no_output = not any(has_output(camera) for camera in cameras.house.cameras)
    status = StatusLine(tally is not None and has_no_output)
    # A house with a window has one camera.
    window = cameras.first.window
    try:
        while not cameras.wait(0.0 if window else TICK_S) and not stop.is_set():
            now_s = time.monotonic()
            shows = window is not None or status.due(now_s)
            texts = []
            for session in cameras.sessions.values():
                session.tick(now_s)
                own = None if cameras.has_several else tally
                text = _report(session, service, on_telemetry, now_s, shows, own)
                texts.append(f"{session.settings.name} {text}" if cameras.has_several else text)
            if cameras.has_saved_places():
                service.read_again()
            cameras.report(now_s, service.reports)
            text = "  ".join(texts)
            if tally is not None and cameras.has_several:
                text = f"{text}  {tally.now()}"
            status.show(text, now_s)
            if service.tick(cameras.heartbeats, now_s):
                cameras.check()
                return True
            if window is not None and not window.tick(text, wait_ms=20):
                break
        # People who stop it while it breaks off learn why it did.
        cameras.check()
        return False
    finally:
        status.clear()


def _report(
    session: Session,
    service: Service,
    on_telemetry: Callable[[Telemetry], None] | None,
    now_s: float,
    shows: bool,
    tally: Tally | None,
) -> str:
    """Publish a report if one is due; returns its caption, made also if it ``shows``."""
    reporter = session.reporter
    due = reporter.due(now_s)
    text = caption(reporter, now_s) if due or shows else ""
    if tally is not None and text:
        text = f"{text}  {tally.now()}"
    if due:
        report = reporter.publish(now_s)
        service.report(report, text)
        if on_telemetry is not None:
            on_telemetry(report)
    return text


class StatusLine:
    """One line that is written over itself, where standard error is a terminal.

    Elsewhere, with ``in_log``, a line of the log every ``tally.STATUS_INTERVAL_S``.
    """

    INTERVAL_S = 0.5

    def __init__(self, in_log: bool = False) -> None:
        # Results printed on the same terminal would be torn apart by it.
        self._on = sys.stderr.isatty() and not (sys.stdout.isatty() and "-" in sys.argv)
        self._in_log = in_log and not self._on
        self._next_s = time.monotonic() + STATUS_INTERVAL_S if self._in_log else 0.0

    def due(self, now_s: float) -> bool:
        """Whether it is time to draw the line again."""
        return (self._on or self._in_log) and now_s >= self._next_s

    def show(self, text: str, now_s: float) -> None:
        """Draw or log the line if it is due."""
        if not self.due(now_s):
            return
        if self._in_log:
            self._next_s = now_s + STATUS_INTERVAL_S
            log.info(text)
        else:
            self._next_s = now_s + self.INTERVAL_S
            width = _terminal_width()
            sys.stderr.write(f"\r\x1b[2K{printable(text, width - 1)}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Wipe the line off the terminal."""
        if self._on:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def _terminal_width() -> int:
    import shutil

    return shutil.get_terminal_size().columns
