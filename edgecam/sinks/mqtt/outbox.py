"""What waits for the broker: events in order, the latest of each retained state, a few results.

paho's own queue is not used: it drops the newest when full, doubles what is queued again after
NO_CONN, and loses the order when a broker hangs. Nothing here knows of sockets; the network
thread takes from it and the pipeline's threads put into it.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from edgecam.core.board import uptime_s
from edgecam.messages.event import delayed


@dataclass(frozen=True, slots=True)
class Message:
    """A payload for a topic; ``number`` tells two messages of one outbox apart.

    ``since_s`` is since when an event waits, in seconds of the system's uptime; minus infinity if
    that is not known.
    """

    topic: str
    payload: bytes
    number: int = 0
    since_s: float = 0.0

    @property
    def size_bytes(self) -> int:
        """Bytes of topic and payload."""
        return len(self.topic) + len(self.payload)


def _number(message: Message) -> int:
    return message.number


class Outbox:
    """Events until they are acknowledged, first in first out, bounded in number and bytes.

    An event is ``waiting``, then ``sent`` (in flight), then acknowledged and gone. One that ends
    connections is set ``aside``: it goes only when no other waits. When the outbox is full the
    oldest event that is not in flight is dropped and counted; one in flight is not, for it may
    have arrived.
    """

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._waiting: deque[Message] = deque()
        self._aside: deque[Message] = deque()
        self._sent: dict[int, Message] = {}
        self._size_bytes = 0
        self._first_number = self._next_number = 0
        self._lock = threading.Lock()
        self.dropped = 0

    def put(self, topic: str, payload: bytes) -> None:
        """Append an event, dropping the oldest waiting ones to fit it."""
        with self._lock:
            message = Message(topic, payload, self._next_number, uptime_s())
            if message.size_bytes > self._max_bytes:
                self.dropped += 1
                return
            self._next_number += 1
            self._waiting.append(message)
            self._size_bytes += message.size_bytes
            self._trim()

    def restore(
        self, topic: str | Callable[[bytes], str], events: Iterable[tuple[bytes, float]]
    ) -> list[Message]:
        """Put events of an earlier run, as (payload, ``since_s``), before all that wait.

        ``topic`` may be one for all, or what says where a payload goes.

        Returns them with their numbers; the oldest are dropped if there are too many.
        """
        found = list(events)
        with self._lock:
            self._first_number -= len(found)
            restored = [
                Message(topic(payload) if callable(topic) else topic, payload, number, since_s)
                for number, (payload, since_s) in enumerate(found, self._first_number)
            ]
            self._waiting.extendleft(reversed(restored))
            self._size_bytes += sum(message.size_bytes for message in restored)
            self._trim()
        return restored

    def lose(self) -> None:
        """Count an event that could not be put."""
        with self._lock:
            self.dropped += 1

    def held(self) -> list[Message]:
        """All events that are not acknowledged, in no order."""
        with self._lock:
            return [*self._sent.values(), *self._aside, *self._waiting]

    def _trim(self) -> None:
        while self._is_over() and (oldest := self._oldest()):
            self._size_bytes -= oldest.popleft().size_bytes
            self.dropped += 1

    def _oldest(self) -> deque[Message] | None:
        """Where the oldest event is that is not in flight."""
        if self._aside and not (self._waiting and self._waiting[0].number < self._aside[0].number):
            return self._aside
        return self._waiting or None

    def _is_over(self) -> bool:
        return self._number() > self._max_messages or self._size_bytes > self._max_bytes

    def _number(self) -> int:
        return len(self._waiting) + len(self._aside) + len(self._sent)

    def take(self) -> Message | None:
        """The oldest waiting event, which is in flight from now on."""
        with self._lock:
            if not self._waiting:
                return None
            return self._send(self._waiting.popleft())

    def take_aside(self) -> Message | None:
        """The oldest event that was set aside, which is in flight from now on."""
        with self._lock:
            return self._send(self._aside.popleft()) if self._aside else None

    def _send(self, message: Message) -> Message:
        """The event as it goes out: one that waited says how long."""
        self._sent[message.number] = message
        payload = delayed(message.payload, uptime_s() - message.since_s)
        return message if payload is message.payload else replace(message, payload=payload)

    def acknowledge(self, message: Message) -> None:
        """Forget an event that the broker has."""
        with self._lock:
            if (kept := self._sent.pop(message.number, None)) is not None:
                self._size_bytes -= kept.size_bytes

    def drop(self, message: Message) -> None:
        """Forget an event in flight that the broker will never take, and count it."""
        with self._lock:
            if (kept := self._sent.pop(message.number, None)) is not None:
                self._size_bytes -= kept.size_bytes
                self.dropped += 1

    def give_back(self, message: Message) -> None:
        """The broker did not take an event in flight: it waits again, in its old place."""
        with self._lock:
            if (kept := self._sent.pop(message.number, None)) is not None:
                self._waiting = deque(sorted((kept, *self._waiting), key=_number))

    def set_aside(self, message: Message) -> None:
        """An event in flight goes from now on only when no other waits."""
        with self._lock:
            if (kept := self._sent.pop(message.number, None)) is not None:
                self._aside.append(kept)

    def rewind(self) -> None:
        """The connection is gone: what was in flight waits again, in its old order, first."""
        with self._lock:
            self._waiting = deque(sorted((*self._sent.values(), *self._waiting), key=_number))
            self._sent.clear()

    @property
    def waiting(self) -> int:
        """Events neither in flight nor set aside."""
        with self._lock:
            return len(self._waiting)

    def __len__(self) -> int:
        """Events not yet acknowledged."""
        with self._lock:
            return self._number()

    @property
    def size_bytes(self) -> int:
        """Bytes of all that waits."""
        with self._lock:
            return self._size_bytes

    @property
    def oldest_s(self) -> float | None:
        """How long the oldest event has waited; None where none waits or that is not known."""
        since_s = min((message.since_s for message in self.held()), default=float("inf"))
        return uptime_s() - since_s if math.isfinite(since_s) else None


def _is_state(topic: str) -> bool:
    return not topic.endswith("/config")


class RetainedStates:
    """The last payload of every retained topic; all of them are sent again on every connection.

    A state that changes while the broker is slow is sent once, with its last value.
    """

    def __init__(self) -> None:
        self._payloads: dict[str, bytes] = {}
        self._unsent: dict[str, None] = {}
        self._put_off: dict[str, None] = {}
        self._lock = threading.Lock()

    def put(self, topic: str, payload: bytes) -> bool:
        """Remember the payload; False if it is the topic's payload already. Empty clears it."""
        with self._lock:
            if self._payloads.get(topic) == payload:
                return False
            self._payloads[topic] = payload
            self._unsent[topic] = None
            return True

    def take(self) -> Message | None:
        """The longest unsent state; an empty one, which clears the topic, is forgotten with it."""
        with self._lock:
            topic = next(iter(self._unsent), None)
            if topic is None:
                return None
            del self._unsent[topic]
            return Message(topic, self._payloads[topic])

    def acknowledge(self, message: Message) -> None:
        """The broker has it; a topic that was cleared need not be cleared again."""
        with self._lock:
            if not message.payload and self._payloads.get(message.topic) == b"":
                del self._payloads[message.topic]

    def put_off(self, message: Message) -> None:
        """It cannot go now: the next ``resend_put_off`` is for it."""
        with self._lock:
            self._put_off[message.topic] = None

    def resend_put_off(self) -> None:
        """Try again with what was put off."""
        with self._lock:
            self._unsent.update((t, None) for t in self._put_off if t in self._payloads)
            self._put_off.clear()

    def resend_all(self) -> None:
        """A new connection: the broker may have lost them all."""
        with self._lock:
            # What an entity is comes before its state.
            self._unsent = dict.fromkeys(sorted(self._payloads, key=_is_state))
            self._put_off.clear()

    def __len__(self) -> int:
        """States not yet sent on this connection."""
        with self._lock:
            return len(self._unsent)


