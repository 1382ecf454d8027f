"""What every live source shares: it is probed, opened, watched, and opened again without end.

One reader thread per source opens, reads and reopens. Whatever goes wrong in it is an outage with
a reason. Every call that it makes ends in time by itself; where one does not, or the thread has
died, the source is *stuck*: it no longer says that it waits, so that the watchdog is not fed.

Coming back: before each attempt the endpoint is *probed* (a device node, a TCP connection, a
greeting), and between attempts it is *looked at* once a second, so that one that begins to answer
is opened at once. One that answers all the time and still gives no picture is tried again
``backoff_min_s`` after the last attempt began during the first minute, then at doubling distances
up to ``backoff_max_s``.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from edgecam.core.errors import SourceError
from edgecam.core.fault_log import FaultLog
from edgecam.core.frame import Frame
from edgecam.core.protocols import SourceStatus, be_idle
from edgecam.core.redaction import redact
from edgecam.settings.schema import SourceSettings
from edgecam.sources.backoff import Outage
from edgecam.sources.kinds import remedy

LOOK_EVERY_S = 1.0
SHORTEST_WAIT_S = 0.1
CLOSE_WAIT_S = 0.5
# How much longer than its time-outs a call may take: looking up a host name has its own, which
# cannot be cut short (5 s a try and name server, each asked twice), and OpenCV's V4L2 takes 10 s.
STUCK_AFTER_S = 60.0
MAX_ERROR_CHARACTERS = 200


class StreamError(Exception):
    """Why there is no picture: ``kind`` is counted, ``reason`` is for a person."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def _where(error: Exception) -> str:
    """An unforeseen error, with its line of code; its text may quote a secret."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"internal error: {redact(repr(error))[:MAX_ERROR_CHARACTERS]} in {place}"


class Place(Protocol):
    """Where something can be opened, again and again."""

    description: str

    def probe(self) -> None:
        """Raise StreamError where nothing answers; takes a second at most."""
        ...

    def recheck(self) -> None:
        """The same between attempts, as closely as is cheap; takes two seconds at most."""
        ...


class SupervisedSource(ABC):
    """Knows whether it is online, and why not; what is read is up to ``_read`` and ``frames``."""

    live = True

    def __init__(
        self, place: Place, settings: SourceSettings, stop: threading.Event | None = None
    ) -> None:
        self.description = place.description
        self._place = place
        self._settings = settings
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._state = "offline"
        self._reason: str | None = "not open yet"
        self._kind = ""
        self._opened = False
        self._delivered = 0
        self._reconnects = 0
        self._counts: Counter[str] = Counter()
        self._heard_s = time.monotonic()
        # A camera asked for a picture every ten seconds is not silent after four.
        self._silence_s = max(settings.read_timeout_s, 2.0 / (settings.rate_hz or 1000.0))
        slowest_s = max(settings.open_timeout_s, settings.read_timeout_s)
        self._stuck_after_s = slowest_s + 2.0 / (settings.rate_hz or 1.0) + STUCK_AFTER_S
        self._call_began_s = time.monotonic()
        self._outage = Outage(settings)
        self._log = FaultLog(logging.getLogger(__name__))
        self._reader = threading.Thread(target=self._read_on, name="source", daemon=True)
        self._reader.start()
        if not settings.wait:
            self._require_open(stop or threading.Event())

    @abstractmethod
    def _read(self) -> None:
        """Open, call ``_is_open``, read until closed; raises StreamError."""

    @abstractmethod
    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield frames until the source is closed."""
        ...

    @abstractmethod
    def _forget(self) -> None:
        """The stream is lost, with what it still had to give; ``_changed`` is held."""

    def _require_open(self, stop: threading.Event) -> None:
        """Wait for the stream to open; raise SourceError with the reason where it does not."""
        limit_s = self._settings.open_timeout_s + LOOK_EVERY_S
        deadline_s = time.monotonic() + limit_s
        with self._changed:
            while not self._opened and not self._kind and time.monotonic() < deadline_s:
                if stop.is_set():
                    return
                self._changed.wait(0.1)
            opened = self._opened
            kind = self._kind
            reason = self._reason if kind and self._reason else f"not open after {limit_s:g} s"
        if not opened:
            self.close()
            known = remedy(self._settings.url, kind or "silent")
            # Some reasons end with what helps against them alone.
            helps = f"; {known}" if known is not None and "; " not in reason else ""
            raise SourceError(f"{self.description}: {reason}{helps}", kind or "silent")

    # The reader thread

    def _read_on(self) -> None:
        while not self._closed.is_set():
            began_s = time.monotonic()
            self._works(self._probe_and_read)
            self._wait_before_retry(began_s)

    def _probe_and_read(self) -> None:
        self._place.probe()
        self._begin_call()
        self._read()

    def _works(self, step: Callable[[], None]) -> bool:
        """Run a step; where it fails, in whatever way, the stream is lost and opened again."""
        self._begin_call()
        try:
            step()
        except StreamError as error:
            self._go_offline(error.kind, error.reason)
        except Exception as error:  # noqa: BLE001 - a camera must not end its reader
            self._go_offline("internal", _where(error))
        else:
            return True
        return False

    def _begin_call(self) -> None:
        """On the reader thread, before each call that may take as long as its time-out."""
        self._call_began_s = time.monotonic()

    def _is_open(self) -> None:
        with self._changed:
            self._opened = True
            self._heard_s = time.monotonic()
            self._changed.notify_all()

    def _wait_before_retry(self, began_s: float) -> None:
        """Wait as the module says; return early when the endpoint begins to answer.

        Attempts and looks keep their distance from beginning to beginning: one that waited for
        its time-out has waited already.
        """
        until_s = began_s + self._outage.next_wait_s()
        looked_s, answered = began_s, True
        while True:
            now_s = time.monotonic()
            next_s = min(looked_s + LOOK_EVERY_S, until_s)
            self._begin_call()
            if self._closed.wait(max(SHORTEST_WAIT_S, next_s - now_s)):
                return
            looked_s = time.monotonic()
            if looked_s >= until_s:
                return
            if not self._works(self._place.recheck):
                answered = False
            elif not answered:
                return

    def _count(self, kind: str) -> None:
        with self._changed:
            self._counts[kind] += 1

    def _heard(self, at_s: float) -> None:
        """A picture has come; ``_changed`` is held."""
        self._delivered += 1
        self._heard_s = at_s
        if self._state == "offline":
            self._come_online()
        self._changed.notify_all()

    def _come_online(self) -> None:
        if self._kind:
            self._reconnects += int(self._delivered > 1)
            lasted_s = self._outage.ended()
            self._log.recovered("offline", f"{self.description}: back after {lasted_s:.1f} s")
        self._state, self._reason, self._kind = "online", None, ""

    def _set_frozen(self, frozen: bool) -> None:
        """``_changed`` is held."""
        if frozen and self._state == "online":
            self._counts["frozen"] += 1
            self._reason = f"the same picture for {self._settings.frozen_after_s:g} s"
            self._log.fault("frozen", f"{self.description}: {self._reason}")
        if frozen != (self._state == "frozen"):
            self._state = "frozen" if frozen else "online"
            if not frozen:
                self._reason = None
                self._log.recovered("frozen", f"{self.description}: the picture moves again")

    def _go_offline(self, kind: str, reason: str) -> None:
        """An outage counts once, as the kind it began with; its reason follows what is found."""
        if self._closed.is_set():
            return
        with self._changed:
            began = self._state != "offline" or not self._kind
            if began:
                self._counts[kind] += 1
                self._outage.began()
            # A camera that is not there at the start is reported once, as the error it is.
            if self._opened or self._settings.wait:
                self._log.fault("offline", f"{self.description}: offline: {reason}")
            self._state, self._kind, self._reason = "offline", kind, redact(reason)
            self._forget()
            self._changed.notify_all()

    # The consumer and other threads

    def _wait_idly(self, idle: Callable[[], None]) -> None:
        """Say that there is no picture and that waiting goes on, unless the reader is stuck."""
        self._notice_silence()
        if not self._is_stuck():
            idle()

    def _is_stuck(self) -> bool:
        """Whether the reader has died, or hangs in a call that should have ended long ago."""
        since_s = time.monotonic() - self._call_began_s
        if not self._reader.is_alive():
            reason = "the reader has died"
        elif since_s > self._stuck_after_s:
            reason = f"the reader hangs in a call that should end within {self._stuck_after_s:g} s"
        else:
            return False
        self._go_offline("stuck", f"{reason}; edgecam has to be started again")
        return True

    def _notice_silence(self) -> None:
        with self._changed:
            silent = time.monotonic() - self._heard_s > self._silence_s
            if silent and self._state != "offline":
                self._go_offline("silent", f"no picture for {self._silence_s:g} s")

    def status(self) -> SourceStatus:
        """Online, offline or frozen, why, and what was counted since the start."""
        self._notice_silence()
        with self._changed:
            return SourceStatus(self._state, self._reason, self._reconnects, dict(self._counts))

    def close(self) -> None:
        """Stop from any thread; a reader stuck in native code ends by its own time-out."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if threading.current_thread() is not self._reader:
            self._reader.join(CLOSE_WAIT_S)
