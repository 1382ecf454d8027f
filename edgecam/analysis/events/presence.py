"""``appeared`` and ``left``: a track is confirmed, and is given up.

Geometry: none; tracking decides (``tracking.min_hits`` sightings confirm a track, and it is given
up ``tracking.max_age_s`` after the last one, at the earliest when three looks of its model have
missed it). ``dwell_s`` of ``left`` ends at the last sighting.
Source: SORT (Bewley et al., "Simple online and realtime tracking", ICIP 2016) confirms and gives
up tracks by the same two numbers, there in frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgecam.analysis.events.rule import Memory, event
from edgecam.analysis.scene import Scene, Subject
from edgecam.core.events import Event


@dataclass(slots=True)
class _Stay:
    number: int
    subject: Subject
    last_s: float


class Presence:
    """Tells of every track's beginning and end; both share a number."""

    name = "presence"
    event_types: tuple[str, ...] = ("appeared", "left")

    def __init__(self, number: Callable[[], int]) -> None:
        self._number = number
        self._stays: Memory[_Stay] = Memory(_Stay)

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        return {self.name: self._stays}

    def __call__(self, scene: Scene) -> Iterator[Event]:
        for _, stay in self._stays.forget(scene):
            left = event("left", stay.number, scene, stay.subject, stay.subject.first_s)
            yield replace(left, dwell_s=max(0.0, stay.last_s - stay.subject.first_s))
        for subject in scene.subjects:
            stay_here = self._stays.states.get(subject.track)
            if stay_here is not None:
                stay_here.subject, stay_here.last_s = subject, scene.time_s
            elif self.name not in subject.blind:
                number = self._number()
                self._stays.states[subject.track] = _Stay(number, subject, scene.time_s)
                yield event("appeared", number, scene, subject, subject.first_s)
