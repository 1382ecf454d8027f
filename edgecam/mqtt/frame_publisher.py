"""Sends a thin camera's pictures to a broker, the newest one whenever the broker has the last."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping

from edgecam.core.fault_log import FaultLog
from edgecam.core.redaction import redact
from edgecam.mqtt.address import BrokerAddress, Fault
from edgecam.mqtt.frame_topics import CAPTURED, SEQUENCE, Delivered
from edgecam.mqtt.login import OFFLINE, ONLINE, Login
from edgecam.mqtt.opening import backoff_s, establish, is_passing
from edgecam.mqtt.picture_connection import PictureConnection
from edgecam.mqtt.terms import MQTT_5, BrokerMemory, Limits, Offer

STEP_S = 0.5
STOP_S = 2.0
# For the broker's answer to the last word.
GOODBYE_S = 1.0
# One on its way and one behind it: a camera far from its broker needs no more.
IN_FLIGHT = 2
# The broker throws away what no worker took for so long.
EXPIRY_S = 2.0
# What number and time of a picture add to its packet.
ABOUT_BYTES = 80

log = logging.getLogger(__name__)


class PicturePublisher(threading.Thread):
    """Publishes on ``topic`` (QoS 1) through every outage, until ``stop``.

    Where the login has a topic for its will, `online` and `offline` are retained there.
    """

    def __init__(
        self,
        address: BrokerAddress,
        login: Login,
        context: ssl.SSLContext | None,
        topic: str,
        period_s: float,
    ) -> None:
        """``period_s``: about how far apart pictures are; a broker keeps none for longer."""
        super().__init__(name="pictures", daemon=True)
        self.connected = threading.Event()
        # Why there is no connection.
        self.reason: str | None = f"{address}: connecting"
        self._address, self._login, self._context = address, login, context
        self._memory = BrokerMemory()
        self._topic = topic
        self._expiry_s = math.ceil(max(EXPIRY_S, 2.0 * period_s))
        self._newest: tuple[bytes, Mapping[str, str]] | None = None
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._faults = FaultLog(log)
        self._said: str | None = None
        self._stopping = threading.Event()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)

    def offer(self, jpeg: bytes, sequence: int, captured_unix_s: float) -> None:
        """Send this picture next; the one that still waits is dropped and counted."""
        about = {SEQUENCE: str(sequence), CAPTURED: f"{captured_unix_s:.3f}"}
        with self._lock:
            self._counts["dropped"] += self._newest is not None
            self._newest = jpeg, about
        self._wake()

    def counters(self) -> Mapping[str, int]:
        """Pictures published and dropped, connections and their faults, since the start."""
        with self._lock:
            return dict(self._counts)

    def stop(self) -> None:
        """Wait for what the broker still has to acknowledge, at most two seconds, and end."""
        self._stopping.set()
        self._wake()
        self.join(STOP_S)

    def _wake(self) -> None:
        # Full means that it is awake already.
        with contextlib.suppress(BlockingIOError):
            self._wake_write.send(b"\0")

    def _count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._counts[name] += number

    def run(self) -> None:
        """Connect and publish until stopped; reconnect with a growing wait."""
        failures = 0
        while not self._stopping.is_set():
            connection = self._connect()
            if connection.established and connection.fault is None:
                failures = 0
                self._serve(connection)
            self.connected.clear()
            fault = connection.fault
            if fault is None:
                return
            self._count("connection_faults")
            self.reason = redact(fault.reason)
            self._faults.fault("mqtt", self.reason)
            passing = is_passing(fault, self._counts["connects"] > 0)
            self._stopping.wait(backoff_s(failures, passing))
            failures += 1

    def _connect(self) -> PictureConnection:
        return establish(
            self._address,
            self._memory,
            self._connection_to,
            lambda connection: self._step(connection, 0.1),
            self._stopping.is_set,
        )

    def _connection_to(self, offer: Offer) -> PictureConnection:
        return PictureConnection(
            self._address,
            self._login,
            self._context,
            _ignore,
            lambda error: self._faults.fault("message", f"not understood: {error!r}"),
            offer,
            window=1,
            max_packet_bytes=65_536,
        )

    def _step(self, connection: PictureConnection, timeout_s: float) -> None:
        connection.step(timeout_s, self._wake_read)
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)

    def _serve(self, connection: PictureConnection) -> None:
        self._count("connects")
        self._faults.recovered("mqtt", f"{self._address}: connected")
        self._say_limits(connection.limits)
        self.reason = None
        self.connected.set()
        self._tell(connection, ONLINE)
        in_flight: dict[int, float] = {}
        while connection.fault is None and not (self._stopping.is_set() and not in_flight):
            self._settle(connection, in_flight)
            window = min(IN_FLIGHT, connection.limits.receive_maximum)
            if connection.writable and len(in_flight) < window and not self._stopping.is_set():
                self._send(connection, in_flight)
            self._step(connection, STEP_S)
            self._check_answers(connection, in_flight)
        if connection.fault is None:
            self._say_goodbye(connection)

    def _tell(self, connection: PictureConnection, word: bytes) -> None:
        if self._login.will_topic is not None:
            connection.publish(self._login.will_topic, word, 1, True)

    def _say_goodbye(self, connection: PictureConnection) -> None:
        """A connection that ends in order has no will."""
        self._tell(connection, OFFLINE)
        until_s = time.monotonic() + GOODBYE_S
        while connection.fault is None and connection.unacknowledged:
            if time.monotonic() > until_s:
                break
            self._step(connection, 0.1)
        connection.finish()

    def _say_limits(self, limits: Limits) -> None:
        said = f"{self._address}: the broker takes {limits}"
        if said != self._said and (limits.words() or limits.version != MQTT_5):
            log.warning("%s", said)
        self._said = said

    def _check_answers(self, connection: PictureConnection, in_flight: Mapping[int, float]) -> None:
        """A broker that goes on answering pings may have stopped acknowledging."""
        limit_s = 2 * connection.keepalive_s
        if in_flight and time.monotonic() - min(in_flight.values()) > limit_s:
            self._count("ack_timeouts")
            text = f"{self._address}: no acknowledgement for {limit_s} s; connecting again"
            connection.give_up(Fault("network", text))

    def _settle(self, connection: PictureConnection, in_flight: dict[int, float]) -> None:
        while connection.acknowledged:
            answer = connection.acknowledged.popleft()
            if in_flight.pop(answer.number, None) is None:
                continue  # the word on availability
            self._count("published")
            if answer.code:
                self._count("refused")
                self._faults.fault("refused", f"{self._topic}: refused: {answer.words}")

    def _send(self, connection: PictureConnection, in_flight: dict[int, float]) -> None:
        with self._lock:
            newest, self._newest = self._newest, None
        if newest is None:
            return
        jpeg, about = newest
        if not connection.limits.allows(self._topic, jpeg, ABOUT_BYTES):
            self._count("too_large")
            self._faults.fault(
                "large",
                f"{self._topic}: a picture of {len(jpeg)} bytes is above the broker's limit of "
                f"{connection.limits.max_packet_bytes} and was dropped; publish smaller ones",
            )
            return
        number = connection.publish(self._topic, jpeg, 1, False, self._expiry_s, about)
        in_flight[number] = time.monotonic()


def _ignore(delivered: Delivered) -> None:
    """Nothing is subscribed to."""
