"""``wave``: a raised hand that swings from side to side.

Geometry: the wrist is above its elbow by half a forearm and not below the chest, or beside its
elbow at the height of the head; the trunk is upright, as far as it is seen. The wrist's sideways
place relative to its shoulder turns back at least three times within ``events.wave_window_s``, each
swing at least 0.4 forearms wide, while it goes up and down by less than 1.2 forearms. A look in
which the hand is blurred or out of place changes nothing unless that lasts. Both keypoints of
the forearm are sure. One ``wave`` is published for a hand until it has rested for the same time.
Source: the wave of Microsoft's Kinect gesture samples, the hand above the elbow and in turns to the
left and right of it; from the shoulder, an arm that swings as a whole counts too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from edgecam.analysis.events.rule import Asked, Memory, RuleKind, event
from edgecam.analysis.events.trunk import STRAIGHT
from edgecam.core.events import Event
from edgecam.core.keypoints import INDEX
from edgecam.core.rules import RULES
from edgecam.settings.section import Seconds, Section

if TYPE_CHECKING:
    from edgecam.analysis.scene import Scene, Subject

TURNS = 3
MIN_SWING_FOREARMS = 0.4
# Arms that are stretched and lowered in turns go further up and down.
MAX_RISE_FOREARMS = 1.2
# A forearm that points up: the wrist is so far above the elbow, and at most so far below the
# shoulder. One that points aside has to be at head height: so far above the shoulder.
UP_FOREARMS = 0.5
BESIDE_FOREARMS = -0.3
CHEST_FOREARMS = -1.0
HEAD_FOREARMS = 0.4
# A hand that is not raised for so long rests; less may be a blurred look.
RESTING_S = 0.2


@dataclass(slots=True)
class _Turn:
    """When a hand turned back, and how high it was between then and the turn before, in pixels."""

    time_s: float
    top_px: float
    bottom_px: float


@dataclass(slots=True)
class _Arm:
    """``extreme`` is the furthest place of the swing under way, ``direction`` its sign.

    ``top_px`` and ``bottom_px`` are how high the hand has been in it; ``low_s`` is since
    when it hangs.
    """

    forearm_px: float = 0.0
    extreme: float | None = None
    direction: int = 0
    top_px: float = 0.0
    bottom_px: float = 0.0
    low_s: float | None = None
    turns: list[_Turn] = field(default_factory=list)
    published_s: float | None = None

    def swing(self, offset_px: float, height_px: float, length_px: float, now_s: float) -> None:
        """Follow the wrist; remember when it turned back."""
        self.low_s = None
        # The longest seen: a forearm that points at the camera looks short.
        self.forearm_px = max(self.forearm_px, length_px)
        if self.extreme is None:
            self.extreme, self.top_px, self.bottom_px = offset_px, height_px, height_px
        self.top_px, self.bottom_px = min(self.top_px, height_px), max(self.bottom_px, height_px)
        least_px = MIN_SWING_FOREARMS * self.forearm_px
        moved_px = offset_px - self.extreme
        if self.direction == 0:
            if abs(moved_px) >= least_px:
                self.direction, self.extreme = (1 if moved_px > 0 else -1), offset_px
        elif moved_px * self.direction >= 0:
            self.extreme = offset_px
        elif abs(moved_px) >= least_px:
            self.direction, self.extreme = -self.direction, offset_px
            self.turns.append(_Turn(now_s, self.top_px, self.bottom_px))
            self.top_px = self.bottom_px = height_px

    def is_waving(self, now_s: float, window_s: float) -> bool:
        """Whether it turned back often enough lately, at about one height."""
        while self.turns and now_s - self.turns[0].time_s > window_s:
            del self.turns[0]
        if len(self.turns) < TURNS:
            return False
        rise_px = max(t.bottom_px for t in self.turns) - min(t.top_px for t in self.turns)
        return rise_px <= MAX_RISE_FOREARMS * self.forearm_px

    def rest(self, now_s: float) -> None:
        """The hand hangs, or the body is level; once that lasts, the wave is over."""
        self.low_s = now_s if self.low_s is None else self.low_s
        if now_s - self.low_s >= RESTING_S - 1e-6:
            self.extreme, self.direction = None, 0
            self.turns.clear()


@dataclass(slots=True)
class _Arms:
    left: _Arm = field(default_factory=_Arm)
    right: _Arm = field(default_factory=_Arm)


class WaveSettings(Section, frozen=True):
    """In which time a hand swings."""

    wave: Annotated[bool, Meta(description="a raised forearm that swings")] = True
    wave_window_s: Annotated[Seconds, Meta(description="the swings happen within")] = 2.0


class Waves:
    """Tells when a person waves, for each hand on its own."""

    name, title = "wave", "Waving"
    event_types = RULES[name]
    settings_type: type[Section] | None = WaveSettings

    def __init__(self, window_s: float, number: Callable[[], int]) -> None:
        self._window_s, self._number = window_s, number
        self._people: Memory[_Arms] = Memory(_Arms)

    @classmethod
    def asked_by(cls, asked: Asked, number: Callable[[], int]) -> Waves | None:
        """Return the rule, None where the settings leave it out."""
        own = asked.of(WaveSettings)
        return cls(own.wave_window_s, number) if own.wave else None

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """Return all that the rule remembers of tracks, by name."""
        return {self.name: self._people}

    def __call__(self, scene: Scene) -> Iterator[Event]:
        """Yield ``wave`` of the people in this frame."""
        self._people.keep(scene)
        for subject in scene.subjects:
            if subject.pose is None or self.name in subject.blind:
                continue
            arms = self._people[subject.track]
            for hand, arm in (("left", arms.left), ("right", arms.right)):
                yield from self._evaluate(scene, subject, hand, arm)

    def _evaluate(self, scene: Scene, subject: Subject, hand: str, arm: _Arm) -> Iterator[Event]:
        wrist, elbow = INDEX[f"{hand}_wrist"], INDEX[f"{hand}_elbow"]
        shoulder = INDEX[f"{hand}_shoulder"]
        if not subject.sure(wrist, elbow, shoulder):
            return
        (x, y), (shoulder_x, shoulder_y) = subject.point(wrist), subject.point(shoulder)
        elbow_at = subject.point(elbow)
        length_px = max(arm.forearm_px, math.dist((x, y), elbow_at), 1.0)
        is_raised = _is_raised((elbow_at[1] - y) / length_px, (shoulder_y - y) / length_px)
        if not is_raised or not (subject.posture is None or subject.posture in STRAIGHT):
            arm.rest(scene.time_s)
            return
        now_s = scene.time_s
        arm.swing(x - shoulder_x, y - shoulder_y, length_px, now_s)
        if not arm.is_waving(now_s, self._window_s):
            return
        is_new = arm.published_s is None or now_s - arm.published_s > self._window_s
        arm.published_s = now_s
        if is_new:
            number, about = self._number(), {"hand": hand}
            yield event("wave", number, scene, subject, arm.turns[0].time_s, None, about)


def _is_raised(above_elbow: float, above_shoulder: float) -> bool:
    """Whether a hand so many forearms above both is one that may wave."""
    if above_elbow >= UP_FOREARMS:
        return above_shoulder >= CHEST_FOREARMS
    return above_elbow >= BESIDE_FOREARMS and above_shoulder >= HEAD_FOREARMS


RULE: type[RuleKind] = Waves
