"""``entered``, ``exited`` and ``dwelling``, and how many are in each zone.

Geometry: a point of the subject, chosen by ``zone.inside``, lies in the polygon (even-odd rule).
It has entered after ``zone.enter_s`` inside without a break and left after ``zone.leave_s``
outside, so that a box that flickers at the edge enters once. A track that is given up has left
where it was last seen. ``dwelling`` comes once a visit, after ``zone.dwell_s``. Source: the
even-odd rule is Shimrat's, "Algorithm 112: position of point relative to polygon" (CACM 1962).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgecam.analysis.events.rule import Asked, Lasting, Memory, RuleKind, event
from edgecam.analysis.scene import Scene, Subject
from edgecam.analysis.zones import Polygon, is_inside
from edgecam.core.events import Event
from edgecam.core.keypoints import PERSON
from edgecam.core.rules import RULES
from edgecam.messages.label_names import label_key
from edgecam.settings.scene import ZoneSettings
from edgecam.settings.section import Section


@dataclass(slots=True)
class _Visit:
    """What is known of one track in one zone; ``last_s`` is when it was last seen inside."""

    inside: Lasting = field(default_factory=Lasting)
    subject: Subject | None = None
    number: int = 0
    started_s: float = 0.0
    last_s: float = 0.0
    dwells: bool = False


class _Zone:
    """One zone and who is in it."""

    def __init__(self, settings: ZoneSettings, number: Callable[[], int]) -> None:
        self.settings, self._number = settings, number
        self._polygon = Polygon(settings.polygon)
        self._labels = frozenset(map(label_key, settings.labels))
        self.visits: Memory[_Visit] = Memory(_Visit)
        # People who wait for someone want to know of an empty zone too.
        self._known = dict.fromkeys(map(label_key, settings.labels or (PERSON,)), 0)

    def counts(self) -> Mapping[str, int]:
        visits = self.visits.states.values()
        inside = [v.subject for v in visits if v.inside.is_on and v.subject is not None]
        now = Counter(label_key(subject.label) for subject in inside)
        self._known = {label: now[label] for label in {**self._known, **now}}
        return self._known

    def evaluate(self, scene: Scene) -> Iterator[Event]:
        for _, visit in self.visits.forget(scene):
            if visit.inside.is_on:
                yield self._exited(visit, scene)
        for subject in scene.subjects:
            if not self._labels or label_key(subject.label) in self._labels:
                yield from self._follow(self.visits[subject.track], subject, scene)

    def _follow(self, visit: _Visit, subject: Subject, scene: Scene) -> Iterator[Event]:
        zone, visit.subject = self.settings, subject
        inside = is_inside(self._polygon, subject, zone.inside, scene)
        if "zone" in subject.blind:
            inside = False
        turned = visit.inside.update(inside, scene.time_s, zone.enter_s, zone.leave_s)
        if turned and not visit.inside.is_on:
            yield self._exited(visit, scene)
        if inside:
            visit.last_s = scene.time_s
        if turned and visit.inside.is_on:
            visit.number, visit.started_s = self._number(), visit.inside.since_s
            visit.dwells = False
            yield event("entered", visit.number, scene, subject, visit.started_s, zone.name)
        since_s = scene.time_s - visit.started_s
        lasts = zone.dwell_s is not None and since_s >= zone.dwell_s - 1e-6
        if visit.inside.is_on and lasts and not visit.dwells:
            visit.dwells = True
            yield event("dwelling", visit.number, scene, subject, visit.started_s, zone.name)

    def _exited(self, visit: _Visit, scene: Scene) -> Event:
        if visit.subject is None:
            raise ValueError("a visit without a visitor")
        left = event(
            "exited", visit.number, scene, visit.subject, visit.started_s, self.settings.name
        )
        return replace(left, dwell_s=max(0.0, visit.last_s - visit.started_s))


class Zones:
    """All zones; those of one visit share a number."""

    name, title = "zone", "Zones"
    event_types = RULES[name]
    settings_type: type[Section] | None = None

    def __init__(self, zones: Sequence[ZoneSettings], number: Callable[[], int]) -> None:
        self._zones = [_Zone(settings, number) for settings in zones]

    @classmethod
    def asked_by(cls, asked: Asked, number: Callable[[], int]) -> Zones:
        """Return the rule for the zones that are asked for."""
        return cls(asked.zones, number)

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """Return all that the rule remembers of tracks, by name."""
        return {f"zone/{zone.settings.name}": zone.visits for zone in self._zones}

    def __call__(self, scene: Scene) -> Iterator[Event]:
        """Yield ``entered``, ``exited`` and ``dwelling`` of every zone in this frame."""
        for zone in self._zones:
            yield from zone.evaluate(scene)

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many of each label are in each zone; one that was there once is 0."""
        return {zone.settings.name: zone.counts() for zone in self._zones}


RULE: type[RuleKind] = Zones
