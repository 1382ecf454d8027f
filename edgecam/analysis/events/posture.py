"""``sitting``, ``crouching`` and ``lying``: a posture that lasts ``events.posture_s``.

Geometry and source: ``analysis.events.body``. Sitting is on a chair, a sofa or the floor, at a
table too where the same person stood before; crouching is on the heels or the knees, as one ties a
shoe or plays with a child; lying is on a bed, a sofa or the floor. A posture ends once another one
has lasted as long; what the keypoints do not say changes nothing, and neither does a trunk that
bends or is upright in an unknown way. Push-ups and yoga on the floor are lying, and so is a baby in
its cot where the network sees it; one in a wheelchair is sitting. From straight above nothing is
said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from edgecam.analysis.events.rule import Asked, Lasting, Memory, RuleKind, event
from edgecam.core.events import Event
from edgecam.core.rules import RULES
from edgecam.settings.section import Seconds, Section

if TYPE_CHECKING:
    from edgecam.analysis.scene import Scene, Subject

_Posture = Literal["unknown", "standing", "sitting", "crouching", "lying"]
_REPORTED: tuple[Literal["sitting", "crouching", "lying"], ...] = ("sitting", "crouching", "lying")
# What a look that shows these leaves open: all, and what has a straight trunk.
_OPEN = {"bent": frozenset({"standing", *_REPORTED}), "upright": frozenset({"standing", "sitting"})}


def _states() -> dict[_Posture, Lasting]:
    return {
        "standing": Lasting(),
        "sitting": Lasting(),
        "crouching": Lasting(),
        "lying": Lasting(),
    }


@dataclass(slots=True)
class _Body:
    current: _Posture = "unknown"
    states: dict[_Posture, Lasting] = field(default_factory=_states)


class PostureSettings(Section, frozen=True):
    """How long a posture lasts."""

    posture: Annotated[bool, Meta(description="sitting, crouching, lying")] = True
    posture_s: Annotated[Seconds, Meta(description="sitting, crouching or lying for so long")] = 1.0


class Postures:
    """Tells when a posture has lasted; ``of`` is the last one that has, by track."""

    name, title = "posture", "Postures"
    event_types = RULES[name]
    settings_type: type[Section] | None = PostureSettings

    def __init__(self, lasting_s: float, number: Callable[[], int]) -> None:
        self._lasting_s, self._number = lasting_s, number
        self._bodies: Memory[_Body] = Memory(_Body)

    @classmethod
    def asked_by(cls, asked: Asked, number: Callable[[], int]) -> Postures | None:
        """Return the rule, None where the settings leave it out."""
        own = asked.of(PostureSettings)
        return cls(own.posture_s, number) if own.posture else None

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """Return all that the rule remembers of tracks, by name."""
        return {self.name: self._bodies}

    def __call__(self, scene: Scene) -> Iterator[Event]:
        """Yield ``sitting``, ``crouching`` and ``lying`` of the people in this frame."""
        self._bodies.keep(scene)
        for subject in scene.subjects:
            if subject.pose is not None:
                yield from self._evaluate(scene, subject, self._bodies[subject.track])

    def _evaluate(self, scene: Scene, subject: Subject, body: _Body) -> Iterator[Event]:
        seen = None if self.name in subject.blind else subject.posture
        before, began = body.current, None
        for name, state in body.states.items():
            is_open = seen is None or name in _OPEN.get(seen, ())
            is_it = None if is_open else seen == name
            if state.update(is_it, scene.time_s, self._lasting_s, self._lasting_s):
                if state.is_on:
                    began = body.current = name
                elif body.current == name:
                    body.current = "unknown"
        for name in _REPORTED:
            if name == began:
                number, since_s = self._number(), body.states[name].since_s
                yield event(name, number, scene, subject, since_s, None, {"before": before})

    @property
    def of(self) -> dict[int, str]:
        """Of each track with a pose: standing, sitting, crouching, lying or unknown."""
        return {track: body.current for track, body in self._bodies.states.items()}


RULE: type[RuleKind] = Postures
