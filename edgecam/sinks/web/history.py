"""What the page remembers: the last events, the plots' ten minutes and the last report."""

from __future__ import annotations

from collections import Counter, deque
from typing import get_args

import msgspec
from msgspec import Raw

from edgecam.core.events import EventType
from edgecam.messages.telemetry import Telemetry

HISTORY_S = 600.0
# Twice the reports of that time: commands ask for some between.
MAX_POINTS = 600
MAX_EVENTS = 200
# Time, frames per second, latency, temperature; null is unknown.
Point = tuple[float, float | None, float | None, float | None]


class Journal:
    """Lives on the server's loop."""

    def __init__(self) -> None:
        self._events: deque[Raw] = deque(maxlen=MAX_EVENTS)
        # Each with the daemon's uptime: the clock of the day may be put back.
        self._history: deque[tuple[float, Point]] = deque(maxlen=MAX_POINTS)
        # How many events there were; a viewer knows by it what it has not seen.
        self.number = 0
        self.by_type: Counter[str] = Counter(dict.fromkeys(get_args(EventType), 0))
        self.telemetry: Telemetry | None = None
        self.report: Raw | None = None

    @property
    def events(self) -> list[Raw]:
        """The last events as they were published, oldest first."""
        return list(self._events)

    @property
    def history(self) -> list[Point]:
        """Points of the plots, the oldest first."""
        return [point for _, point in self._history]

    def since(self, number: int) -> list[Raw]:
        """The events after the first ``number``, as far as they are remembered."""
        missed = min(self.number - number, len(self._events))
        return self.events[len(self._events) - missed :]

    def add_event(self, event_type: str, payload: bytes) -> None:
        """Keep an event and count it by its type."""
        self._events.append(Raw(payload))
        self.number += 1
        self.by_type[event_type] += 1

    def add_report(self, telemetry: Telemetry, score_threshold: float) -> None:
        """Keep what the plots need, and the whole for viewers."""
        latency = telemetry.capture_to_publish_ms
        point: Point = (
            telemetry.time_unix_s,
            telemetry.fps.published,
            None if latency is None else latency.p50,
            telemetry.temperature_c,
        )
        self._history.append((telemetry.uptime_s, point))
        while self._history[0][0] < telemetry.uptime_s - HISTORY_S:
            self._history.popleft()
        self.telemetry = telemetry
        body = {"telemetry": telemetry, "point": point, "score_threshold": score_threshold}
        self.report = Raw(msgspec.json.encode(body))
