"""``fall``: upright to lying within a stated time, and not up again; ``recovered``: up after all.

Geometry and source: ``edgecam.events.body``. A fall begins with the first frame that shows one
lying who was upright at most ``events.fall_within_s`` ago; who lies down more slowly has not
fallen. It is told after ``events.fall_confirm_s`` unless the trunk was upright again in between,
and ``recovered`` once it has been for ``events.recovered_s``. Bending, crouching and kneeling are
not lying. Frames whose shoulders or hips are not sure say nothing, and a fall is never told by
one. A mask that excludes ``fall`` makes blind for falls that begin inside it.

A fall that the network does not see is not told, and PoseNet was made for people who stand: of 20
people of COCO it finds 19 as they are, 17 turned by 30 degrees, 8 by 60 and 1 by 90. Where falls
matter choose a model that finds lying people, and try it; no alarm is no proof that all is well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecam.analysis.events.body import UPRIGHT
from edgecam.analysis.events.rule import Lasting, Memory, event
from edgecam.analysis.scene import Scene, Subject
from edgecam.core.events import Event
from edgecam.settings.scene import EventSettings

# One frame of a tumbling skeleton may look upright.
UPRIGHT_AGAIN_S = 0.3


@dataclass(slots=True)
class _Person:
    """``down_s`` is when a fall began that is not told yet, ``fallen`` the number of a told one."""

    up: Lasting = field(default_factory=Lasting)
    last_upright_s: float | None = None
    down_s: float | None = None
    fell_s: float = 0.0
    fallen: int | None = None


class Falls:
    """Watches each track on its own; a fall and its recovery share a number."""

    name = "fall"
    event_types: tuple[str, ...] = ("fall", "recovered")

    def __init__(self, settings: EventSettings, number: Callable[[], int]) -> None:
        self._settings, self._number = settings, number
        self._people: Memory[_Person] = Memory(_Person)

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        return {self.name: self._people}

    def __call__(self, scene: Scene) -> Iterator[Event]:
        self._people.keep(scene)
        for subject in scene.subjects:
            if subject.pose is not None:
                yield from self._look(scene, subject, self._people[subject.track])

    @property
    def fallen(self) -> frozenset[int]:
        """The tracks that have fallen and not got up."""
        return frozenset(t for t, p in self._people.states.items() if p.fallen is not None)

    def _look(self, scene: Scene, subject: Subject, person: _Person) -> Iterator[Event]:
        now_s, seen = scene.time_s, subject.posture
        if seen is None:
            return
        if self.name in subject.blind:
            person.down_s = person.last_upright_s = None
            seen = seen if person.fallen is not None else "bent"
        up_again_s = UPRIGHT_AGAIN_S if person.fallen is None else self._settings.recovered_s
        person.up.update(seen in UPRIGHT, now_s, up_again_s, 0.0)
        if person.up.is_on:
            if person.fallen is not None:
                yield event("recovered", person.fallen, scene, subject, person.fell_s)
            person.last_upright_s, person.down_s, person.fallen = now_s, None, None
        elif seen == "lying" and person.fallen is None:
            yield from self._lies(scene, subject, person)

    def _lies(self, scene: Scene, subject: Subject, person: _Person) -> Iterator[Event]:
        now_s, settings = scene.time_s, self._settings
        if person.down_s is None:
            upright_s, person.last_upright_s = person.last_upright_s, None
            if upright_s is None or now_s - upright_s > settings.fall_within_s:
                return
            person.down_s = now_s
        if now_s - person.down_s >= settings.fall_confirm_s - 1e-6:
            person.fallen, person.fell_s, person.down_s = self._number(), person.down_s, None
            yield event("fall", person.fallen, scene, subject, person.fell_s)
