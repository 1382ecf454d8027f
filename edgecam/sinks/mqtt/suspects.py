"""Which messages a broker ends connections for, where it does not say so.

On MQTT 3.1.1 a broker has no other answer to a message that is too large, or that may not be
published: it closes. What it acknowledges proves all that was written before; of what was written
after that the largest, on its topic larger than all that was ever proven, is the suspect. The
same topic twice in a row: not sent again, but smaller ones are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

STRIKES = 2
MAX_OPEN = 256
# A broker that crashes looks the same: try again, each time later; a small message is seldom the
# reason, and soon missed.
FIRST_BAN_S, SMALL_BAN_S, LAST_BAN_S = 600.0, 60.0, 86_400.0
SMALL_BYTES = 4_096
# A connection that ends so soon after a ban without what was banned ended for something else.
DOUBT_S = 60.0


class _Written(NamedTuple):
    order: int
    kind: str
    topic: str
    size_bytes: int


class Culprit(NamedTuple):
    """The message that a connection ended for."""

    kind: str
    topic: str
    size_bytes: int


@dataclass(slots=True)
class _Ban:
    size_bytes: int
    for_s: float
    since_s: float
    was_sent: bool = False


class Suspects:
    """What was written on one connection after another, and what came of it."""

    def __init__(self, *bases: str) -> None:
        """``bases``: the instance's own topics lie under them, those of its process first."""
        self._bases = list(bases)
        self._order = 0
        self._open: deque[_Written] = deque(maxlen=MAX_OPEN)
        self._proven: dict[str, int] = {}
        self._strikes: dict[str, int] = {}
        self._bans: dict[str, _Ban] = {}

    def kind(self, topic: str) -> str:
        """What of its topics a broker would treat alike: ``count/#`` and ``homeassistant/#``."""
        parts = topic.split("/")
        base = next((base for base in self._bases if topic.startswith(f"{base}/")), None)
        if base is not None:
            depth = base.count("/") + 2
        elif parts[0] == self._bases[0].partition("/")[0]:
            return topic
        else:
            depth = 1
        return topic if len(parts) <= depth else "/".join((*parts[:depth], "#"))

    def add(self, base: str) -> None:
        """The topics under this one are the instance's own too."""
        if base not in self._bases:
            self._bases.append(base)

    def begin(self) -> None:
        """A new connection."""
        self._open.clear()
        for ban in self._bans.values():
            ban.was_sent = False

    def allows(self, topic: str, size_bytes: int) -> bool:
        """Whether nothing so large has ended connections lately."""
        ban = self._bans.get(self.kind(topic))
        if ban is None or size_bytes < ban.size_bytes:
            return True
        return time.monotonic() >= ban.since_s + ban.for_s

    def is_proven(self, topic: str, size_bytes: int) -> bool:
        """Whether a connection has outlived one as large."""
        return size_bytes <= self._proven.get(self.kind(topic), -1)

    def wrote(self, topic: str, size_bytes: int) -> int:
        """Note what is written; returns its place in the order."""
        self._order += 1
        kind = self.kind(topic)
        ban = self._bans.get(kind)
        if ban is not None and size_bytes >= ban.size_bytes:
            ban.was_sent = True
        self._open.append(_Written(self._order, kind, topic, size_bytes))
        return self._order

    def proved(self, order: int) -> Iterator[tuple[str, int]]:
        """The broker has answered this one: it has read all before it as well.

        Yields kind and size of each.
        """
        while self._open and self._open[0].order <= order:
            _, kind, _, size_bytes = self._open.popleft()
            self._proven[kind] = max(self._proven.get(kind, -1), size_bytes)
            self._strikes.pop(kind, None)
            ban = self._bans.get(kind)
            if ban is not None and size_bytes >= ban.size_bytes:
                del self._bans[kind]
            yield kind, size_bytes

    def largest(self) -> Culprit | None:
        """The largest of what was written that is larger than what its topic has proven.

        Never availability: it goes whatever happens.
        """
        found = [
            item
            for item in self._open
            if item.size_bytes > self._proven.get(item.kind, -1)
            and item.topic != f"{self._bases[0]}/availability"
        ]
        largest = max(found, key=lambda item: item.size_bytes, default=None)
        return None if largest is None else Culprit(*largest[1:])

    def ended(self, largest: Culprit | None, is_certain: bool = False) -> bool:
        """The broker has closed, perhaps for this; True if nothing so large is sent again.

        ``is_certain``: it has said that it closes for a message.
        """
        now_s = time.monotonic()
        self._open.clear()
        for kind, ban in list(self._bans.items()):
            if not ban.was_sent and now_s < ban.since_s + DOUBT_S:
                del self._bans[kind]
        kind = largest.kind if largest is not None else ""
        self._strikes = {kind: self._strikes.get(kind, 0) + 1}
        is_ban = is_certain or kind in self._bans or self._strikes[kind] >= STRIKES
        if largest is None or not is_ban:
            return False
        self.ban(largest.topic, largest.size_bytes)
        return True

    def ban(self, topic: str, size_bytes: int) -> None:
        """Send nothing so large on this kind of topic, for a while."""
        kind = self.kind(topic)
        ban = self._bans.get(kind)
        first_s = FIRST_BAN_S if size_bytes >= SMALL_BYTES else SMALL_BAN_S
        for_s = first_s if ban is None else min(2.0 * ban.for_s, LAST_BAN_S)
        least = size_bytes if ban is None else min(size_bytes, ban.size_bytes)
        self._bans[kind] = _Ban(least, for_s, time.monotonic(), was_sent=True)
