"""A person's way down, as the looks at them show it: how far, how fast, and what came then.

All in units of the person's own trunk as it was while they were upright.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecam.analysis.events.trunk import ANKLES, UPRIGHT

if TYPE_CHECKING:
    from edgecam.analysis.scene import Subject

# How far shoulders and hips come down, in trunks.
MIN_SHOULDER_DROP = 1.2
MIN_HIP_DROP = 0.5
# No fall is slower, in trunks a second: on the whole, and shoulders and hips where it is fastest.
# Who falls slowly, holding on, comes down freely in the end; who lies down never does.
MIN_FALL_SPEED = 0.8
MIN_PEAK_SPEED = 1.3
PEAK_S = 0.35
# One who gets up comes back up by this part of the way down; sitting on the floor is not up.
MIN_RISE = 0.5
# Of one who stands the trunk is so long, in units of what it was.
WHOLE_TRUNK = 0.75
# Who crouches or sits has feet so many trunks below the hips, with the trunk upright and bent; so
# many looks, and most of all, have to see it.
ON_FEET = 0.5
BENT_ON_FEET = 0.8
MIN_ON_FEET = 3
# Who is upright in so much of the looks since, hardly lies in any, and is still seen so, sits or
# crouches: no fall, unless they came down harder than one sits down.
MOST_UPRIGHT = 0.6
UPRIGHT_TRUNK = 0.6
HARDLY_LYING = 0.2
STILL_SEEN_S = 2.0
# So hard: in trunks a second, with a trunk that tilted or was lost from sight on the way.
HARD_SPEED = 2.0
# After it was noticed a fall goes on for so long.
STILL_FALLING_S = 0.5
# Who is not seen for longer than this on the way, or than so many times what looks are apart, may
# have tilted.
UNSEEN_S = 0.45
MISSED_LOOKS = 3.1
# Less than this part of a trunk from one look to the next is no movement.
STILL = 0.15


@dataclass(slots=True)
class Height:
    """Where shoulders and hips were in the picture, y down in pixels; ``x`` of the shoulders.

    ``posture`` as ``edgecam.events.body`` calls it, empty where it does not say.
    """

    time_s: float
    x: float
    shoulders: float
    hips: float
    posture: str

    @property
    def is_upright(self) -> bool:
        """Whether the trunk is."""
        return self.posture in UPRIGHT


@dataclass(frozen=True, slots=True)
class Way:
    """From where a person was upright to where they are: trunks, and at least so many seconds.

    ``took_s`` is how long it took, as far as looks can tell, ``peak`` how fast it was where it was
    fastest. ``tilt`` is by how much more the shoulders came down than the hips.
    """

    stood: Height
    unit_px: float
    drop: float
    hip_drop: float
    least_s: float
    took_s: float
    peak: float

    @property
    def is_fall_fast(self) -> bool:
        """Whether it went as fast as a fall."""
        return self.drop >= MIN_FALL_SPEED * self.took_s - 1e-6 and self.peak >= MIN_PEAK_SPEED

    @property
    def tilt(self) -> float:
        """How far the head came down beyond the hips, in trunks."""
        return self.drop - self.hip_drop


@dataclass(slots=True)
class Descent:
    """A way down from where a person stood: when it was noticed, how far, and what came then.

    ``looks`` saw the person since, ``lying`` of them as one who lies, ``on_feet`` as one who
    crouches or sits on something, and ``upright`` with an upright trunk; the last at ``seen_s``.
    ``is_fast``: faster than one sits down. ``is_tilted``: the trunk was not upright all the way.
    ``number`` is that of the fall, once it is published; ``is_twin``: as another track of the same
    person.
    """

    since_s: float
    stood: Height
    unit_px: float
    drop: float
    moved_s: float
    is_fast: bool = False
    is_tilted: bool = False
    seen_s: float = 0.0
    looks: int = 0
    lying: int = 0
    on_feet: int = 0
    upright: int = 0
    number: int | None = None
    is_twin: bool = False

    def follow(self, height: Height, before: Height | None) -> None:
        """See the person once more."""
        self.looks += 1
        self.seen_s = height.time_s
        if not height.is_upright and height.time_s <= self.since_s + STILL_FALLING_S:
            self.is_tilted = True
        self.drop = max(self.drop, (height.shoulders - self.stood.shoulders) / self.unit_px)
        if before is None or distance_px(height, before) > STILL * self.unit_px:
            self.moved_s = height.time_s

    def is_over(self, height: Height, trunk_px: float) -> bool:
        """Whether the person is up: upright and back up, or standing, whole or walking.

        Whose feet point at the camera may look as if they stood, with a short trunk, and so may a
        chair.
        """
        if height.is_upright and self.is_undone(height):
            return True
        is_whole = trunk_px >= WHOLE_TRUNK * self.unit_px
        return height.posture == "standing" and (is_whole or self.moved_s == height.time_s)

    def is_no_fall(self, now_s: float) -> bool:
        """Whether the looks since say that the person crouches, as to tie a shoe, or sits down."""
        lies = 4 * self.lying > self.looks
        if not lies and self.on_feet >= MIN_ON_FEET and 2 * self.on_feet > self.looks:
            return True
        is_hard = self.is_fast and self.is_tilted
        if is_hard or now_s - self.seen_s > STILL_SEEN_S or self.upright < MIN_ON_FEET:
            return False
        is_upright = self.upright > MOST_UPRIGHT * self.looks
        return is_upright and self.lying <= HARDLY_LYING * self.looks

    def is_undone(self, height: Height) -> bool:
        """Whether the shoulders are back up."""
        down = (height.shoulders - self.stood.shoulders) / self.unit_px
        return down < (1.0 - MIN_RISE) * self.drop

    def attributes(self, now_s: float, confirm_s: float) -> dict[str, str | float]:
        """What speaks for a fall, and how surely."""
        still_s = max(0.0, now_s - self.moved_s)
        lying = self.lying / max(1, self.looks)
        # Half for the way down, a quarter each for lying and for keeping still.
        sure = 0.5 * min(1.0, self.drop / (MIN_SHOULDER_DROP + 0.8)) + 0.25 * lying
        sure += 0.25 * (min(1.0, still_s / confirm_s) if confirm_s else 1.0)
        return {
            "confidence": round(sure, 2),
            "drop": round(self.drop, 2),
            "lying_seen": round(lying, 2),
            "still_s": round(still_s, 2),
            "looks": float(self.looks),
        }


def is_on_feet(subject: Subject, height: Height, trunk_px: float, unit_px: float) -> bool:
    """Whether they crouch, or sit on something; a chair that looks like a person has no trunk."""
    ankles = [subject.point(i)[1] for i in ANKLES if subject.sure(i)]
    if not ankles or trunk_px < WHOLE_TRUNK * unit_px:
        return False
    is_upright = height.hips - height.shoulders >= WHOLE_TRUNK * unit_px
    return max(ankles) - height.hips >= (ON_FEET if is_upright else BENT_ON_FEET) * unit_px


def peak_speed(heights: Sequence[Height], unit_px: float, apart_s: float) -> float:
    """How fast shoulders and hips came down at most, trunks a second; ``heights`` in order.

    Where looks are rare, ``apart_s`` from each other, it took a part of the time between two.
    """
    fastest, begins = 0.0, 0
    for place, height in enumerate(heights):
        while begins + 1 < place and height.time_s - heights[begins + 1].time_s >= PEAK_S - 1e-6:
            begins += 1
        before = heights[begins]
        took_s = height.time_s - before.time_s
        if took_s < PEAK_S - 1e-6:
            continue
        if apart_s >= PEAK_S and begins + 1 == place and took_s <= MISSED_LOOKS * apart_s:
            took_s /= 2.0
        down_px = height.shoulders - before.shoulders + height.hips - before.hips
        fastest = max(fastest, down_px / 2.0 / unit_px / took_s)
    return fastest


def are_close(way: Sequence[Height], unseen_s: float) -> bool:
    """Whether the looks are all closer together than ``unseen_s``."""
    return all(b.time_s - a.time_s <= unseen_s for a, b in itertools.pairwise(way))


def may_begin(way: Sequence[Height], unseen_s: float) -> bool:
    """Whether a way down may begin so: who is lost while they crouch may lie down slowly."""
    return way[0].is_upright and (way[0].posture != "crouching" or are_close(way, unseen_s))


def distance_px(first: Height, second: Height) -> float:
    """How far apart the shoulders are."""
    return math.dist((first.x, first.shoulders), (second.x, second.shoulders))
