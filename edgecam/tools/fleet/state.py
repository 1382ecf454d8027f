"""What is known of every instance on a broker, from its messages alone.

Everything that arrives is untrusted: who may publish on the broker may publish anything. Nothing
leaves here that a terminal could take for a command, and no flood of names makes this grow.
"""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from edgecam.core.printable import printable
from edgecam.messages.event import EventMessage
from edgecam.messages.health import faults
from edgecam.messages.telemetry import Telemetry
from edgecam.messages.topics import Topics

# An instance that misses three reports is stale; none reports more often than this is read.
MISSED_REPORTS, MIN_STALE_S, USUAL_INTERVAL_S = 3.0, 5.0, 10.0
MAX_INSTANCES, MAX_LABELS, MAX_TEXT = 1000, 40, 200

State = Literal["ok", "paused", "degraded", "stale", "offline", "unknown"]
# Worst first.
STATES: Sequence[State] = ("offline", "stale", "degraded", "unknown", "paused", "ok")
_NAME = re.compile(r"[a-z0-9_-]{1,64}")


class LastEvent(msgspec.Struct, frozen=True):
    """The newest event since the view began."""

    event_type: str
    label: str
    zone: str | None
    age_s: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as it is now; None is "not known". ``why`` says what is wrong."""

    name: str
    state: State
    why: str | None
    report_age_s: float | None
    fps: float | None
    latency_ms: float | None
    temperature_c: float | None
    counts: dict[str, int]
    last_event: LastEvent | None
    delegate: str | None
    uptime_s: float | None


@dataclass(slots=True)
class _Instance:
    """``reported_s``: when the last report was made, by our clock; ``heard_s``: when it came."""

    available: str | None = None
    telemetry: Telemetry | None = None
    reported_s: float | None = None
    heard_s: float | None = None
    gaps_s: deque[float] = field(default_factory=lambda: deque(maxlen=3))
    counts: dict[str, int] = field(default_factory=dict)
    event: EventMessage | None = None
    event_s: float = 0.0
    unreadable: int = 0

    @property
    def interval_s(self) -> float:
        """Between two reports; the longest of some, for one also comes whenever things change."""
        return max(self.gaps_s, default=USUAL_INTERVAL_S)


class Fleet:
    """Takes messages on any thread and says what they add up to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instances: dict[str, _Instance] = {}
        self._reports = msgspec.json.Decoder(Telemetry)
        self._events = msgspec.json.Decoder(EventMessage)
        self.ignored = 0

    def take(
        self, topic: str, payload: bytes, is_retained: bool, now_s: float, now_unix_s: float
    ) -> None:
        """Take a message; what is no instance's counts as ``ignored``."""
        parts = topic.split("/")
        with self._lock:
            if len(parts) < 3 or parts[0] != "edgecam" or not _NAME.fullmatch(parts[1]):
                self.ignored += 1
                return
            if not payload:
                self._cleared(parts)
                return
            if parts[1] not in self._instances and len(self._instances) >= MAX_INSTANCES:
                self.ignored += 1
                return
            instance = self._instances.setdefault(parts[1], _Instance())
            try:
                self._take(instance, parts[2:], payload, is_retained, now_s, now_unix_s)
            except (ValueError, RecursionError):
                # No JSON, not of this format, lists in lists, or no number.
                instance.unreadable += 1

    def _cleared(self, parts: list[str]) -> None:
        """A retained message was taken back; that of the availability takes the instance away."""
        instance = self._instances.get(parts[1])
        if instance is None:
            return
        if parts[2] == "availability":
            del self._instances[parts[1]]
        elif parts[2] == "count":
            instance.counts.pop(parts[-1], None)

    def _take(
        self,
        instance: _Instance,
        parts: list[str],
        payload: bytes,
        is_retained: bool,
        now_s: float,
        now_unix_s: float,
    ) -> None:
        kind = parts[0]
        if kind == "availability":
            instance.available = payload[:MAX_TEXT].decode("utf-8", "replace")
        elif kind == "telemetry":
            report = self._reports.decode(payload)
            # How old a retained one is only the two wall clocks can tell.
            age_s = max(0.0, now_unix_s - report.time_unix_s) if is_retained else 0.0
            if instance.heard_s is not None and not is_retained:
                instance.gaps_s.append(now_s - instance.heard_s)
            instance.heard_s = None if is_retained else now_s
            instance.telemetry, instance.reported_s = report, now_s - age_s
        elif kind == "event":
            instance.event, instance.event_s = self._events.decode(payload), now_s
        elif kind == "count" and len(parts) == 2:
            label, counts = parts[1], instance.counts
            if _NAME.fullmatch(label) and (label in counts or len(counts) < MAX_LABELS):
                counts[label] = int(payload[:20])

    def rows(self, now_s: float) -> list[Row]:
        """Every instance at ``now_s`` (monotonic seconds), by name."""
        with self._lock:
            return [
                _row(name, one, self._is_process_gone(one), now_s)
                for name, one in sorted(self._instances.items())
            ]

    def _is_process_gone(self, instance: _Instance) -> bool:
        """Whether the process is offline that the camera shares: the will is that one's alone."""
        report = instance.telemetry
        process = report.process if report is not None else msgspec.UNSET
        found = None if process is msgspec.UNSET else self._instances.get(process)
        return found is not None and found.available == "offline"


