"""Events from tracks: each rule is one file, and one line in ``_rules``.

A rule is fed every frame in order, keeps what it needs for each track, and knows no clock but the
frames': the same recording gives the same events. Rules see smoothed keypoints in source-frame
pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from edgecam.analysis.events.fall import Falls
from edgecam.analysis.events.hands_up import HandsUp
from edgecam.analysis.events.line import Lines
from edgecam.analysis.events.posture import Postures
from edgecam.analysis.events.presence import Presence
from edgecam.analysis.events.rule import Memory, Rule
from edgecam.analysis.events.wave import Waves
from edgecam.analysis.events.zone import Zones
from edgecam.analysis.scene import Scene
from edgecam.analysis.tracker import Numbers
from edgecam.core.events import POSTURES, Event
from edgecam.settings.scene import EventSettings, LineSettings, ZoneSettings


class Rules:
    """Every rule that the settings ask for."""

    def __init__(
        self,
        settings: EventSettings,
        zones: Sequence[ZoneSettings] = (),
        lines: Sequence[LineSettings] = (),
        more: Callable[[Callable[[], int]], Iterable[Rule]] | None = None,
    ) -> None:
        """``more`` makes the rules of plugins, given what numbers their events."""
        self._zones = Zones(zones, self._next_number)
        self._postures = Postures(settings.posture_s, self._next_number)
        self._falls = Falls(settings, self._next_number)
        self.numbers = Numbers(0)
        self._rules = (
            *self._chosen(settings, lines),
            *(more(self._next_number) if more is not None else ()),
        )

    def _next_number(self) -> int:
        return next(self.numbers)

    def _chosen(self, settings: EventSettings, lines: Sequence[LineSettings]) -> Iterator[Rule]:
        if settings.presence:
            yield Presence(self._next_number)
        yield self._zones
        yield Lines(lines, self._next_number)
        if settings.hands_up:
            yield HandsUp(settings.hands_up_s, self._next_number)
        if settings.wave:
            yield Waves(settings.wave_window_s, self._next_number)
        if settings.posture:
            yield self._postures
        if settings.fall:
            yield self._falls

    def look(self, scene: Scene) -> tuple[Event, ...]:
        """What happened in this frame."""
        return tuple(event for rule in self._rules for event in rule(scene))

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """What each rule remembers, by its name; of zones and lines by theirs too."""
        return {name: kept for rule in self._rules for name, kept in rule.memories.items()}

    @property
    def falling(self) -> frozenset[int]:
        """The tracks of people whose fall is suspected or reported."""
        return self._falls.falling

    @property
    def zone_counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many of each label are in each zone."""
        return self._zones.counts()

    @property
    def posture(self) -> str:
        """The gravest posture of anybody in the picture, of ``insight.POSTURES``."""
        found = {**self._postures.of, **dict.fromkeys(self._falls.fallen, "fallen")}
        return max(found.values(), key=POSTURES.index, default="none")
