"""``classified``: what a classifier says of the picture becomes another, and that lasts.

Geometry: none; it is of the whole picture. Source: the classifier's scores alone.

A label counts once it has been the surest for ``events.classified_s``. The first one is a state
and no change; the event has the one before in ``attributes``. It is of the whole picture: its track
is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from edgecam.analysis.events.rule import Asked, Memory, RuleKind
from edgecam.core.events import Event
from edgecam.core.rules import RULES
from edgecam.settings.section import Seconds, Section

if TYPE_CHECKING:
    from edgecam.analysis.scene import Scene

_PICTURE = 0


@dataclass(slots=True)
class _Seen:
    """The ``label`` that counts, and the surest one since ``since_s``."""

    label: str = ""
    surest: str = ""
    since_s: float = 0.0


class ClassifiedSettings(Section, frozen=True):
    """How long a classifier names the same label first."""

    classified: Annotated[
        bool, Meta(description="another label of a classifier for the picture")
    ] = True
    classified_s: Annotated[
        Seconds, Meta(description="a classifier's label is the surest for so long")
    ] = 1.0


class Classified:
    """Follows the surest label of the picture."""

    name, title = "classified", "Classified"
    event_types = RULES[name]
    settings_type: type[Section] | None = ClassifiedSettings

    def __init__(self, lasts_s: float, tells: bool, number: Callable[[], int]) -> None:
        """``tells``: whether there are events; the state is known without."""
        self._lasts_s, self._tells, self._number = lasts_s, tells, number
        self._seen: Memory[_Seen] = Memory(_Seen)

    @classmethod
    def asked_by(cls, asked: Asked, number: Callable[[], int]) -> Classified:
        """Return the rule."""
        own = asked.of(ClassifiedSettings)
        return cls(own.classified_s, own.classified, number)

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """What it remembers of the picture, by its name."""
        return {self.name: self._seen}

    @property
    def label(self) -> str | None:
        """The label that counts now, None before there is any."""
        return self._seen[_PICTURE].label or None

    def __call__(self, scene: Scene) -> Iterator[Event]:
        """Yield an event where the label that counts has become another."""
        surest, seen = scene.surest, self._seen[_PICTURE]
        if surest is None:
            return
        if surest.label != seen.surest:
            seen.surest, seen.since_s = surest.label, scene.time_s
        # A microsecond: frame times are rounded sums.
        lasted_s = scene.time_s - seen.since_s
        if seen.surest == seen.label or lasted_s < self._lasts_s - 1e-6:
            return
        before, seen.label = seen.label, seen.surest
        if before and self._tells:
            yield Event(
                "classified",
                self._number(),
                scene.time_s,
                scene.unix_s,
                seen.since_s,
                lasted_s,
                _PICTURE,
                seen.label,
                surest.score,
                attributes={"before": before},
            )


RULE: type[RuleKind] = Classified
