"""``wave``: a raised forearm that swings from side to side.

Geometry: while the wrist is above its elbow, the wrist's sideways place relative to the elbow, in
lengths of the forearm, turns back at least three times within ``events.wave_window_s``, each
swing at least 0.4 forearms wide. Both keypoints are sure. One ``wave`` is published for a hand
until it has rested for the same time. Source: the wave of Microsoft's Kinect gesture samples, the
hand above the elbow and in turns to the left and right of it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecam.analysis.events.rule import Asked, Memory, RuleKind, event
from edgecam.analysis.scene import Scene, Subject
from edgecam.core.events import Event
from edgecam.core.keypoints import INDEX
from edgecam.core.rules import RULES

TURNS = 3
MIN_SWING_FOREARMS = 0.4


@dataclass(slots=True)
class _Arm:
    """``extreme`` is the furthest place of the swing under way, ``direction`` its sign."""

    forearm_px: float = 0.0
    extreme: float | None = None
    direction: int = 0
    turns: deque[float] = field(default_factory=deque)
    told_s: float | None = None

    def swing(self, offset_px: float, length_px: float, now_s: float) -> None:
        """Follow the wrist; remember when it turned back."""
        # The longest seen: a forearm that points at the camera looks short.
        self.forearm_px = max(self.forearm_px, length_px)
        if self.extreme is None:
            self.extreme = offset_px
        least_px = MIN_SWING_FOREARMS * self.forearm_px
        moved_px = offset_px - self.extreme
        if self.direction == 0:
            if abs(moved_px) >= least_px:
                self.direction, self.extreme = (1 if moved_px > 0 else -1), offset_px
        elif moved_px * self.direction >= 0:
            self.extreme = offset_px
        elif abs(moved_px) >= least_px:
            self.direction, self.extreme = -self.direction, offset_px
            self.turns.append(now_s)

    def rest(self) -> None:
        """The forearm hangs."""
        self.extreme, self.direction = None, 0
        self.turns.clear()


@dataclass(slots=True)
class _Arms:
    left: _Arm = field(default_factory=_Arm)
    right: _Arm = field(default_factory=_Arm)


class Waves:
    """Tells when a person waves, for each hand on its own."""

    name, title = "wave", "Waving"
    event_types = RULES[name]

    def __init__(self, window_s: float, number: Callable[[], int]) -> None:
        self._window_s, self._number = window_s, number
        self._people: Memory[_Arms] = Memory(_Arms)

    @classmethod
    def asked_by(cls, asked: Asked, number: Callable[[], int]) -> Waves | None:
        """Return the rule, None where the settings leave it out."""
        return cls(asked.events.wave_window_s, number) if asked.events.wave else None

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
        if not subject.sure(wrist, elbow):
            return
        (x, y), (elbow_x, elbow_y) = subject.point(wrist), subject.point(elbow)
        if y >= elbow_y:
            arm.rest()
            return
        now_s = scene.time_s
        arm.swing(x - elbow_x, math.dist((x, y), (elbow_x, elbow_y)), now_s)
        while arm.turns and now_s - arm.turns[0] > self._window_s:
            arm.turns.popleft()
        if len(arm.turns) < TURNS:
            return
        is_new = arm.told_s is None or now_s - arm.told_s > self._window_s
        arm.told_s = now_s
        if is_new:
            number, about = self._number(), {"hand": hand}
            yield event("wave", number, scene, subject, arm.turns[0], None, about)


RULE: type[RuleKind] = Waves
