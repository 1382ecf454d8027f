"""What every rule is made of: its protocol, a state that has to last, and the event it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from edgecam.core.events import Event, EventType
from edgecam.core.rules import OF_PLACES
from edgecam.settings.section import Section

if TYPE_CHECKING:
    from edgecam.analysis.scene import Scene, Subject
    from edgecam.settings.events import EventSettings
    from edgecam.settings.scene import LineSettings, ZoneSettings

Own = TypeVar("Own", bound=Section)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the settings ask of the rules."""

    events: EventSettings
    zones: Sequence[ZoneSettings] = ()
    lines: Sequence[LineSettings] = ()

    def may_ask(self, name: str) -> bool:
        """Whether a rule is asked for as far as is known before its file is loaded.

        Rules of places need one; of the others most are left out where their own key says so.
        """
        return name not in OF_PLACES or bool({"zone": self.zones, "line": self.lines}[name])

    def of(self, section: type[Own]) -> Own:
        """Return the part of ``[events]`` that a rule declared as ``section``."""
        return section(**{key: getattr(self.events, key) for key in section.__struct_fields__})


State = TypeVar("State")


class Rule(Protocol):
    """Looks at every frame in turn and tells what happened.

    ``name`` is what a mask calls it, ``event_types`` are those of its events.
    """

    name: str
    event_types: tuple[str, ...]

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """All that it remembers of tracks; a rule of several places names each."""
        ...

    def __call__(self, scene: Scene) -> Iterable[Event]:
        """Return the events in this frame."""
        ...


class RuleKind(Protocol):
    """A rule's class, as the registry has it; ``title`` heads its section of docs/events.md.

    ``settings_type`` holds its keys of ``[events]``; None of a rule of places.
    """

    name: str
    title: str
    event_types: tuple[str, ...]
    settings_type: type[Section] | None

    @classmethod
    def asked_by(cls, asked: Asked, number: Callable[[], int]) -> Rule | None:
        """Return the rule, None where the settings leave it out; ``number`` numbers events."""
        ...


@dataclass(slots=True)
class Lasting:
    """A state that is believed, on or off, once it has lasted; what is unknown changes nothing."""

    is_on: bool = False
    since_s: float = 0.0
    _turning_s: float | None = None

    def update(self, value: bool | None, now_s: float, on_s: float, off_s: float) -> bool:
        """Look once more; True if the state turned. ``since_s`` is then when it began to."""
        if value is None:
            return False
        if value == self.is_on:
            self._turning_s = None
            return False
        if self._turning_s is None:
            self._turning_s = now_s
        # A microsecond: frame times are rounded sums.
        if now_s - self._turning_s < (on_s if value else off_s) - 1e-6:
            return False
        self.is_on, self.since_s, self._turning_s = value, self._turning_s, None
        return True

    def clear(self) -> None:
        """Set the state to off, at once."""
        self.is_on, self._turning_s = False, None


@dataclass(slots=True)
class Memory(Generic[State]):
    """One state for every track, until the track is given up."""

    make: type[State]
    states: dict[int, State] = field(default_factory=dict)

    def __getitem__(self, track: int) -> State:
        if track not in self.states:
            self.states[track] = self.make()
        return self.states[track]

    def forget(self, scene: Scene) -> Iterator[tuple[int, State]]:
        """Yield and drop the states of the tracks that are gone."""
        for track in sorted(self.states.keys() - scene.alive):
            yield track, self.states.pop(track)

    def keep(self, scene: Scene) -> None:
        """Drop the states of the tracks that are gone."""
        for track in self.states.keys() - scene.alive:
            del self.states[track]


def event(
    event_type: EventType,
    number: int,
    scene: Scene,
    subject: Subject,
    started_s: float,
    zone: str | None = None,
    attributes: Mapping[str, str | float] | None = None,
) -> Event:
    """An event of ``subject`` in the frame at hand, of what began at ``started_s``."""
    return Event(
        event_type,
        number,
        scene.time_s,
        scene.unix_s,
        started_s,
        max(0.0, scene.time_s - started_s),
        subject.track,
        subject.label,
        subject.score,
        zone,
        attributes or {},
    )
