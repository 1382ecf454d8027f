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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgecam.core.errors import EdgecamError
from edgecam.core.heartbeats import AllHeartbeats, Heartbeats
from edgecam.daemon.build import Loaded
from edgecam.daemon.cameras import load_all
from edgecam.daemon.stopping import Stop, stopped_by_signals
from edgecam.daemon.systemd_notify import Notifier
from edgecam.daemon.watchdog import Watchdog
from edgecam.inference.model import Model
from edgecam.messages import health
from edgecam.messages.telemetry import Telemetry
from edgecam.settings.house import House
from edgecam.sinks import check_sinks

if TYPE_CHECKING:
    from edgecam.daemon.status_socket import Status, StatusServer

# A report that comes this late in intervals does not come at all.
LATE_INTERVALS = 3.0

log = logging.getLogger(__name__)

Outcome = tuple[House, list[list[Model]], Loaded]


class Reload(threading.Thread):
    """Reads the configuration and loads its models, while the old ones still run."""

    def __init__(self, load: Callable[[], House], loaded: Loaded) -> None:
        super().__init__(name="reload", daemon=True)
        self._load, self._loaded = load, loaded
        self.outcome: Outcome | BaseException | None = None

    def run(self) -> None:
        """Read and check the settings; keep them or the error for the main thread."""
        try:
            house = self._load()
            for camera in house.cameras:
                check_sinks(camera)
            # One camera begins again; of several those that have not changed keep their models.
            loaded = dict(self._loaded) if house.has_several else {}
            self.outcome = house, load_all(house, loaded), loaded
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which judges it
            self.outcome = error


