"""The MQTT sink as reports, announcements and remote control see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from edgecam.messages.telemetry import MqttReport, Telemetry

# Recordings and measurements wait for their broker, or their first results would find none.
BROKER_WAIT_S = 5.0


class Broker(Protocol):
    """The MQTT sink, as far as reports go."""

    def publish_telemetry(self, telemetry: Telemetry) -> None:
        """Publish telemetry, retained."""
        ...

    def publish_source(self, is_online: bool) -> None:
        """Publish whether the camera delivers, retained."""
        ...

    def publish_snapshot(self, jpeg: bytes, retain: bool) -> None:
        """Publish a JPEG."""
        ...

    def forget_snapshots(self) -> None:
        """Clear the retained snapshot."""
        ...

    def publish_retained(self, topic: str, payload: bytes) -> None:
        """Publish a retained message."""
        ...

    def keep_only(self, topic_filter: str, wanted: Iterable[str]) -> None:
        """Clear the retained topics of a filter but those that are wanted."""
        ...

    def name_labels(self, parts: Mapping[str, str]) -> None:
        """Publish counts under these parts of topics, by the labels' keys."""
        ...

    def count_nothing(self) -> None:
        """Publish no count: no model of the run counts."""
        ...

    def expect(self, labels: Iterable[str]) -> None:
        """Report counts of these labels too, even while they are 0."""
        ...

    def status(self) -> MqttReport:
        """Return the connection's state as telemetry has it."""
        ...

    def check(self) -> None:
        """Raise SinkError where another instance had the name when this one began."""
        ...

    def check_reached(self) -> None:
        """Raise SinkError where the broker has never let this instance in."""
        ...

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait so long for a connection; return whether there is one."""
        ...
