"""Events from tracks: a rule is one file here and one line in ``core.rules``.

A rule is fed every frame in order, keeps what it needs for each track, and knows no clock but the
frames': the same recording gives the same events. Rules see smoothed keypoints in source-frame
pixels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from edgecam.analysis.events.classified import Classified
from edgecam.analysis.events.fall import Falls
from edgecam.analysis.events.posture import Postures
from edgecam.analysis.events.rule import Asked, Memory, Rule, RuleKind
from edgecam.analysis.events.zone import Zones
from edgecam.analysis.scene import Scene
from edgecam.analysis.tracker import Numbers
from edgecam.core.events import POSTURES, Event
from edgecam.core.rules import RULES as NAMES
from edgecam.settings.scene import EventSettings, LineSettings, ZoneSettings

RULES: tuple[type[RuleKind], ...] = tuple(
    importlib.import_module(f"edgecam.analysis.events.{name}").RULE for name in NAMES
)


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
        self.numbers = Numbers(0)
        asked = Asked(settings, zones, lines)
        made = [kind.asked_by(asked, self._next_number) for kind in RULES]
        own = [rule for rule in made if rule is not None]
        self._by_name = {rule.name: rule for rule in own}
        self._rules = (*own, *(more(self._next_number) if more is not None else ()))

    def _next_number(self) -> int:
        return next(self.numbers)

    def evaluate(self, scene: Scene) -> tuple[Event, ...]:
        """What happened in this frame."""
        return tuple(event for rule in self._rules for event in rule(scene))

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """What each rule remembers, by its name; of zones and lines by theirs too."""
        return {name: kept for rule in self._rules for name, kept in rule.memories.items()}

    @property
    def falling(self) -> frozenset[int]:
        """The tracks of people whose fall is suspected or reported."""
        falls = self._by_name.get("fall")
        return falls.falling if isinstance(falls, Falls) else frozenset()

    @property
    def suspected(self) -> frozenset[int]:
        """The tracks of people whose fall is suspected and not decided."""
        falls = self._by_name.get("fall")
        return falls.falling - falls.fallen if isinstance(falls, Falls) else frozenset()

    @property
    def zone_counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many of each label are in each zone."""
        zones = self._by_name.get("zone")
        return zones.counts() if isinstance(zones, Zones) else {}

    @property
    def label(self) -> str | None:
        """What a classifier says of the picture, once that has lasted."""
        classified = self._by_name.get("classified")
        return classified.label if isinstance(classified, Classified) else None

    @property
    def posture(self) -> str:
        """The gravest posture of anybody in the picture, of ``insight.POSTURES``."""
        postures, falls = self._by_name.get("posture"), self._by_name.get("fall")
        found = dict(postures.of) if isinstance(postures, Postures) else {}
        if isinstance(falls, Falls):
            found |= dict.fromkeys(falls.fallen, "fallen")
        return max(found.values(), key=POSTURES.index, default="none")