class Service:
    """Talks to the supervisor for ``run``; without arguments there is none to talk to.

    ``load`` puts the settings together again; ``has_file``: a signal may ask for that, since a
    file may have changed.
    """

    def __init__(
        self,
        stop: Stop | None = None,
        load: Callable[[], House] | None = None,
        notifier: Notifier | None = None,
        watchdog_s: float | None = None,
        has_file: bool = True,
    ) -> None:
        self._notifier = notifier or Notifier({})
        self._serves = notifier is not None
        self._stop, self._load, self._has_file = stop or Stop(), load, has_file
        self._stop.starting = True
        self._watchdog = Watchdog(self._notifier, watchdog_s)
        self._asked = False
        self._name, self._late_s = "", 0.0
        self._reload: Reload | None = None
        # The last report of each camera, and when it came.
        self._reported: dict[str, tuple[Telemetry, float]] = {}
        self._captions: dict[str, str] = {}
        self._has_several = False
        # Models by what they were loaded from.
        self.loaded: Loaded = {}
        self._refused = ""
        self._server: StatusServer | None = None

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Within, SIGTERM and SIGINT stop, and SIGHUP reads the configuration again."""
        kept = signal.getsignal(signal.SIGHUP)
        # Where there is nothing to read, a terminal that closes ends its programs.
        if self._load is not None and self._has_file and not sys.stderr.isatty():
            signal.signal(signal.SIGHUP, self._hang_up)
        try:
            with stopped_by_signals(self._stop):
                yield
        finally:
            signal.signal(signal.SIGHUP, kept)

    def _hang_up(self, number: int, frame: object) -> None:
        del number, frame
        self.read_again()

    def read_again(self) -> None:
        """Take the settings as they are now, as a signal has it done."""
        self._asked = True

    def opening(self) -> None:
        """From here on a signal ends what is open in order."""
        self._stop.starting = False

    def ready(self, house: House) -> None:
        """The pipelines run with these settings."""
        settings, self._has_several = house.shared, house.has_several
        names = {camera.name for camera in house.cameras}
        self._reported = {n: found for n, found in self._reported.items() if n in names}
        self._captions = {n: text for n, text in self._captions.items() if n in names}
        if self._serves and self._name != settings.name:
            self._unserve()
            self._name = settings.name
            from edgecam.daemon.status_socket import serve

            self._server = serve(settings.name, self._status)
        self._late_s = LATE_INTERVALS * settings.telemetry.interval_s
        self._notifier.send("READY=1", "STATUS=running")

    def reloading(self) -> None:
        """Report to systemd that new settings are being taken."""
        self._notifier.send("RELOADING=1", "STATUS=taking the new configuration")

    def _status(self) -> Status:
        """On the status thread: a main thread that is stuck reports no more, which shows."""
        from edgecam.daemon.status_socket import CameraStatus, Status

        cameras = []
        for name, (telemetry, at_s) in self._reported.copy().items():
            faults = self._faults(telemetry)
            if (late_s := time.monotonic() - at_s) > self._late_s:
                faults = (f"no report for {late_s:.0f} s", *faults)
            cameras.append(CameraStatus(name=name, faults=faults, telemetry=telemetry))
        name, pid = self._name, os.getpid()
        if self._has_several:
            own = self._own_faults()
            found = tuple(f"{each.name}: {fault}" for each in cameras for fault in each.faults)
            return Status(name=name, pid=pid, faults=(*own, *found), cameras=tuple(cameras))
        (one,) = cameras or (CameraStatus(name=name, faults=(), telemetry=None),)
        return Status(name=name, pid=pid, faults=one.faults, telemetry=one.telemetry)

    def _unserve(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def stopping(self) -> None:
        """Close the status socket and report to systemd that the run stops."""
        self._unserve()
        self._notifier.send("STOPPING=1", "STATUS=stopping")

    def refuse(self, error: EdgecamError, what: str) -> None:
        """Say what is wrong with the configuration on the disk, as long as it is: the next start
        would fail by it."""
        self._refused = f"the configuration on the disk {what}: {error}"
        log.error("the new configuration %s, the old one goes on: %s", what, error)

    def _faults(self, telemetry: Telemetry) -> tuple[str, ...]:
        """Of one camera; what is wrong with the whole process is said once where it has several."""
        if self._has_several:
            return health.faults(telemetry)
        found = health.faults(telemetry, self._watchdog.stuck)
        return (*found, self._refused) if self._refused else found

    def _own_faults(self) -> tuple[str, ...]:
        stuck = tuple(f"{stage} makes no progress" for stage in self._watchdog.stuck)
        return (*stuck, self._refused) if self._refused else stuck

    def report(self, telemetry: Telemetry, caption: str) -> None:
        """Report health to systemd and to the status socket."""
        self._reported[telemetry.name] = telemetry, time.monotonic()
        self._captions[telemetry.name] = caption
        faults = self._faults(telemetry)
        if self._has_several:
            reports = [(name, self._faults(each)) for name, (each, _) in self._reported.items()]
            of_cameras = [f"{name}: {fault}" for name, found in reports for fault in found]
            faults = (*self._own_faults(), *of_cameras)
            caption = "  ".join(f"{name} {text}" for name, text in self._captions.items())
        self._notifier.send(f"STATUS={'; '.join(faults) or 'healthy'}; {caption}")

    @property
    def reports(self) -> Mapping[str, Telemetry]:
        """The last report of each camera."""
        return {name: telemetry for name, (telemetry, _) in self._reported.items()}

    def tick(self, heartbeats: Heartbeats | AllHeartbeats, now_s: float) -> bool:
        """Call several times a second; True once other settings can be ``taken``."""
        if self._serves:
            # A recording on a slow machine is no fault.
            self._watchdog.tick(heartbeats, now_s)
        if self._asked and self._reload is None and self._load is not None:
            self._asked = False
            log.info("reading the configuration again")
            self._reload = Reload(self._load, self.loaded)
            self._reload.start()
        if self._reload is None or self._reload.outcome is None:
            return False
        outcome = self._reload.outcome
        if isinstance(outcome, EdgecamError):
            self._reload = None
            self.refuse(outcome, "is refused")
            return False
        if isinstance(outcome, BaseException):
            raise outcome
        return True

    def taken(self) -> tuple[House, list[list[Model]]]:
        """The settings that ``tick`` announced and the models of each camera."""
        assert self._reload is not None
        assert isinstance(self._reload.outcome, tuple)
        (house, models, self.loaded), self._reload, self._refused = self._reload.outcome, None, ""
        return house, models
