"""One connection to a broker, from TCP to its loss: all that edgecam knows of paho.

A connection is used once, by one thread. Every new one is a new paho client, so that nothing of
paho's own queue, resending or reconnecting is ever at work; that is the outbox's part.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgecam.mqtt.address import BrokerAddress, Fault, fault_of, tls_of
from edgecam.mqtt.frame_topics import Delivered
from edgecam.mqtt.login import Login

_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL
# CONNACK return codes, MQTT 3.1.1 table 3.1, as paho words them.
_LOGIN_REFUSALS = ("Bad user name or password", "Not authorized")

MessageCallback = Callable[[str, bytes, bool], None]
# MQTT 5, 3.8.3.1: nothing retained is sent on a subscription.
_NO_RETAINED = 2
# paho leaves its signature untyped.
_properties: Callable[[int], Properties] = Properties


class Connection:
    """MQTT 3.1.1 over TCP or TLS; ``established`` after CONNACK, ``fault`` once it is over."""

    _wanted = "an MQTT broker"

    def __init__(
        self,
        address: BrokerAddress,
        login: Login,
        context: ssl.SSLContext | None,
        on_message: MessageCallback,
        on_callback_error: Callable[[BaseException], None],
    ) -> None:
        self.established = False
        self.fault: Fault | None = None
        self.closed_by_broker = False
        self.tls: tuple[str, str] | None = None
        self.acknowledged: deque[int] = deque()
        self._address = address
        self._login = login
        self._on_message = on_message
        self._on_callback_error = on_callback_error
        client = self._new_client(login.client_id)
        if login.will_topic is not None:
            client.will_set(login.will_topic, login.will_payload, qos=1, retain=True)
        if login.username is not None:
            client.username_pw_set(login.username, login.password)
        if context is not None:
            client.tls_set_context(context)
        client.on_connect = self._guarded(self._connected)
        client.on_publish = self._guarded(self._published)
        client.on_message = self._guarded(self._received)
        self._client = client

    def _new_client(self, client_id: str) -> Client:
        return Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )

    def _connect_properties(self) -> Properties | None:
        return None

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """paho lets an exception of a callback end the thread that runs its loop."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:  # noqa: BLE001 - reported; the connection must live
                self._on_callback_error(error)

        return guarded

    def _connected(self, _client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if not code.is_failure:
            self.established = True
            return
        text = code.getName()
        if text in _LOGIN_REFUSALS:
            who = f"user {self._login.username!r}" if self._login.username else "no user name"
            self.fault = Fault("login", f"{self._address}: login refused ({who}): {text.lower()}")
        else:
            self.fault = Fault("network", f"{self._address}: refused by the broker: {text.lower()}")

    def _published(self, _client: Any, _data: Any, mid: int, _code: Any, _more: Any) -> None:
        self.acknowledged.append(mid)

    def _received(self, _client: Any, _data: Any, message: MQTTMessage) -> None:
        self._on_message(message.topic, bytes(message.payload), message.retain)

    def open(self, timeout_s: float) -> None:
        """TCP, TLS and the CONNECT packet; blocks up to ``timeout_s`` for each; sets ``fault``."""
        address = self._address
        self._client.connect_timeout = timeout_s
        try:
            self._client.connect(
                address.host,
                address.port,
                self._login.keepalive_s,
                properties=self._connect_properties(),
            )
            sock = self._client.socket()
            self.tls = tls_of(sock)
            if isinstance(sock, socket.socket):
                # Or Nagle's algorithm holds a result back until the one before it is acknowledged.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self.fault = fault_of(error, address)
        except UnicodeError:
            self.fault = Fault("network", f"{address}: {address.host!r} is no host name")

    @property
    def writable(self) -> bool:
        """Nothing is left over of what was published: the socket took it all."""
        return self.established and self.fault is None and not self._client.want_write()

    def step(self, timeout_s: float, wake: socket.socket) -> None:
        """Wait for the broker or for ``wake``, then read, write and keep alive."""
        sock = self._client.socket()
        if sock is None:
            self._lost_to_broker()
            return
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        writing = select.POLLOUT if self._client.want_write() else 0
        poll.register(sock, select.POLLIN | writing)
        # What TLS has decrypted already does not make the socket readable.
        pending = sock.pending() > 0 if isinstance(sock, ssl.SSLSocket) else False
        ready = dict(poll.poll(0 if pending else timeout_s * 1000))
        events = ready.get(sock.fileno(), 0)
        readable = pending or bool(events & _READABLE)
        code = self._client.loop_read() if readable else None
        if not code and events & select.POLLOUT:
            code = self._client.loop_write()
        if code:
            self._lost_to_broker()
        elif self._client.loop_misc() or self._client.socket() is None:
            self._lost(f"the broker is silent for {self._login.keepalive_s} s or more")

    def _lost_to_broker(self) -> None:
        self.closed_by_broker = self.fault is None
        if self.established:
            self._lost("connection closed by the broker")
        elif self._address.tls:
            # TLS 1.3: a missing client certificate shows only after the handshake.
            text = "closed before it answered; does the broker want a client certificate?"
            self.fault = self.fault or Fault("handshake", f"{self._address}: {text}")
        else:
            self._lost(
                f"closed before it answered; is it {self._wanted}, or one that wants mqtts://?"
            )

    def _lost(self, what: str) -> None:
        self.fault = self.fault or Fault("network", f"{self._address}: {what}")

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> int:
        """Hand a message over; its mid appears in ``acknowledged`` (QoS 0: once it is written)."""
        info = self._client.publish(topic, payload, qos, retain)
        if info.rc:
            self._lost_to_broker()
        return info.mid

    def subscribe(self, topic_filter: str) -> None:
        if self._client.subscribe(topic_filter, qos=1)[0]:
            self._lost_to_broker()

    def give_up(self, fault: Fault) -> None:
        """Close without a DISCONNECT, so that the broker publishes the will."""
        self.fault = self.fault or fault
        self._close()

    def finish(self) -> None:
        """Close with a DISCONNECT, so that the broker keeps the will to itself."""
        self._client.disconnect()
        self._close()

    def _close(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            sock.close()


class PictureConnection(Connection):
    """MQTT 5, for pictures; a message is acknowledged when somebody says so, not when it comes.

    The broker has at most ``window`` of them unacknowledged here, and sends none whose packet is
    above ``max_packet_bytes``. It forgets the session with the connection, so that it hands no
    picture to a worker that has gone.
    """

    _wanted = "a broker of MQTT 5"

    def __init__(
        self,
        address: BrokerAddress,
        login: Login,
        context: ssl.SSLContext | None,
        on_delivered: Callable[[Delivered], None],
        on_callback_error: Callable[[BaseException], None],
        window: int,
        max_packet_bytes: int,
    ) -> None:
        self.subscribed = False
        self.refused: deque[str] = deque()
        self._window, self._max_packet_bytes = window, max_packet_bytes
        self._on_delivered = on_delivered
        super().__init__(address, login, context, lambda *_: None, on_callback_error)
        self._client.on_subscribe = self._guarded(self._subscribe_answered)
        self._client.on_disconnect = self._guarded(self._disconnected)

    def _new_client(self, client_id: str) -> Client:
        return Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )

    def _connect_properties(self) -> Properties:
        properties = _properties(PacketTypes.CONNECT)
        properties.ReceiveMaximum = self._window
        properties.MaximumPacketSize = self._max_packet_bytes
        return properties

    def _subscribe_answered(self, *answer: Any) -> None:
        self.subscribed = True
        for code in answer[3]:
            if code.is_failure:
                text = f"{self._address}: subscription refused: {code.getName().lower()}"
                self.fault = self.fault or Fault("login", text)

    def _disconnected(self, *answer: Any) -> None:
        flags, code = answer[2:4]
        if flags.is_disconnect_packet_from_server:
            self._lost(f"connection closed by the broker: {code.getName().lower()}")

    def _published(self, client: Any, data: Any, mid: int, code: Any, more: Any) -> None:
        super()._published(client, data, mid, code, more)
        if code.is_failure:
            self.refused.append(code.getName().lower())

    def _received(self, _client: Any, _data: Any, message: MQTTMessage) -> None:
        number = message.mid if message.qos else 0
        try:
            properties = dict(getattr(message.properties, "UserProperty", ()))
            payload = bytes(message.payload)
            self._on_delivered(Delivered(message.topic, payload, number, properties))
        except Exception:
            # Nobody else will, and the window would be one smaller for ever.
            self.acknowledge(number)
            raise

    def subscribe(self, topic_filter: str) -> None:
        options = SubscribeOptions(qos=1, retainHandling=_NO_RETAINED)
        if self._client.subscribe(topic_filter, options=options)[0]:
            self._lost_to_broker()

    def acknowledge(self, number: int) -> None:
        """The broker may forget the message, and send another one in its place."""
        if self._client.ack(number, 1):
            self._lost_to_broker()

    def publish_picture(
        self, topic: str, payload: bytes, expiry_s: int, about: Mapping[str, str]
    ) -> int:
        """Hand a picture over (QoS 1); the broker drops it if nobody took it for ``expiry_s``."""
        properties = _properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = expiry_s
        properties.UserProperty = list(about.items())
        info = self._client.publish(topic, payload, 1, False, properties)
        if info.rc:
            self._lost_to_broker()
        return info.mid


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic falls under a subscription with wildcards."""
    return topic_matches_sub(topic_filter, topic)
