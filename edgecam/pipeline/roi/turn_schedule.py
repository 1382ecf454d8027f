"""Which turned look a frame gets, if any: places first, then the whole frame.

Looks keep to a budget: the network invokes no tenth more often, but for suspected falls, which are
looked at twice a second until they are decided. In a scene in which nothing moves only these are
looked at. Whom the last look at a place found is still there then, so that is said once more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgecam.analysis.places import Place
from edgecam.analysis.tracker import MAX_GAP_S
from edgecam.core.result import TurnedLook

DEGREES = (90, 270)
# Turned looks for each upright one, and how many may be saved up.
SHARE = 0.08
SAVED_AT_START = 4.0
MAX_SAVED = 12.0
# Seconds between the looks at one place: so many at once, then longer and longer ones.
AT_ONCE = 2
FIRST_WAIT_S = 0.4
LONGER = 1.5
SUSPECTED_WAIT_S = 0.4
# Who is lost in a scene in which nothing moved for so long is a coat stand, or sits still.
MOVED_LATELY_S = 5.0
# A place is looked at for so long after the last movement: a sensor's noise shows it again.
MOVED_JUST_S = 3.0
# A place that was not asked for so long is forgotten.
FORGET_S = 5.0

WHOLE = -1
# The key of a person without an id.
_NEW = 0


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A look to make: the ``place``, None for the whole frame, and the turn.

    ``known``: what the last look there found, where nothing has moved since: no look is needed.
    """

    key: int
    degrees: int
    place: Place | None
    known: TurnedLook | None = None


@dataclass(slots=True)
class _Watch:
    """One place that is looked at: when next, turned how, and when it was last asked for.

    ``since_s``: what moved later may have changed what is there. ``found``: by the last look.
    """

    next_s: float
    asked_s: float
    since_s: float
    degrees: int = DEGREES[0]
    looks: int = 0
    wait_s: float = 0.0
    found: TurnedLook | None = None


@dataclass(slots=True)
class TurnSchedule:
    """Which turned look a frame gets; ``every_s`` from one at the whole frame to the next."""

    every_s: float
    _saved: float = SAVED_AT_START
    _last_s: float = -math.inf
    _watches: dict[int, _Watch] = field(default_factory=dict)

    def next(self, now_s: float, places: Sequence[Place], moved_s: float) -> Ask | None:
        """The look that a frame gets; ``moved_s``: when something moved in the scene last."""
        if now_s < self._last_s:
            # A recording that begins again.
            self._watches.clear()
        self._last_s = now_s
        self._saved = min(MAX_SAVED, self._saved + SHARE)
        by_key = {_NEW if each.track is None else each.track: each for each in places}
        for key in by_key:
            watch = _Watch(now_s, now_s, now_s - MOVED_LATELY_S)
            self._watches.setdefault(key, watch).asked_s = now_s
        whole = self._watches.setdefault(WHOLE, _Watch(now_s + self.every_s, now_s, now_s))
        whole.asked_s = now_s
        self._watches = {
            key: watch for key, watch in self._watches.items() if watch.asked_s > now_s - FORGET_S
        }
        due = [key for key in by_key if self._watches[key].next_s <= now_s + 1e-6]
        due.sort(key=lambda key: (not by_key[key].is_urgent, self._watches[key].next_s, key))
        for key in due:
            place, watch = by_key[key], self._watches[key]
            if place.is_urgent or (self._saved >= 1.0 and moved_s > watch.since_s):
                return self._ask(key, place)
            if watch.found is not None and moved_s <= watch.since_s:
                return Ask(key, watch.degrees, place, watch.found)
        if moved_s > whole.since_s and self._saved >= 1.0 and whole.next_s <= now_s + 1e-6:
            return self._ask(WHOLE, None)
        return None

    def spend(self) -> None:
        """One more invoke is made."""
        self._saved = max(0.0, self._saved - 1.0)

    def _ask(self, key: int, place: Place | None) -> Ask:
        self.spend()
        return Ask(key, self._watches[key].degrees, place)

    def looked(self, ask: Ask, found: TurnedLook | None) -> None:
        """A look was made; one that found a person is made again, turned in the same way."""
        watch, now_s = self._watches[ask.key], self._last_s
        watch.looks += 1
        watch.found = found if found is not None and found.poses else None
        if watch.found is None:
            watch.degrees = DEGREES[1 - DEGREES.index(ask.degrees)]
        if ask.place is None:
            watch.since_s = now_s
        elif ask.known is None and watch.looks >= AT_ONCE:
            watch.since_s = max(watch.since_s, now_s - MOVED_JUST_S)
        if ask.place is None:
            watch.next_s = now_s + self.every_s
        elif ask.place.is_urgent:
            watch.next_s = now_s + SUSPECTED_WAIT_S
        elif watch.looks >= AT_ONCE:
            longest_s = min(self.every_s, MAX_GAP_S)
            watch.wait_s = min(max(FIRST_WAIT_S, LONGER * watch.wait_s), longest_s)
            watch.next_s = now_s + watch.wait_s
