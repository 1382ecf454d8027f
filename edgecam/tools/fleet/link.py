"""Keeps a fleet in touch with its broker, and says why when it is not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping

from edgecam.core.printable import printable
from edgecam.mqtt.subscriber import Subscriber
from edgecam.settings.schema import MqttSettings
from edgecam.tools.fleet.state import Fleet, filters

RETRY_S = 1.0
LOOK_S = 0.2


class FleetLink:
    """Connects, subscribes and connects again, on a thread of its own, until closed."""

    def __init__(
        self, settings: MqttSettings, fleet: Fleet, environment: Mapping[str, str] = os.environ
    ) -> None:
        """
        Raises:
            EdgecamError: the first connection fails.
        """
        self._settings, self._fleet, self._environment = settings, fleet, environment
        self._closing = threading.Event()
        self.fault: str | None = None
        self.last_message_s = time.monotonic()
        self._subscriber: Subscriber | None = self._connected()
        self._thread = threading.Thread(target=self._keep, name="fleet", daemon=True)
        self._thread.start()

    def _connected(self) -> Subscriber:
        return Subscriber(self._settings, filters(), self._take, self._environment)

    def _take(self, topic: str, payload: bytes, is_retained: bool) -> None:
        now_s = self.last_message_s = time.monotonic()
        self._fleet.take(topic, payload, is_retained, now_s, time.time())

    def _keep(self) -> None:
        while not self._closing.wait(LOOK_S):
            try:
                if self._subscriber is None:
                    self._subscriber = self._connected()
                self._subscriber.check()
                self.fault = None
            except Exception as error:  # noqa: BLE001 - shown; what a broker sends must not end us
                self.fault = printable(str(error))
                self._drop()
                self._closing.wait(RETRY_S)

    def _drop(self) -> None:
        if self._subscriber is not None:
            self._subscriber.close()
            self._subscriber = None

    def close(self) -> None:
        """Disconnect."""
        self._closing.set()
        self._thread.join(2.0)
        self._drop()
