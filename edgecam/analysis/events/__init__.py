"""Events from tracks: a rule is one file here and one line in ``core.rules``.

A rule is fed every frame in order, keeps what it needs for each track, and knows no clock but the
frames': the same recording gives the same events. Rules see smoothed keypoints in source-frame
pixels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from edgecam.analysis.events.rule import Asked, Memory, Rule, RuleKind
from edgecam.analysis.numbers import Numbers
from edgecam.core.events import POSTURES, Event
from edgecam.core.rules import RULES as NAMES

if TYPE_CHECKING:
    from edgecam.analysis.events.classified import Classified
    from edgecam.analysis.events.fall import Falls
    from edgecam.analysis.events.posture import Postures
    from edgecam.analysis.events.zone import Zones
    from edgecam.analysis.scene import Scene
    from edgecam.settings.events import EventSettings
    from edgecam.settings.scene import LineSettings, ZoneSettings


def kind_of(name: str) -> type[RuleKind]:
    """Load a rule of the registry by its name."""
    kind: type[RuleKind] = importlib.import_module(f"edgecam.analysis.events.{name}").RULE
    return kind


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
        made = [kind_of(n).asked_by(asked, self._next_number) for n in NAMES if asked.may_ask(n)]
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
    def _falls(self) -> Falls | None:
        return cast("Falls | None", self._by_name.get("fall"))

    @property
    def falling(self) -> frozenset[int]:
        """The tracks of people whose fall is suspected or reported."""
        falls = self._falls
        return frozenset() if falls is None else falls.falling

    @property
    def suspected(self) -> frozenset[int]:
        """The tracks of people whose fall is suspected and not decided."""
        falls = self._falls
        return frozenset() if falls is None else falls.falling - falls.fallen

    @property
    def zone_counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many of each label are in each zone."""
        zones = cast("Zones | None", self._by_name.get("zone"))
        return {} if zones is None else zones.counts()

    @property
    def label(self) -> str | None:
        """What a classifier says of the picture, once that has lasted."""
        classified = cast("Classified | None", self._by_name.get("classified"))
        return None if classified is None else classified.label

    @property
    def posture(self) -> str:
        """The gravest posture of anybody in the picture, of ``insight.POSTURES``."""
        postures = cast("Postures | None", self._by_name.get("posture"))
        found, falls = {} if postures is None else dict(postures.of), self._falls
        if falls is not None:
            found |= dict.fromkeys(falls.fallen, "fallen")
        return max(found.values(), key=POSTURES.index, default="none")
