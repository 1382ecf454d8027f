"""A broker for a machine without one: what ``edgecam demo`` publishes to.

iotcore's rumqttd (MQTT 3.1.1, retained messages and wills) in a child process, because it cannot
be stopped inside this one; it ends with this process however that ends. Chosen before amqtt for
its start in 0.1 s without asyncio and its wheels for aarch64 and armv7l.
"""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any

from edgecam.core.errors import EdgecamError

LOOPBACK = "127.0.0.1"
# rumqttd refuses above 20 KB by default; a crowded result is larger.
MAX_PAYLOAD_BYTES = 1_000_000


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class EmbeddedBroker:
    """Listens on loopback only, from construction to ``close``."""

    def __init__(self, port: int | None = None) -> None:
        """Start on ``port``, or on any free one.

        Raises:
            EdgecamError: the port is taken, or iotcore is not installed or does not start.
        """
        try:
            from iotcore import Broker
        except ImportError as error:
            raise EdgecamError(
                f"expected the package iotcore for the embedded broker, found: {error}; "
                "pip install iotcore, or name a broker with --broker"
            ) from None
        self.port = port or free_port()
        self._broker: Any = Broker(
            port=self.port, listen=LOOPBACK, max_payload_size=MAX_PAYLOAD_BYTES
        )
        try:
            self._broker.start()
        except (OSError, RuntimeError) as error:
            raise EdgecamError(
                f"the embedded broker does not start on port {self.port}: {error}; "
                "give another port, or name a broker with --broker"
            ) from None

    @property
    def url(self) -> str:
        """Address for ``mqtt.url``."""
        return f"mqtt://{LOOPBACK}:{self.port}"

    def close(self) -> None:
        """Stop the broker."""
        self._broker.stop()

    def __enter__(self) -> EmbeddedBroker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