def _row(name: str, instance: _Instance, is_process_gone: bool, now_s: float) -> Row:
    age_s = None if instance.reported_s is None else max(0.0, now_s - instance.reported_s)
    state, why = _state(instance, is_process_gone, age_s)
    # What an old report says of rates and temperatures is no longer so.
    report = None if state in ("offline", "stale") else instance.telemetry
    ages = report.capture_to_publish_ms if report is not None else None
    return Row(
        name=name,
        state=state,
        why=None if why is None else printable(why),
        report_age_s=_rounded(age_s),
        fps=None if report is None else _rounded(report.fps.published),
        latency_ms=None if ages is None else _rounded(ages.p50),
        temperature_c=None if report is None else _rounded(report.temperature_c),
        counts={} if state == "offline" else dict(sorted(instance.counts.items())),
        last_event=_last_event(instance, now_s),
        delegate=None if report is None or not report.delegate else printable(report.delegate),
        uptime_s=None if report is None else _rounded(report.uptime_s),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 1)


def _last_event(instance: _Instance, now_s: float) -> LastEvent | None:
    event = instance.event
    if event is None:
        return None
    zone = None if event.zone is None else printable(event.zone)
    age_s = round(max(0.0, now_s - instance.event_s), 1)
    return LastEvent(event.event_type, printable(event.label), zone, age_s)


def _state(
    instance: _Instance, is_process_gone: bool, age_s: float | None
) -> tuple[State, str | None]:
    """The state, and why it is not ok."""
    if is_process_gone or instance.available == "offline":
        seen = "" if age_s is None else f", last report {span(age_s)} ago"
        return "offline", f"stopped or lost{seen}"
    report = instance.telemetry
    if report is None or age_s is None:
        what = "unreadable reports" if instance.unreadable else "no report yet"
        return "unknown", what if instance.available else f"{what}, says not that it is online"
    if age_s > max(MIN_STALE_S, MISSED_REPORTS * instance.interval_s):
        return "stale", f"no report for {span(age_s)}"
    wrong = faults(report)
    if wrong:
        return "degraded", "; ".join(wrong)
    if instance.available != "online":
        return "unknown", "says not that it is online"
    return ("paused", "as asked for") if report.paused else ("ok", None)


def span(seconds: float) -> str:
    """A span in one unit: 42 s, 7 min, 3 h, 2 d."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def filters() -> list[str]:
    """Return the topics to subscribe to.

    Results are left out: fifty cameras send megabytes of them a second.
    """
    every = Topics("+")
    return [every.availability, every.telemetry, every.event, every.count("+")]


def tally(rows: Sequence[Row]) -> Mapping[State, int]:
    """How many instances are in each state that there is, worst first."""
    numbers = {state: sum(row.state == state for row in rows) for state in STATES}
    return {state: number for state, number in numbers.items() if number}
