"""A reader of a broker: an MQTT client of its own that publishes nothing and has no will."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from edgecam.core.errors import SettingsError, SinkError
from edgecam.mqtt.address import parse_url, tls_context
from edgecam.mqtt.connection import Connection, MessageCallback
from edgecam.mqtt.login import login
from edgecam.mqtt.opening import establish
from edgecam.mqtt.terms import BrokerMemory
from edgecam.settings.schema import MqttSettings


def connect(
    settings: MqttSettings,
    on_message: MessageCallback,
    on_error: Callable[[BaseException], None],
    wake: socket.socket,
    environment: Mapping[str, str] = os.environ,
) -> Connection:
    """An established connection without a will.

    Raises:
        SettingsError: the URL, a certificate or the password file is no use.
        SinkError: the broker cannot be reached, or refuses; ``kind`` is that of the fault.
    """
    if settings.url is None:
        raise SettingsError("mqtt.url: expected mqtt://HOST or mqtts://HOST, found nothing")
    address = parse_url(settings.url)
    connection = establish(
        address,
        BrokerMemory(),
        partial(
            Connection,
            address,
            login(settings, f"edgecam-follow-{secrets.token_hex(4)}", None, environment),
            tls_context(settings) if address.tls else None,
            on_message,
            on_error,
        ),
        lambda connection: connection.step(0.1, wake),
    )
    if connection.fault is not None:
        raise SinkError(connection.fault.reason, connection.fault.kind)
    return connection


class Subscriber:
    """Hands every message under some topic filters to a callback, on a thread of its own."""

    def __init__(
        self,
        settings: MqttSettings,
        topic_filters: Sequence[str],
        on_message: MessageCallback,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Connect and subscribe; ``on_message`` gets topic, payload and whether it was retained.

        Raises:
            SettingsError: the URL, a certificate or the password file is no use.
            SinkError: the broker cannot be reached, or refuses.
        """
        self._wake_read, self._wake_write = socket.socketpair()
        self._errors: list[BaseException] = []
        self._closing = threading.Event()
        self._connection = connect(
            settings, on_message, self._errors.append, self._wake_read, environment
        )
        for topic_filter in topic_filters:
            self._connection.subscribe(topic_filter)
        self._thread = threading.Thread(target=self._listen, name="follow", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closing.is_set() and self._connection.fault is None and not self._errors:
            self._connection.step(1.0, self._wake_read)

    def check(self) -> None:
        """
        Raises:
            SinkError: the connection is lost.
            Exception: whatever the callback raised.
        """
        if self._errors:
            raise self._errors[0]
        if self._connection.fault is not None:
            raise SinkError(self._connection.fault.reason)

    def close(self) -> None:
        """Disconnect."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")
        self._thread.join(2.0)
        self._connection.finish()
        self._wake_read.close()
        self._wake_write.close()
