"""What is sent over a connection, in which order, and what became of it.

Events that wait go first, then states, then ``online``. What the broker refuses, or ends
connections for, is not sent again and said once; an event is lost to neither unless it is refused
for good.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from edgecam.mqtt.connection import Connection
from edgecam.mqtt.login import ONLINE
from edgecam.mqtt.terms import CLOSING, PACKET_TOO_LARGE, PASSING, UNCLEAR, Answer, Limits
from edgecam.sinks.mqtt.aside import Aside
from edgecam.sinks.mqtt.outbox import Message, Outbox, RecentResults, RetainedStates
from edgecam.sinks.mqtt.refusals import Refusals
from edgecam.sinks.mqtt.suspects import Culprit, Suspects

MAX_IN_FLIGHT = 20
MAX_UNCLEAR = 3
# Not acknowledged on so many connections, though later messages were: refused.
MAX_IGNORED = 2
DENIED_S, UNCLEAR_S = 30.0, 5.0
# How often it is looked whether a state may go that ended a connection.
PUT_OFF_S = 10.0
# Where each try costs the connection: twice as long every time, up to this.
LONGEST_DENIED_S = 600.0


@dataclass(slots=True)
class _Sent:
    """A message in flight; ``overtaken``: one that was sent later has been acknowledged."""

    store: Outbox | RetainedStates | None
    message: Message
    order: int
    sent_s: float
    overtaken: bool = False


class Delivery:
    """What is to be sent, handed to one connection after another."""

    def __init__(
        self,
        events: Outbox,
        states: RetainedStates,
        results: RecentResults,
        availability_topic: str,
        suspects: Suspects | None = None,
    ) -> None:
        self.events = events
        self.states = states
        self.results = results
        self.availability_topic = availability_topic
        self.refusals = Refusals()
        self._suspects = suspects or Suspects(availability_topic.rpartition("/")[0])
        self._aside = Aside(events)
        self._in_flight: dict[int, _Sent] = {}
        self._announced = False
        self._events_from_s = 0.0
        self._backlog = 0
        self._careful_left = 0
        # One event at a time finds out whether they are taken again.
        self._is_denied = False
        self._denied_s, self._denied_until_s = DENIED_S, 0.0
        self._put_off_until_s = 0.0
        self._unclear: Counter[int] = Counter()
        self._progress_s = 0.0
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name] += number

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        with self._lock:
            counts = dict(self._counts)
        counts["events_dropped"] = self.events.dropped
        counts["results_dropped"] = self.results.dropped
        return {f"mqtt_{name}": number for name, number in sorted(counts.items())}

    def begin(self, settle_s: float) -> None:
        """A connection is established."""
        self.states.resend_all()
        self._in_flight.clear()
        self._suspects.begin()
        self._aside.begin()
        self._announced = False
        self._backlog = self.events.waiting
        self._progress_s = time.monotonic()
        self._events_from_s = max(self._progress_s + settle_s, self._denied_until_s)
        if self._is_denied:
            self._backlog = 0

    def announce_again(self) -> None:
        """A subscriber has lost what it knew: states and ``online`` once more."""
        self.states.resend_all()
        self._announced = False

    def feed(self, connection: Connection) -> None:
        """Hand over as much as the socket takes now: events, states, ``online``, results."""
        if time.monotonic() >= self._put_off_until_s:
            self._put_off_until_s = time.monotonic() + PUT_OFF_S
            self.states.resend_put_off()
        window = 1 if self._careful_left else MAX_IN_FLIGHT
        window = min(window, connection.limits.receive_maximum)
        while connection.writable and (places := window - connection.unacknowledged) > 0:
            if not self._send_next(connection, is_last_place=places == 1 and window > 1):
                break
        self._feed_results(connection)

    def _send_next(self, connection: Connection, is_last_place: bool) -> bool:
        """``is_last_place``: after it nothing more is sent until something is acknowledged."""
        if self._backlog:
            return self._send_event(connection)
        # However many events come, a state gets its turn.
        if is_last_place:
            return self._send_state(connection) or self._send_event(connection)
        return (
            self._send_event(connection)
            or self._send_state(connection)
            or self._send_aside(connection)
        )

    def _feed_results(self, connection: Connection) -> None:
        is_held = bool(self._backlog or (self._careful_left and self._in_flight))
        while connection.writable and (result := self.results.take(time.monotonic())) is not None:
            size_bytes = len(result.payload)
            # Whether the connection outlives it is tried when nothing that counts can be lost.
            is_early = is_held and not self._suspects.is_proven(result.topic, size_bytes)
            if is_early or not self._suspects.allows(result.topic, size_bytes):
                self.results.drop()
            elif not connection.limits.allows(result.topic, result.payload):
                self.results.drop()
                self._say_too_large(result, connection.limits)
            else:
                self._suspects.wrote(result.topic, size_bytes)
                connection.publish(result.topic, result.payload, 0, False)
                self.count("results_sent")

    def _send_state(self, connection: Connection) -> bool:
        message = self.states.take()
        if message is not None:
            if self._may_go(connection, message):
                self._send(connection, self.states, message, retain=True)
        elif not self._announced:
            # Last, so that clients who see online see states of this run as well.
            self._announced = True
            online = Message(self.availability_topic, ONLINE)
            self._send(connection, None, online, retain=True)
        else:
            return False
        return True

    def _may_go(self, connection: Connection, state: Message) -> bool:
        """Whether a state is to be sent; what the broker cannot retain needs no clearing."""
        if not state.payload and not connection.limits.retain:
            self.states.acknowledge(state)
            return False
        if not connection.limits.allows(state.topic, state.payload):
            self._say_too_large(state, connection.limits)
            return False
        if self._suspects.allows(state.topic, len(state.payload)):
            return True
        self.states.put_off(state)
        return False

    def _say_too_large(self, message: Message, limits: Limits) -> None:
        self.count("above_broker_limit")
        self.refusals.refused(
            self._suspects.kind(message.topic),
            f"above the broker's limit of {limits.max_packet_bytes} bytes",
            f"a message of {len(message.payload)} bytes on {message.topic} was not sent",
            len(message.payload),
        )

    def _send_event(self, connection: Connection) -> bool:
        if time.monotonic() < self._events_from_s or (self._is_denied and self._events_in_flight()):
            return False
        message = self.events.take()
        if message is None:
            self._backlog = 0
            return False
        self._backlog = max(0, self._backlog - 1)
        if connection.limits.allows(message.topic, message.payload):
            self._send(connection, self.events, message, retain=False)
        else:
            self._say_too_large(message, connection.limits)
            self._drop(message)
        return True

    def _drop(self, event: Message) -> None:
        self.count("refused_by_broker")
        self._unclear.pop(event.number, None)
        self.events.drop(event)

    def _send_aside(self, connection: Connection) -> bool:
        """What ended connections before, alone: others have been acknowledged on this one."""
        message = None if self._in_flight else self._aside.take()
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
        now_s = time.monotonic()
        if not connection.unacknowledged:
            self._progress_s = now_s
        number = connection.publish(message.topic, message.payload, 1, retain)
        order = self._suspects.wrote(message.topic, len(message.payload))
        self._in_flight[number] = _Sent(store, message, order, now_s)

    def settle(self, connection: Connection) -> bool:
        """Take in what the broker has answered; True if that was anything."""
        any_settled = False
        while connection.acknowledged:
            answer = connection.acknowledged.popleft()
            sent = self._in_flight.pop(answer.number, None)
            if sent is None:
                continue
            any_settled = True
            self._progress_s = time.monotonic()
            self._careful_left = max(0, self._careful_left - 1)
            for kind, size_bytes in self._suspects.proved(sent.order):
                self.refusals.outlived(kind, size_bytes)
            for other in self._in_flight.values():
                other.overtaken = other.overtaken or other.order < sent.order
            if answer.code:
                self._refused(sent, answer)
            else:
                self._accepted(sent)
        return any_settled

    def _accepted(self, sent: _Sent) -> None:
        message = sent.message
        self.refusals.accepted(self._suspects.kind(message.topic), len(message.payload))
        self._aside.accepted(message if sent.store is self.events else None)
        if sent.store is not None:
            sent.store.acknowledge(message)
        if sent.store is self.events:
            self._is_denied, self._denied_s, self._denied_until_s = False, DENIED_S, 0.0
            self._unclear.pop(message.number, None)
            self.count("events_sent")

    def _refused(self, sent: _Sent, answer: Answer) -> None:
        """A state is not sent again before it changes or the connection does."""
        message, kind = sent.message, self._suspects.kind(sent.message.topic)
        reason = f"refused by the broker: {answer.words}"
        remedy = "let this user publish there (the broker's ACL)"
        if sent.store is not self.events:
            self.count("states_refused")
            self.refusals.refused(kind, reason, remedy)
            return
        self._unclear[message.number] += answer.code in UNCLEAR
        if answer.code in PASSING or 0 < self._unclear[message.number] < MAX_UNCLEAR:
            self.count("events_refused")
            wait_s = DENIED_S if answer.code in PASSING else UNCLEAR_S
            self.events.give_back(message)
            self._events_from_s = time.monotonic() + wait_s
            self._is_denied, self._backlog = True, 0
            self.refusals.refused(kind, reason, f"events wait until it takes them; {remedy}")
        else:
            self.refusals.refused(kind, reason, f"dropped {len(message.payload)} bytes")
            self._drop(message)

    def overdue(self, unacknowledged: int, now_s: float, limit_s: float) -> str | None:
        """Why no answer is to be hoped for any more, in words; None while it is."""
        if unacknowledged and now_s - self._progress_s > limit_s:
            return f"no acknowledgement for {limit_s:.0f} s of {unacknowledged} messages"
        oldest = min(self._in_flight.values(), key=lambda sent: sent.sent_s, default=None)
        if oldest is None or now_s - oldest.sent_s <= limit_s:
            return None
        return (
            f"no acknowledgement of {oldest.message.topic}, though of later messages"
            if (oldest.overtaken)
            else None
        )

    def give_up(self) -> None:
        """The broker acknowledges nothing any more, or not some: at the second time they go."""
        for sent in self._in_flight.values():
            message = sent.message
            if not sent.overtaken or sent.store is None:
                continue
            if sent.store is self.events:
                self._unclear[message.number] += 1
                if self._unclear[message.number] < MAX_IGNORED:
                    continue
                self._drop(message)
            else:
                self._suspects.ban(message.topic, len(message.payload))
            self.refusals.refused(
                self._suspects.kind(message.topic),
                "not acknowledged by the broker, though later messages are",
                f"{len(message.payload)} bytes on {message.topic} are not sent again",
            )

    def end(self, is_closed_by_broker: bool, code: int | None) -> None:
        """The connection is over; ``code`` is the reason that the broker gave, if it did."""
        events = self._events_in_flight()
        if is_closed_by_broker:
            self._find_culprit(events, code)
        self._aside.end(events)
        self._in_flight.clear()
        self.events.rewind()
        self.results.clear()

    def _find_culprit(self, events: list[Message], code: int | None) -> None:
        largest = self._suspects.largest()
        if largest is not None or self._in_flight:
            self._careful_left = MAX_IN_FLIGHT
        alone = events[0] if events and len(self._in_flight) == 1 else None
        is_event = bool(events) and (largest is None or largest.topic == events[0].topic)
        if not is_event:
            if self._suspects.ended(largest, code in CLOSING) and largest is not None:
                self._say_culprit(largest)
            return
        self._suspects.ended(None)
        if alone is None:
            return
        if code == PACKET_TOO_LARGE:
            self.refusals.refused(
                alone.topic,
                "packet too large for the broker",
                f"dropped {len(alone.payload)} bytes",
                len(alone.payload),
            )
            self._drop(alone)
        elif code in PASSING:
            self._hold(alone.topic, "the broker ends the connection: not allowed")
        else:
            self._blame(alone)

    def _hold(self, topic: str, reason: str) -> None:
        """Try events again after a while, each time a longer one: it costs the connection."""
        self._is_denied = True
        self._denied_until_s = time.monotonic() + self._denied_s
        self._denied_s = min(2.0 * self._denied_s, LONGEST_DENIED_S)
        self.count("events_held")
        remedy = "events wait until it takes them; see the broker's ACL and limits"
        self.refusals.refused(topic, reason, remedy)

    def _events_in_flight(self) -> list[Message]:
        return [sent.message for sent in self._in_flight.values() if sent.store is self.events]

    def _say_culprit(self, culprit: Culprit) -> None:
        self.count("ended_connection")
        self.refusals.refused(
            culprit.kind,
            "the broker ends the connection when it is sent",
            f"{culprit.size_bytes} bytes on {culprit.topic}, and larger ones, are not sent again "
            "for now; see the broker's limit on message sizes, and its ACL",
            culprit.size_bytes,
        )

    def _blame(self, event: Message) -> None:
        """An event was alone in flight when the broker closed: a crash, or it."""
        if self._aside.blame(event):
            self.refusals.refused(
                event.topic,
                f"the connection ended twice when an event of {len(event.payload)} bytes was sent",
                "if the broker does not crash, see its limit on message sizes, and its ACL; until "
                "then this event goes behind all others",
            )
        if self._aside.are_all:
            self._hold(event.topic, "the connection ends whenever an event is sent")

    @property
    def settle_left_s(self) -> float:
        """How long events are still held back; 0 once they may go."""
        return max(0.0, self._events_from_s - time.monotonic())

    @property
    def done(self) -> bool:
        """Everything that the broker takes is with it."""
        events = 0 if self._is_denied else self.events.waiting
        return self._announced and not (self._in_flight or events or len(self.states))

    def hurry(self) -> None:
        """Stop waiting for subscribers."""
        if not self._is_denied:
            self._events_from_s = 0.0
