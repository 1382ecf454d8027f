"""``hands_up``: both wrists above the nose for ``events.hands_up_s``.

Geometry: each wrist is higher in the picture than the nose and than its own elbow, and the trunk is
upright; all five keypoints and a shoulder and hip of one side are sure, else nothing is said. The
hands of one who bends, crouches, falls or lies are not up. Lowering one hand ends it after the same
time. Source: the plain meaning of the gesture, and the COCO skeleton, which has no top of the head:
the face's keypoints are its highest, so a wrist above the nose is beside or above the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from edgecam.analysis.events.rule import Asked, Lasting, Memory, RuleKind, event
from edgecam.analysis.events.trunk import STRAIGHT
from edgecam.core.events import Event
from edgecam.core.keypoints import INDEX
from edgecam.core.rules import RULES
from edgecam.settings.section import Seconds, Section

if TYPE_CHECKING:
    from edgecam.analysis.scene import Scene, Subject

_NOSE = INDEX["nose"]
_ARMS = tuple((INDEX[f"{side}_wrist"], INDEX[f"{side}_elbow"]) for side in ("left", "right"))


def are_up(subject: Subject) -> bool | None:
    """Whether both hands are up; None where the keypoints do not say."""
    if subject.posture is not None and subject.posture not in STRAIGHT:
        return False
    if subject.posture is None or not subject.sure(_NOSE, *_ARMS[0], *_ARMS[1]):
        return None
    nose_y = subject.point(_NOSE)[1]
    return all(
        subject.point(wrist)[1] < min(nose_y, subject.point(elbow)[1]) for wrist, elbow in _ARMS
    )


class HandsUpSettings(Section, frozen=True):
    """How long both hands are up."""

    hands_up: Annotated[bool, Meta(description="both wrists above the nose")] = True
    hands_up_s: Annotated[Seconds, Meta(description="hands up for so long")] = 0.5


class HandsUp:
    """Tells once when a person raises both hands."""

    name, title = "hands_up", "Hands up"
    event_types = RULES[name]
    settings_type: type[Section] | None = HandsUpSettings

    def __init__(self, lasting_s: float, number: Callable[[], int]) -> None:
        self._lasting_s, self._number = lasting_s, number
        self._states: Memory[Lasting] = Memory(Lasting)

    @classmethod
    def asked_by(cls, asked: Asked, number: Callable[[], int]) -> HandsUp | None:
        """Return the rule, None where the settings leave it out."""
        own = asked.of(HandsUpSettings)
        return cls(own.hands_up_s, number) if own.hands_up else None

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """Return all that the rule remembers of tracks, by name."""
        return {self.name: self._states}

    def __call__(self, scene: Scene) -> Iterator[Event]:
        """Yield ``hands_up`` of the people in this frame."""
        self._states.keep(scene)
        for subject in scene.subjects:
            if subject.pose is None:
                continue
            value = False if self.name in subject.blind else are_up(subject)
            state = self._states[subject.track]
            if state.update(value, scene.time_s, self._lasting_s, self._lasting_s) and state.is_on:
                yield event("hands_up", self._number(), scene, subject, state.since_s)


RULE: type[RuleKind] = HandsUp
