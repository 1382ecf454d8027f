"""Keeps events that have waited for long on the disk as well, and gives them back after a restart.

The outbox stays the place where events wait, and its bounds are those of the spool; the file is a
copy of what has waited longer than ``spool_after_s``. A thread of its own compares the two twice a
second and writes what differs: while the broker answers there is nothing, and no slow card holds
up who publishes or who sends. What the process loses before it was written is lost.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from edgecam.core.board import clock_synced, start_id, uptime_s
from edgecam.core.places import expanded, obstacle, state_directory
from edgecam.messages.telemetry import SpoolReport
from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt.outbox import Message, Outbox
from edgecam.sinks.mqtt.spool_file import Row, SpoolDamagedError, SpoolError, SpoolFile

STEP_S = 0.5
# A card that takes nothing, or a file that another process has, is tried again this often.
RETRY_S = 30.0
# While a stop delivers, what has waited this long goes on the disk beside that.
STOP_AFTER_S = 0.5
CLOSE_S = 2.0

log = logging.getLogger(__name__)


class _Event(msgspec.Struct, frozen=True):
    """What every event has, so that who reads it can tell a duplicate."""

    boot_id: str
    sequence: int
    # Which camera of a process with several it is of.
    name: str = ""


class Spool:
    """The spool of one outbox, whose events go to ``topic``, or to what it says of a payload."""

    def __init__(
        self, path: Path, topic: str | Callable[[bytes], str], outbox: Outbox, after_s: float
    ) -> None:
        """Give the outbox what an earlier run left, and keep what waits from now on."""
        self._file, self._topic, self._outbox = SpoolFile(path), topic, outbox
        self._after_s = after_s
        # Number of an event in the outbox -> id of its row; ids of rows that are good for nothing.
        self._rows: dict[int, int] = {}
        self._waste: list[int] = []
        self._is_loaded, self._is_kept = False, True
        self._reason: str | None = None
        self._retry_s = 0.0
        self._ending = threading.Event()
        self._load()
        self._thread = threading.Thread(target=self._work, name="edgecam-spool", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            while not self._ending.wait(STEP_S):
                if time.monotonic() >= self._retry_s:
                    self._step(self._after_s)
            if self._is_kept:
                self._step(0.0)
        except Exception as error:
            log.exception("spool: unexpected error; events that wait are lost with the process")
            self._reason = repr(error)
        finally:
            self._file.close()

    def _step(self, after_s: float) -> None:
        """Make the file the same as what has waited so long."""
        if not self._is_loaded:
            self._load()
        if not self._is_loaded:
            return
        held = {message.number: message for message in self._outbox.held()}
        due_s = uptime_s() - after_s
        new = [held[n] for n in sorted(held.keys() - self._rows.keys()) if held[n].since_s <= due_s]
        gone = [number for number in self._rows if number not in held]
        if not (new or gone or self._waste):
            return
        try:
            ids = self._file.change(_rows(new), [*(self._rows[n] for n in gone), *self._waste])
        except SpoolDamagedError as error:
            # All that still waits is in the outbox too, and is written again.
            self._rows.clear()
            self._set_aside(error)
            self._retry_s = time.monotonic() + RETRY_S
        except SpoolError as error:
            self._fail(error)
        else:
            for number in gone:
                del self._rows[number]
            self._waste.clear()
            self._rows.update(zip((message.number for message in new), ids, strict=True))
            self._recover()

    def _load(self) -> None:
        """Take over what an earlier run left."""
        try:
            found = self._file.load()
        except SpoolDamagedError as error:
            self._restore(error.found)
            self._set_aside(error)
        except SpoolError as error:
            self._fail(error)
        else:
            good = {number: row for number, row in found.items() if row and _is_event(row)}
            self._waste += found.keys() - good.keys()
            for _ in self._waste:
                self._outbox.lose()
            restored = self._restore(list(good.values()))
            self._rows.update(zip((message.number for message in restored), good, strict=True))
            self._is_loaded = True
            self._recover()

    def _restore(self, rows: Sequence[Row]) -> list[Message]:
        now = _now()
        events = [(row.payload, _since_s(row, now)) for row in rows if _is_event(row)]
        if events:
            log.info("spool: %d events of an earlier run are sent now", len(events))
        return self._outbox.restore(self._topic, events)

    def _set_aside(self, error: SpoolDamagedError) -> None:
        try:
            aside = self._file.set_aside()
        except SpoolError as why:
            self._fail(why)
            return
        self._is_loaded = True
        log.warning(
            "spool: %s is damaged (%s): set aside as %s, %d of its events are sent",
            *(self._file.path, error, aside.name, len(error.found)),
        )

    def _fail(self, error: SpoolError) -> None:
        self._retry_s = time.monotonic() + RETRY_S
        reason = f"{self._file.path}: {error}"
        if reason != self._reason:
            log.warning("spool: %s; events that wait are lost with the process", reason)
        self._reason = reason

    def _recover(self) -> None:
        if self._reason is not None:
            log.info("spool: %s takes events again", self._file.path)
        self._reason = None

    def report(self) -> SpoolReport:
        """How it is, and how many events are on the disk."""
        reason = self._reason
        state: Literal["ready", "failing"] = "ready" if reason is None else "failing"
        return SpoolReport(state=state, reason=reason, events=len(self._rows))

    def hurry(self) -> None:
        """A stop has begun."""
        self._after_s = min(self._after_s, STOP_AFTER_S)

    def close(self, keep: bool = True) -> bool:
        """Write what still waits, unless not to ``keep`` it, and let go of the file.

        Returns whether all that waits is on the disk.
        """
        self._is_kept = keep
        self._ending.set()
        self._thread.join(CLOSE_S)
        held = {message.number for message in self._outbox.held()}
        return not self._thread.is_alive() and held <= self._rows.keys()


def spool_directory(
    settings: MqttSettings, name: str, environment: Mapping[str, str]
) -> Path | None:
    """Where the spool of the instance ``name`` is; None where this user has no directory."""
    if settings.spool_directory is not None:
        return Path(expanded(settings.spool_directory, "mqtt.spool_directory"))
    return state_directory(name, environment)


def open_spool(
    settings: MqttSettings,
    name: str,
    topic: str | Callable[[bytes], str],
    outbox: Outbox,
    environment: Mapping[str, str],
) -> Spool | SpoolReport:
    """The spool of the instance ``name``, or why there is none."""
    if not settings.spool:
        return SpoolReport(state="off")
    folder = spool_directory(settings, name, environment)
    if folder is None:
        reason: str | None = "this user has no home directory, so name mqtt.spool_directory"
    else:
        reason = obstacle(folder)
    if folder is None or reason is not None:
        log.warning("no spool: %s; events that wait are lost with the process", reason)
        return SpoolReport(state="none", reason=reason)
    return Spool(folder / f"{name}.spool", topic, outbox, settings.spool_after_s)


def _now() -> Row:
    return Row(b"", time.time(), uptime_s(), start_id(), clock_synced())


def _rows(messages: Sequence[Message]) -> list[Row]:
    now = _now()
    return [_row(message, now) for message in messages]


def _row(message: Message, now: Row) -> Row:
    """An event for the file; the wall clock may have been set right since it was made."""
    if now.made_uptime_s is None or not math.isfinite(message.since_s):
        return msgspec.structs.replace(now, payload=message.payload, made_uptime_s=None)
    return msgspec.structs.replace(
        now,
        payload=message.payload,
        made_unix_s=now.made_unix_s - (now.made_uptime_s - message.since_s),
        made_uptime_s=message.since_s,
    )


def _since_s(made: Row, now: Row) -> float:
    """Since when an event waits, in seconds of this start's uptime.

    A clock that no time service keeps cannot tell: a board without a battery goes on from where
    it was switched off. Then it is minus infinity.
    """
    if made.made_uptime_s is None or now.made_uptime_s is None:
        return -math.inf
    if made.start_id and made.start_id == now.start_id:
        return min(made.made_uptime_s, now.made_uptime_s)
    waited_s = now.made_unix_s - made.made_unix_s
    if waited_s < 0.0 or False in (made.clock_synced, now.clock_synced):
        return -math.inf
    return now.made_uptime_s - waited_s


def _is_event(row: Row) -> bool:
    try:
        msgspec.json.decode(row.payload, type=_Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return row.payload.endswith(b"}")