class RecentResults:
    """Results on their way to a writable socket: few, and only while they are fresh."""

    def __init__(self, max_messages: int, max_bytes: int, max_age_s: float) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._waiting: deque[tuple[float, Message]] = deque()
        self._size_bytes = 0
        self._lock = threading.Lock()
        self.dropped = 0

    def put(self, topic: str, payload: bytes, now_s: float) -> None:
        """Append a result, dropping the oldest to fit it."""
        message = Message(topic, payload)
        with self._lock:
            self._waiting.append((now_s, message))
            self._size_bytes += message.size_bytes
            while len(self._waiting) > self._max_messages or self._size_bytes > self._max_bytes:
                self._pop()
                self.dropped += 1

    def take(self, now_s: float) -> Message | None:
        """The oldest result that is still fresh."""
        with self._lock:
            while self._waiting:
                put_s, message = self._pop()
                if now_s - put_s <= self._max_age_s:
                    return message
                self.dropped += 1
            return None

    def _pop(self) -> tuple[float, Message]:
        item = self._waiting.popleft()
        self._size_bytes -= item[1].size_bytes
        return item

    def clear(self) -> None:
        """The connection is gone and with it the use of what waited."""
        with self._lock:
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._size_bytes = 0

    def drop(self) -> None:
        """Count a result that was not put because there is no connection."""
        with self._lock:
            self.dropped += 1

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting)
