"""Telemetry of a process that several cameras share: the board, and whether all are well."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from edgecam.core import board
from edgecam.messages.telemetry import Rates, SourceReport, Telemetry

if TYPE_CHECKING:
    from edgecam.mqtt.broker import Broker

WELL = ("online", "ended")


class BoardReporter:
    """Reports every ``interval_s``, at once where the state of a camera changes."""

    def __init__(self, name: str, boot_id: str, interval_s: float, broker: Broker | None) -> None:
        self._name, self._boot_id, self._interval_s = name, boot_id, interval_s
        self._broker = broker
        self._started_s = time.monotonic()
        self._next_s = 0.0
        self._states: list[tuple[str, str]] = []
        self._sequence = 0

    def publish(self, now_s: float, reports: Mapping[str, Telemetry]) -> None:
        """Publish where it is time to; ``reports`` are the last ones of the cameras, by name."""
        states = [(name, each.source.state) for name, each in reports.items()]
        if self._broker is None or not reports:
            return
        if states == self._states and now_s < self._next_s:
            return
        self._states, self._next_s = states, now_s + self._interval_s
        self._sequence += 1
        self._broker.publish_telemetry(self._report(now_s, list(reports.values())))

    def _report(self, now_s: float, reports: Sequence[Telemetry]) -> Telemetry:
        """The first camera's report with what differs of the whole."""
        bad = [each for each in reports if each.source.state not in WELL]
        ages_s = [each.source.last_frame_age_s for each in reports]
        source = SourceReport(
            state=bad[0].source.state if bad else reports[0].source.state,
            reason="; ".join(f"{each.name}: {each.source.reason}" for each in bad) or None,
            last_frame_age_s=max((age for age in ages_s if age is not None), default=None),
            reconnects=sum(each.source.reconnects for each in reports),
        )
        return msgspec.structs.replace(
            reports[0],
            name=self._name,
            boot_id=self._boot_id,
            sequence=self._sequence,
            time_unix_s=round(time.time(), 3),
            uptime_s=round(now_s - self._started_s, 1),
            fps=_sum([each.fps for each in reports]),
            preprocess_ms=None,
            decode_ms=None,
            capture_to_publish_ms=None,
            dropped=sum(each.dropped for each in reports),
            reconnects=source.reconnects,
            source=source,
            paused=all(each.paused for each in reports),
            rss_bytes=board.read().rss_bytes,
            recorder=None,
            process=msgspec.UNSET,
            cameras=tuple(each.name for each in reports),
        )


def _sum(rates: Sequence[Rates]) -> Rates:
    names = Rates.__struct_fields__
    return Rates(**{n: round(sum(getattr(each, n) or 0.0 for each in rates), 2) for n in names})
