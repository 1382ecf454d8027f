"""What is sent over a connection, in which order, and what became of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping

from edgecam.mqtt.connection import Connection
from edgecam.mqtt.login import ONLINE
from edgecam.sinks.mqtt.outbox import Message, Outbox, RecentResults, RetainedStates

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 20
# A broker that closes on what was sent gets one message at a time for as many as were in flight;
# closing this often in a row on the same one means that it will never take it.
MAX_REFUSALS = 2


class Delivery:
    """What is to be sent, handed to one connection after another."""

    def __init__(
        self,
        events: Outbox,
        states: RetainedStates,
        results: RecentResults,
        availability_topic: str,
    ) -> None:
        self.events = events
        self.states = states
        self.results = results
        self.availability_topic = availability_topic
        self._in_flight: dict[int, tuple[Outbox | RetainedStates | None, Message]] = {}
        self._announced = False
        self._events_from_s = 0.0
        self._suspect: Message | None = None
        self._refusals = 0
        self._careful_left = 0
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._counts[name] += number

    def counters(self) -> Mapping[str, int]:
        with self._lock:
            counts = dict(self._counts)
        counts["events_dropped"] = self.events.dropped
        counts["results_dropped"] = self.results.dropped
        return {f"mqtt_{name}": number for name, number in sorted(counts.items())}

    def begin(self, settle_s: float) -> None:
        """A connection is established."""
        self.states.resend_all()
        self._in_flight.clear()
        self._announced = False
        self._events_from_s = time.monotonic() + settle_s

    def announce_again(self) -> None:
        """A subscriber has lost what it knew: states and ``online`` once more."""
        self.states.resend_all()
        self._announced = False

    def feed(self, connection: Connection) -> None:
        """Hand over as much as the socket takes now: states, then ``online``, events, results."""
        window = 1 if self._careful_left else MAX_IN_FLIGHT
        while connection.writable and len(self._in_flight) < window:
            if not self._send_state(connection) and not self._send_event(connection):
                break
        if self._careful_left and (self._in_flight or len(self.events)):
            return
        while connection.writable and (result := self.results.take(time.monotonic())) is not None:
            connection.publish(result.topic, result.payload, 0, False)
            self.count("results_sent")

    def _send_state(self, connection: Connection) -> bool:
        message = self.states.take()
        if message is not None:
            self._send(connection, self.states, message, retain=True)
        elif not self._announced:
            # Last, so that whoever sees online sees states of this run as well.
            self._announced = True
            online = Message(self.availability_topic, ONLINE)
            self._send(connection, None, online, retain=True)
        else:
            return False
        return True

    def _send_event(self, connection: Connection) -> bool:
        if time.monotonic() < self._events_from_s:
            return False
        message = self.events.take()
        if message is not None:
            self._send(connection, self.events, message, retain=False)
        return message is not None

    def _send(
        self,
        connection: Connection,
        store: Outbox | RetainedStates | None,
        message: Message,
        retain: bool,
    ) -> None:
        mid = connection.publish(message.topic, message.payload, 1, retain)
        self._in_flight[mid] = (store, message)

    def settle(self, connection: Connection) -> bool:
        """Take in what the broker has acknowledged; True if that was anything."""
        any_settled = False
        while connection.acknowledged:
            store, message = self._in_flight.pop(connection.acknowledged.popleft(), (None, None))
            if message is None:
                continue
            any_settled = True
            self._careful_left = max(0, self._careful_left - 1)
            if store is not None:
                store.acknowledge(message)
            if store is self.events:
                self.count("events_sent")
        return any_settled

    def end(self, refused: bool) -> None:
        """The connection is over; ``refused`` if the broker closed it soon after it began."""
        if refused and self._in_flight:
            self._careful_left = MAX_IN_FLIGHT
        if refused and len(self._in_flight) == 1:
            ((store, message),) = self._in_flight.values()
            if store is not None:
                self._refused_alone(message)
        self._in_flight.clear()
        self.events.rewind()
        self.results.clear()

    def _refused_alone(self, message: Message) -> None:
        self._refusals = self._refusals + 1 if message == self._suspect else 1
        self._suspect = message
        if self._refusals < MAX_REFUSALS:
            return
        size_bytes = len(message.payload)
        log.warning("%s: dropped %d bytes that the broker refuses", message.topic, size_bytes)
        self.count("refused_by_broker")
        self.events.acknowledge(message)
        self.states.forget(message)

    @property
    def settle_left_s(self) -> float:
        """How long events are still held back; 0 once they may go."""
        return max(0.0, self._events_from_s - time.monotonic())

    @property
    def done(self) -> bool:
        """Everything is with the broker."""
        return self._announced and not (self._in_flight or len(self.events) or len(self.states))

    def hurry(self) -> None:
        """Stop waiting for subscribers."""
        self._events_from_s = 0.0
