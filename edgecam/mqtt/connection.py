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

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo, topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgecam.mqtt.address import BrokerAddress, Fault, FaultKind, fault_of, tls_of
from edgecam.mqtt.bounded_socket import BoundedSocket
from edgecam.mqtt.login import Login
from edgecam.mqtt.terms import (
    BAD_CLIENT_ID,
    BAD_LOGIN,
    BANNED,
    MQTT_5,
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    UNSUPPORTED_VERSION,
    Answer,
    Limits,
    Offer,
    Skipped,
)

_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL
_LOGIN_REFUSALS = (BAD_LOGIN, NOT_AUTHORIZED, BANNED, BAD_CLIENT_ID)
# Commands, states and claims are small; a fleet's telemetry is the largest that is followed.
MAX_PACKET_BYTES = 262_144

MessageCallback = Callable[[str, bytes, bool], None]
# MQTT 5, 3.8.3.1: nothing retained is sent on a subscription.
_NO_RETAINED = 2
# paho leaves its signature untyped.
_properties: Callable[[int], Properties] = Properties


class _BoundedClient(Client):
    """A paho client that reads through a ``BoundedSocket``."""

    max_packet_bytes = MAX_PACKET_BYTES

    def _create_socket(self) -> Any:
        sock: Any = super()._create_socket()
        # Or Nagle's algorithm holds a result back until the one before it is acknowledged.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        is_5 = self._protocol == MQTTProtocolVersion.MQTTv5
        return BoundedSocket(sock, self.max_packet_bytes, has_properties=is_5)


