"""The MQTT sink as reports, announcements and remote control see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from edgecam.messages.schema import MqttReport, Telemetry

# Recordings and measurements wait for their broker, or their first results would find none.
BROKER_WAIT_S = 5.0


class Broker(Protocol):
    """The MQTT sink, as far as reports go."""

    def publish_telemetry(self, telemetry: Telemetry) -> None: ...

    def publish_source(self, is_online: bool) -> None: ...

    def publish_snapshot(self, jpeg: bytes, retain: bool) -> None: ...

    def forget_snapshots(self) -> None: ...

    def publish_retained(self, topic: str, payload: bytes) -> None: ...

    def keep_only(self, topic_filter: str, wanted: Iterable[str]) -> None: ...

    def expect(self, labels: Iterable[str]) -> None: ...

    def status(self) -> MqttReport: ...

    def check(self) -> None: ...

    def check_reached(self) -> None: ...

    def wait_connected(self, timeout_s: float) -> bool: ...
