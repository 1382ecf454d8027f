"""A connection for pictures, whose messages are acknowledged when their user says so."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from edgecam.mqtt.address import BrokerAddress, Fault
from edgecam.mqtt.connection import Connection
from edgecam.mqtt.frame_topics import Delivered
from edgecam.mqtt.login import Login
from edgecam.mqtt.terms import Offer


class PictureConnection(Connection):
    """Pictures in both directions, not acknowledged as they come.

    A broker of MQTT 5 has at most ``window`` of them unacknowledged here, and sends none whose
    packet is above ``max_packet_bytes``. It forgets the session with the connection, so that it
    hands no picture to a worker that has gone.
    """

    def __init__(
        self,
        address: BrokerAddress,
        login: Login,
        context: ssl.SSLContext | None,
        on_delivered: Callable[[Delivered], None],
        on_callback_error: Callable[[BaseException], None],
        offer: Offer,
        window: int,
        max_packet_bytes: int,
    ) -> None:
        self.subscribed = False
        self._on_delivered = on_delivered
        super().__init__(
            address,
            login,
            context,
            lambda *_: None,
            on_callback_error,
            offer,
            max_packet_bytes,
            window,
        )

    def _subscribe_answered(self, *answer: Any) -> None:
        super()._subscribe_answered(*answer)
        self.subscribed = True
        if self.refused_filters:
            words = self.refused_filters.popleft()[1]
            text = f"{self._address}: subscription refused: {words}"
            self.fault = self.fault or Fault("login", text)

    def _received(self, _client: Any, _data: Any, message: Any) -> None:
        if self._is_passed_over(message):
            return
        number = message.mid if message.qos else 0
        if message.retain:
            # MQTT 3.1.1 sends it though it is not wanted: an old picture.
            self.acknowledge(number)
            return
        try:
            more = message.properties
            about = dict(getattr(more, "UserProperty", ()))
            expiry_s = getattr(more, "MessageExpiryInterval", None)
            payload = bytes(message.payload)
            self._on_delivered(Delivered(message.topic, payload, number, about, expiry_s))
        except Exception:
            # Nothing else will, and the window would stay one smaller.
            self.acknowledge(number)
            raise
