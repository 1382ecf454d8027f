"""``appeared``, ``lost`` and ``left``: a track is confirmed, out of sight, and is given up.

Geometry: none; tracking decides (``tracking.min_hits`` sightings confirm a track, and it is out of
sight ``tracking.max_age_s`` after the last one, at the earliest when three looks of its model have
missed it). Who was last seen at an edge of the picture, in a zone with ``door`` or beside a mask,
or was never a fifth as tall as the picture, has ``left``. Who was not is ``lost``: they sit behind
something, or lie. They count if they rested, and keep a place from being empty if not. They have
left, with the attribute ``unseen`` (seconds), ``tracking.lost_hold_s`` after the last sight, but
not while a fall there is suspected or reported. ``dwell_s`` of both ends at the last sight.
Source: SORT (Bewley et al., "Simple online and realtime tracking", ICIP 2016) confirms and gives
up tracks by the same two numbers, there in frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from edgecam.analysis.events.rule import Asked, Memory, RuleKind, event
from edgecam.core.events import Event
from edgecam.core.rules import RULES
from edgecam.settings.section import Section

if TYPE_CHECKING:
    from edgecam.analysis.scene import Scene, Stay


class PresenceSettings(Section, frozen=True):
    """Whether tracks that come and go are events."""

    presence: Annotated[bool, Meta(description="appeared, left")] = True


class Presence:
    """Tells of every track's beginning and end; both share a number."""

    name, title = "presence", "Presence"
    event_types = RULES[name]
    settings_type: type[Section] | None = PresenceSettings

    def __init__(self, number: Callable[[], int]) -> None:
        # Settings are read from this file, without NumPy.
        from edgecam.analysis.scene import Stay

        self._number = number
        self._stays: Memory[Stay] = Memory(Stay)

    @classmethod
    def asked_by(cls, asked: Asked, number: Callable[[], int]) -> Presence | None:
        """Return the rule, None where the settings leave it out."""
        return cls(number) if asked.of(PresenceSettings).presence else None

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """Return all that the rule remembers of tracks, by name."""
        return {self.name: self._stays}

    def __call__(self, scene: Scene) -> Iterator[Event]:
        """Yield ``appeared``, ``lost`` and ``left`` of the tracks in this frame."""
        for _, stay in self._stays.forget(scene):
            unseen = {"unseen": round(scene.time_s - stay.last_s, 3)} if stay.is_lost else {}
            yield self._gone("left", stay, scene, unseen)
        for subject in scene.subjects:
            stay_here = self._stays.states.get(subject.track)
            if stay_here is not None:
                # One who was lost and found has been here since they first came.
                stay_here.subject = replace(subject, first_s=stay_here.subject.first_s)
                stay_here.last_s, stay_here.is_lost = scene.time_s, False
            elif self.name not in subject.blind:
                number = self._number()
                self._stays.states[subject.track] = self._stays.make(number, subject, scene.time_s)
                yield event("appeared", number, scene, subject, subject.first_s)
        for subject in scene.lost:
            stay_there = self._stays.states.get(subject.track)
            if stay_there is not None and not stay_there.is_lost:
                stay_there.is_lost = True
                yield self._gone("lost", stay_there, scene, {})

    def _gone(
        self,
        event_type: Literal["lost", "left"],
        stay: Stay,
        scene: Scene,
        attributes: Mapping[str, float],
    ) -> Event:
        first_s = stay.subject.first_s
        gone = event(event_type, stay.number, scene, stay.subject, first_s, None, attributes)
        return replace(gone, dwell_s=max(0.0, stay.last_s - first_s))


RULE: type[RuleKind] = Presence