class Connection:
    """MQTT 5 or 3.1.1 over TCP or TLS; ``established`` after CONNACK, ``fault`` once it is over."""

    def __init__(
        self,
        address: BrokerAddress,
        login: Login,
        context: ssl.SSLContext | None,
        on_message: MessageCallback,
        on_callback_error: Callable[[BaseException], None],
        offer: Offer,
        max_packet_bytes: int = MAX_PACKET_BYTES,
        window: int | None = None,
    ) -> None:
        """``max_packet_bytes``: what is larger is not taken.

        With a ``window`` messages are acknowledged by ``acknowledge`` alone, and a broker of
        MQTT 5 has at most so many of them unacknowledged here.
        """
        self.offer = offer
        self.established = self.malformed = self.closed_by_broker = False
        # CONNECT was sent, and nothing came.
        self.unanswered = False
        self.fault: Fault | None = None
        self.limits = Limits(offer.version)
        # Why the broker refused or ended the connection: a reason code of MQTT 5.
        self.code: int | None = None
        self.tls: tuple[str, str] | None = None
        self.acknowledged: deque[Answer] = deque()
        self.refused_filters: deque[tuple[str, str]] = deque()
        self.skipped: deque[Skipped] = deque()
        self._window = window
        self._address, self._login = address, login
        self._on_message, self._on_callback_error = on_message, on_callback_error
        self._max_packet_bytes = max_packet_bytes
        # QoS 1 until its PUBACK; None is an UNSUBSCRIBE that stands in for one.
        self._unsettled: dict[int, MQTTMessageInfo | None] = {}
        self._answers: deque[Answer] = deque()
        self._asked: dict[int, str] = {}
        self._client = self._new_client(context)

    def _new_client(self, context: ssl.SSLContext | None) -> Client:
        login, offer = self._login, self.offer
        is_5 = offer.version == MQTT_5
        client = _BoundedClient(
            CallbackAPIVersion.VERSION2,
            client_id=login.client_id if offer.has_id else "",
            clean_session=None if is_5 else True,
            protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=self._window is not None,
        )
        client.max_packet_bytes = self._max_packet_bytes
        if login.will_topic is not None:
            retain = offer.will_retain and login.retain
            client.will_set(login.will_topic, login.will_payload, offer.will_qos, retain)
        if login.username is not None:
            client.username_pw_set(login.username, login.password)
        if context is not None:
            client.tls_set_context(context)
        client.on_connect = self._guarded(self._connected)
        client.on_publish = self._guarded(self._published)
        client.on_message = self._guarded(self._received)
        client.on_subscribe = self._guarded(self._subscribe_answered)
        client.on_unsubscribe = self._guarded(self._unsubscribe_answered)
        client.on_disconnect = self._guarded(self._disconnected)
        return client

    def _connect_properties(self) -> Properties | None:
        if self.offer.version != MQTT_5:
            return None
        properties = _properties(PacketTypes.CONNECT)
        properties.MaximumPacketSize = self._max_packet_bytes
        if self._window is not None:
            properties.ReceiveMaximum = self._window
        return properties

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """paho lets an exception of a callback end the thread that runs its loop."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:  # noqa: BLE001 - reported; the connection must live
                self._on_callback_error(error)

        return guarded

    def _connected(self, _client: Any, _data: Any, _flags: Any, code: Any, found: Any) -> None:
        if not code.is_failure:
            self.established = True
            self.limits = Limits(
                version=self.offer.version,
                max_packet_bytes=getattr(found, "MaximumPacketSize", None),
                max_qos=getattr(found, "MaximumQoS", 2),
                # A broker that does not retain the will retains nothing.
                retain=self._login.retain
                and self.offer.will_retain
                and bool(getattr(found, "RetainAvailable", 1)),
                receive_maximum=getattr(found, "ReceiveMaximum", 65_535),
                keepalive_s=getattr(found, "ServerKeepAlive", None),
                client_id=getattr(found, "AssignedClientIdentifier", None),
            )
            return
        self.code = code.value
        text = code.getName().lower()
        why = f": {found.ReasonString}" if getattr(found, "ReasonString", "") else ""
        if self.code in _LOGIN_REFUSALS:
            who = f"user {self._login.username!r}" if self._login.username else "no user name"
            self._lost(f"login refused ({who}): {text}{why}", "login")
        elif self.code == UNSUPPORTED_VERSION:
            self._lost(
                f"the broker refuses MQTT {'5' if self.offer.version == MQTT_5 else '3.1.1'}"
            )
        else:
            self._lost(f"refused by the broker: {text}{why}")

    def _published(self, _client: Any, _data: Any, mid: int, code: Any, _more: Any) -> None:
        sock: Any = self._client.socket()
        odd = sock.codes.pop(mid, 0) if sock is not None else 0
        if odd:
            words = "packet too large" if odd == PACKET_TOO_LARGE else f"reason code 0x{odd:02x}"
            self._answers.append(Answer(mid, odd, words))
        elif code.is_failure:
            self._answers.append(Answer(mid, code.value, code.getName().lower()))
        else:
            self._answers.append(Answer(mid))

    def _unsubscribe_answered(self, *answer: Any) -> None:
        if self._unsettled.pop(answer[2], 0) is None:
            self.acknowledged.append(Answer(answer[2]))

    def _subscribe_answered(self, *answer: Any) -> None:
        topic_filter = self._asked.pop(answer[2], "")
        for code in answer[3]:
            if code.is_failure:
                self.refused_filters.append((topic_filter, code.getName().lower()))

    def _disconnected(self, *answer: Any) -> None:
        flags, code = answer[2:4]
        if flags.is_disconnect_packet_from_server:
            self.code = code.value
            self.closed_by_broker = self.fault is None
            self._lost(f"connection closed by the broker: {code.getName().lower()}")

    def _received(self, _client: Any, _data: Any, message: MQTTMessage) -> None:
        if not self._is_passed_over(message):
            self._on_message(message.topic, bytes(message.payload), message.retain)

    def _is_passed_over(self, message: MQTTMessage) -> bool:
        sock: Any = self._client.socket()
        if not message.topic:  # a topic alias: CONNECT allows none
            self._on_callback_error(ValueError("a topic alias, which was not agreed on"))
        elif sock is not None and sock.cut_bytes:
            self.skipped.append(Skipped(message.topic, sock.cut_bytes, message.retain))
        else:
            return False
        self.acknowledge(message.mid if message.qos else 0)
        return True

    def acknowledge(self, number: int) -> None:
        """The broker may forget a message, and send another one in its place (0: nothing)."""
        if number and self._window is not None and self._client.ack(number, 1):
            self._lost_to_broker()

    def open(self, timeout_s: float) -> None:
        """TCP, TLS and the CONNECT packet; blocks up to ``timeout_s`` for each; sets ``fault``."""
        address = self._address
        self._client.connect_timeout = timeout_s
        try:
            where = address.host, address.port, self._login.keepalive_s
            self._client.connect(*where, properties=self._connect_properties())
            sock: Any = self._client.socket()
            self.tls = tls_of(sock.raw) if sock is not None else None
        except OSError as error:
            self.fault = fault_of(error, address)
        except UnicodeError:
            self.fault = Fault("network", f"{address}: {address.host!r} is no host name")

    @property
    def keepalive_s(self) -> int:
        """The broker's word counts, if it has one; 0 from it would mean that no ping is sent."""
        return self.limits.keepalive_s or self._login.keepalive_s

    @property
    def unacknowledged(self) -> int:
        """Messages of QoS 1 that the broker has not acknowledged."""
        return len(self._unsettled)

    @property
    def is_skipping(self) -> bool:
        """A message that is not taken is still coming, and with it nothing else."""
        sock: Any = self._client.socket()
        return sock is not None and sock.is_skipping

    @property
    def writable(self) -> bool:
        """Nothing is left over of what was published: the socket took it all."""
        return self.established and self.fault is None and not self._client.want_write()

    def step(self, timeout_s: float, wake: socket.socket) -> None:
        """Wait for the broker or for ``wake``, then read, write and keep alive."""
        sock: Any = self._client.socket()
        if sock is None:
            self._lost_to_broker()
            return
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        writing = select.POLLOUT if self._client.want_write() else 0
        poll.register(sock, select.POLLIN | writing)
        # What TLS has decrypted already does not make the socket readable.
        pending = sock.pending() > 0
        ready = dict(poll.poll(0 if pending else timeout_s * 1000))
        events = ready.get(sock.fileno(), 0)
        code = self._read() if pending or events & _READABLE else None
        if not code and events & select.POLLOUT:
            code = self._client.loop_write()
        self._settle()
        if sock.refused is not None:
            self._lost(f"the broker sent {sock.refused}")
        if code:
            self._lost_to_broker()
        elif self._client.loop_misc() or self._client.socket() is None:
            self._lost(f"the broker is silent for {self.keepalive_s} s or more")

    def _read(self) -> MQTTErrorCode:
        try:
            code = self._client.loop_read()
        except Exception as error:
            if self.established:
                raise
            # paho's words for bytes that are no CONNACK of MQTT 5.
            self.malformed = True
            self._lost(f"no answer of MQTT: {error!r}")
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        self.malformed = not self.established and code == MQTTErrorCode.MQTT_ERR_PROTOCOL
        return code

    def _settle(self) -> None:
        """Only an acknowledgement settles a message: paho tells of a written QoS 0 message by a
        number too, and the numbers come round.
        """
        while self._answers:
            answer = self._answers.popleft()
            info = self._unsettled.get(answer.number)
            if info is not None and info.is_published():
                del self._unsettled[answer.number]
                self.acknowledged.append(answer)

    def _lost_to_broker(self) -> None:
        self.closed_by_broker = self.closed_by_broker or self.fault is None
        if self.established:
            self._lost("connection closed by the broker")
        elif self._address.tls:
            # TLS 1.3: a missing client certificate shows only after the handshake.
            text = "closed before it answered; does the broker want a client certificate?"
            self._lost(text, "handshake")
        else:
            self._lost("closed before it answered; is it an MQTT broker, or one of mqtts://?")

    def _lost(self, what: str, kind: FaultKind = "network") -> None:
        self.fault = self.fault or Fault(kind, f"{self._address}: {what}")

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        expiry_s: int | None = None,
        about: Mapping[str, str] | None = None,
    ) -> int:
        """Hand a message over; of QoS 1 the number appears in ``acknowledged``.

        Where the broker takes QoS 0 alone, an UNSUBSCRIBE that follows the message is answered
        in its place: the broker had read the message before. ``expiry_s`` (for how long the
        broker keeps it) and ``about`` (user properties) need MQTT 5.
        """
        retain = retain and self.limits.retain
        more = None
        if self.limits.version == MQTT_5 and expiry_s is not None:
            more = _properties(PacketTypes.PUBLISH)
            more.MessageExpiryInterval = expiry_s
            more.UserProperty = list((about or {}).items())
        sent_qos = min(qos, self.limits.max_qos)
        info = self._client.publish(topic, payload, sent_qos, retain, more)
        while info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            # The number is still in flight; the next one is not.
            info = self._client.publish(topic, payload, sent_qos, retain, more)
        if info.rc:
            self._lost_to_broker()
        elif qos and self.limits.max_qos:
            self._unsettled[info.mid] = info
        elif qos:
            return self._stand_in()
        return info.mid

    def _stand_in(self) -> int:
        code, mid = self._client.unsubscribe(f"{self._login.client_id}/nothing")
        if code or mid is None:
            self._lost_to_broker()
            return 0
        self._unsettled[mid] = None
        return mid

    def subscribe(self, topic_filter: str, retained: bool = True) -> None:
        """``retained``: what the broker retains is wanted; MQTT 3.1.1 sends it all the same."""
        if retained or self.limits.version != MQTT_5:
            code, mid = self._client.subscribe(topic_filter, qos=1)
        else:
            options = SubscribeOptions(qos=1, retainHandling=_NO_RETAINED)
            code, mid = self._client.subscribe(topic_filter, options=options)
        if code or mid is None:
            self._lost_to_broker()
        else:
            self._asked[mid] = topic_filter

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


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic falls under a subscription with wildcards."""
    return topic_matches_sub(topic_filter, topic)
