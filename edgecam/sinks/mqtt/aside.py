"""Events that end connections: set aside behind all others, and tried ever less often.

On MQTT 3.1.1 a broker that closes may have crashed, twice as well; so a closed connection is no
refusal, and no event is dropped for it. But one must not stand in the way of all others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from edgecam.sinks.mqtt.outbox import Message, Outbox

# Alone in flight this often in a row when a connection was closed: behind the others from now on.
BLAMED = 2
# Each time that a connection that took other messages ends for it: twice as long, up to this.
WAIT_S, LONGEST_WAIT_S = 60.0, 3_600.0
# So many in a row, and none accepted: it is their topic, not they.
ALL = 3


@dataclass(slots=True)
class _Blame:
    strikes: int
    next_s: float = 0.0


class Aside:
    """Which events of an outbox are set aside, and when they are tried again."""

    def __init__(self, events: Outbox) -> None:
        self._events = events
        self._suspect: tuple[int, int] = (-1, 0)
        self._blames: dict[int, _Blame] = {}
        self._any_accepted = False
        self._in_a_row = 0

    @property
    def are_all(self) -> bool:
        """Whether every event ends the connection lately."""
        return self._in_a_row >= ALL

    def begin(self) -> None:
        """A new connection."""
        self._any_accepted = False

    def accepted(self, event: Message | None) -> None:
        """The broker has acknowledged this event, or something else."""
        self._any_accepted = True
        if event is not None:
            self._in_a_row = 0
            self._blames.pop(event.number, None)

    def take(self) -> Message | None:
        """The next event to try, once others have been acknowledged on this connection."""
        now_s = time.monotonic()
        if not self._any_accepted or any(blame.next_s > now_s for blame in self._blames.values()):
            return None
        event = self._events.take_aside()
        if event is None:
            # The outbox has dropped the last of them.
            self._blames.clear()
        return event

    def blame(self, event: Message) -> bool:
        """The connection was closed with this alone in flight; True: set aside from now on."""
        blame = self._blames.get(event.number)
        if blame is not None:
            blame.strikes += self._any_accepted
            wait_s = WAIT_S * 2.0 ** min(10, max(0, blame.strikes - 1))
            blame.next_s = time.monotonic() + min(wait_s, LONGEST_WAIT_S)
            return False
        number, times = self._suspect
        self._suspect = event.number, times + 1 if number == event.number else 1
        if self._suspect[1] < BLAMED:
            return False
        self._blames[event.number] = _Blame(0)
        self._in_a_row += 1
        return True

    def end(self, in_flight: list[Message]) -> None:
        """The connection is over: those events that were in flight are aside again."""
        for event in in_flight:
            if event.number in self._blames:
                self._events.set_aside(event)
