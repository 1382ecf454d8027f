"""Turns of several cameras at the models that they share: one invokes, the others wait.

The newest frame of each camera waits in its own slot. The next turn goes to the camera that is
furthest behind its due time. What a turn took, over the camera's weight, is how far its due time
moves; a camera that asked for nothing for a while has saved nothing up (start-time fair queueing,
Goyal, Vin and Cheng 1996, with the time that was used as the length).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable

# A camera that sees what it is boosted by gets so many times its share.
BOOST = 4.0
# How long a camera waits before it says again that it is alive.
WAIT_S = 0.5


class FairShare:
    """Due times of cameras, in seconds of use at weight 1; no clock and no threads."""

    def __init__(self) -> None:
        self._due_s: dict[Hashable, float] = {}
        # Due time of the turn that was given last: no camera that begins to ask is due before it.
        self._now_s = 0.0

    def asks(self, camera: Hashable) -> None:
        """The camera has a frame that waits."""
        self._due_s[camera] = max(self._due_s.get(camera, 0.0), self._now_s)

    def next(self, waiting: Iterable[Hashable]) -> Hashable:
        """The one of at least one that is furthest behind, the first of equals."""
        found = min(waiting, key=lambda camera: self._due_s[camera])
        self._now_s = max(self._now_s, self._due_s[found])
        return found

    def used(self, camera: Hashable, seconds: float, weight: float) -> None:
        """The camera's turn took so long."""
        self._due_s[camera] += seconds / weight

    def leave(self, camera: Hashable) -> None:
        """The camera is gone."""
        self._due_s.pop(camera, None)


class Turns:
    """The models of a process, handed to one camera at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.share = FairShare()
        self.waiting: list[Turn] = []
        self.holder: Turn | None = None

    def of_camera(self, priority: float = 1.0) -> Turn:
        """Return the turns of one camera; one of priority 2 gets twice the time of one of 1."""
        return Turn(self, priority)


class Turn:
    """One camera's turns, used by one thread; ``is_boosted`` may be set by any."""

    def __init__(self, turns: Turns, priority: float) -> None:
        self._turns, self._priority = turns, priority
        self._given = threading.Condition(turns.lock)
        self._began_s = 0.0
        self.is_boosted = False

    @property
    def is_held(self) -> bool:
        """Whether it is this camera's turn now."""
        return self._turns.holder is self

    def take(self, go_on: Callable[[], bool]) -> bool:
        """Wait for the turn; ``go_on``, called meanwhile, ends the wait without it."""
        turns = self._turns
        with turns.lock:
            if turns.holder is not self and self not in turns.waiting:
                turns.share.asks(self)
                turns.waiting.append(self)
                self._pass_on()
            while turns.holder is not self:
                self._given.wait(WAIT_S)
                if turns.holder is not self and not go_on():
                    turns.waiting.remove(self)
                    return False
            self._began_s = turns.clock()
        return True

    def give_back(self, asks_again: bool = False) -> None:
        """The turn is over; that of the camera which is furthest behind begins at once.

        ``asks_again``: the next frame of this one waits already and will be taken without delay,
        so that the next turn may be its own.
        """
        turns = self._turns
        with turns.lock:
            weight = self._priority * (BOOST if self.is_boosted else 1.0)
            turns.share.used(self, turns.clock() - self._began_s, weight)
            turns.holder = None
            if asks_again:
                turns.share.asks(self)
                turns.waiting.append(self)
            self._pass_on()

    def _pass_on(self) -> None:
        """Begin the next turn if there is none; the lock is held."""
        turns = self._turns
        if turns.holder is not None or not turns.waiting:
            return
        found = turns.share.next(turns.waiting)
        assert isinstance(found, Turn)
        turns.waiting.remove(found)
        turns.holder = found
        found._given.notify()

    def leave(self) -> None:
        """The camera takes no more turns."""
        turns = self._turns
        with turns.lock:
            if self in turns.waiting:
                turns.waiting.remove(self)
            if turns.holder is self:
                turns.holder = None
            self._pass_on()
            turns.share.leave(self)
