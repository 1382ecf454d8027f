"""What a service owes its supervisor: readiness, a watchdog that means something, signals.

The watchdog is fed only while every stage of the pipeline makes progress. A lost camera or
broker does not stop it, for the stages that wait for them say that they wait; a stage stuck
inside the interpreter says nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from edgecam.core.errors import EdgecamError
from edgecam.daemon.build import load_models
from edgecam.daemon.status_socket import Status, StatusServer, serve
from edgecam.daemon.systemd_notify import Notifier
from edgecam.inference.model import Model
from edgecam.messages import health
from edgecam.messages.schema import Telemetry
from edgecam.pipeline.base import Heartbeats
from edgecam.settings.schema import Settings
from edgecam.sinks import check_sinks

# What ends a stop that does not end by itself: events have been delivered or given up by then.
EXIT_S = 4.6
# If even that cannot run (a native call that keeps the GIL), the kernel ends the process.
KILL_S = 4.9
# A stage is stuck after half of the watchdog's time, and the watchdog bites once after that.
STUCK_SHARE, PING_SHARE = 0.5, 0.25
DEFAULT_WATCHDOG_S = 30.0
# A report that comes this late in intervals does not come at all.
LATE_INTERVALS = 3.0

log = logging.getLogger(__name__)


class Stop(threading.Event):
    """Set by SIGTERM or SIGINT; the process is gone within 5 s of the first.

    While ``starting`` is set nothing is open yet, and a signal ends the process at once.
    """

    starting = False

    def handle(self, number: int, frame: object) -> None:
        del number, frame
        if self.starting:
            # No exception: inside the initialisation of native code it would abort the process.
            os._exit(0)
        if not self.is_set():
            self.set()
            leaver = threading.Timer(EXIT_S, _cut_off)
            leaver.daemon = True
            leaver.start()
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, KILL_S)


def _cut_off() -> NoReturn:
    """Say what does not end, and end the process."""
    place = "the interpreter"
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("edgecam."):
            place = f"{module}, {frame.f_code.co_qualname}"
            break
        frame = frame.f_back
    log.error(
        "the stop was cut off after %g s, in %s; what was not yet sent or written there is lost "
        "(see: edgecam help %s)",
        *(EXIT_S, place, EdgecamError.page),
    )
    os._exit(1)


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """Within, SIGTERM and SIGINT go to ``stop``."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in kept:
        signal.signal(number, stop.handle)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """End the process now, whatever its threads do."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


class Watchdog:
    """Pings the supervisor while the stages live, and says which one does not."""

    def __init__(self, notifier: Notifier, own_s: float | None) -> None:
        """``own_s``: where the supervisor has no watchdog, end the process this long after."""
        self._notifier = notifier
        period_s = notifier.watchdog_s or own_s or DEFAULT_WATCHDOG_S
        self._ends_itself = own_s is not None and notifier.watchdog_s is None
        self._bite_s = period_s * (1.0 - STUCK_SHARE)
        self._stuck_since_s = 0.0
        self._stuck_after_s = period_s * STUCK_SHARE
        self._ping_every_s = period_s * PING_SHARE
        self._next_s = 0.0
        self.stuck: tuple[str, ...] = ()

    def tick(self, heartbeats: Heartbeats, now_s: float) -> None:
        """Call several times a second."""
        stuck = heartbeats.older_than(now_s - self._stuck_after_s)
        if stuck != self.stuck:
            self._tell(stuck)
            self._stuck_since_s = now_s
        self.stuck = stuck
        if stuck and self._ends_itself and now_s - self._stuck_since_s > self._bite_s:
            log.error("giving up, so that whoever started this starts it again")
            leave(1)
        if not stuck and now_s >= self._next_s:
            self._next_s = now_s + self._ping_every_s
            self._notifier.send("WATCHDOG=1")

    def _tell(self, stuck: tuple[str, ...]) -> None:
        if stuck:
            names = " and ".join(stuck)
            log.error("%s: no progress for %.0f s", names, self._stuck_after_s)
        else:
            log.warning("every stage makes progress again")


class Reload(threading.Thread):
    """Reads the configuration and loads its models, while the old ones still run."""

    def __init__(self, load: Callable[[], Settings]) -> None:
        super().__init__(name="reload", daemon=True)
        self._load = load
        self.outcome: tuple[Settings, list[Model]] | BaseException | None = None

    def run(self) -> None:
        try:
            settings = self._load()
            check_sinks(settings)
            self.outcome = settings, load_models(settings)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which judges it
            self.outcome = error


class Service:
    """Talks to the supervisor for ``run``; without arguments there is none to talk to.

    ``load`` reads the configuration again, None if there is no file to read.
    """

    def __init__(
        self,
        stop: Stop | None = None,
        load: Callable[[], Settings] | None = None,
        notifier: Notifier | None = None,
        watchdog_s: float | None = None,
    ) -> None:
        self._notifier = notifier or Notifier({})
        self._serves = notifier is not None
        self._stop, self._load = stop or Stop(), load
        self._stop.starting = True
        self._watchdog = Watchdog(self._notifier, watchdog_s)
        self._asked = False
        self._name, self._late_s = "", 0.0
        self._reload: Reload | None = None
        self._reported: tuple[Telemetry, float] | None = None
        self._server: StatusServer | None = None

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Within, SIGTERM and SIGINT stop, and SIGHUP reads the configuration again."""
        kept = signal.getsignal(signal.SIGHUP)
        # Where there is nothing to read, a terminal that closes ends its programs.
        if self._load is not None and not sys.stderr.isatty():
            signal.signal(signal.SIGHUP, self._hang_up)
        try:
            with stopped_by_signals(self._stop):
                yield
        finally:
            signal.signal(signal.SIGHUP, kept)

    def _hang_up(self, number: int, frame: object) -> None:
        del number, frame
        self._asked = True

    def opening(self) -> None:
        """From here on a signal ends what is open in order."""
        self._stop.starting = False

    def ready(self, settings: Settings) -> None:
        """The pipeline runs with these settings."""
        if self._serves and self._name != settings.name:
            self._unserve()
            self._name = settings.name
            self._server = serve(settings.name, self._status)
        self._late_s = LATE_INTERVALS * settings.telemetry.interval_s
        self._notifier.send("READY=1", "STATUS=running")

    def reloading(self) -> None:
        self._notifier.send("RELOADING=1", "STATUS=taking the new configuration")

    def _status(self) -> Status:
        """On the status thread: a main thread that is stuck reports no more, which shows."""
        faults: tuple[str, ...] = ()
        telemetry = None
        if self._reported is not None:
            telemetry, at_s = self._reported
            faults = health.faults(telemetry, self._watchdog.stuck)
            if (late_s := time.monotonic() - at_s) > self._late_s:
                faults = (f"no report for {late_s:.0f} s", *faults)
        return Status(name=self._name, pid=os.getpid(), faults=faults, telemetry=telemetry)

    def _unserve(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def stopping(self) -> None:
        self._unserve()
        self._notifier.send("STOPPING=1", "STATUS=stopping")

    def report(self, telemetry: Telemetry, caption: str) -> None:
        self._reported = telemetry, time.monotonic()
        faults = health.faults(telemetry, self._watchdog.stuck)
        self._notifier.send(f"STATUS={'; '.join(faults) or 'healthy'}; {caption}")

    def tick(self, heartbeats: Heartbeats, now_s: float) -> bool:
        """Call several times a second; True once other settings can be ``taken``."""
        if self._serves:
            # A recording on a slow machine is nobody's fault.
            self._watchdog.tick(heartbeats, now_s)
        if self._asked and self._reload is None and self._load is not None:
            self._asked = False
            log.info("reading the configuration again")
            self._reload = Reload(self._load)
            self._reload.start()
        if self._reload is None or self._reload.outcome is None:
            return False
        outcome = self._reload.outcome
        if isinstance(outcome, EdgecamError):
            self._reload = None
            log.error("the new configuration is refused, the old one goes on: %s", outcome)
            return False
        if isinstance(outcome, BaseException):
            raise outcome
        return True

    def taken(self) -> tuple[Settings, list[Model]]:
        """The settings that ``tick`` announced and their models."""
        assert self._reload is not None
        assert isinstance(self._reload.outcome, tuple)
        outcome, self._reload = self._reload.outcome, None
        return outcome
