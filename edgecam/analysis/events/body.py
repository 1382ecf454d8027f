"""The posture that a skeleton is in: angles and lengths of trunk, limbs and legs.

Lengths are in units of the body, so that they hold at any distance. A small network tells
standing, sitting, bent, crouching and lying by where the joints are relative to the middle of the
trunk, by how far the shoulders are below where the same person stood last, and by how far down the
camera looks and how high it hangs (``scene.pitch_degrees``, ``scene.height_m``), where that is
known. It learned from 60,000 people made of numbers: skeletons with the proportions of Drillis and
Contini's body segments, in rooms seen from all directions by cameras at 0.6 to 3 m, with the noise,
the losses and the hidden legs that PoseNet has (``scripts/train-posture``). Of others like them it
calls 96 % of those who lie so, and at most 0.3 % of those who stand. Whom a look at the turned
picture found lies where the trunk is level, whatever the network says. Without legs and where the
person never stood before, an upright trunk is ``upright``: whether they sit or stand is not said.

The camera looks level or down by up to 60 degrees: seen from straight above, everybody's trunk is
short, and nothing is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgecam.analysis import shape
from edgecam.analysis.events.trunk import ANKLES, HIPS, SHOULDERS, Point, trunk
from edgecam.core.keypoints import INDEX, SURE
from edgecam.core.result import Pose

# A posture is said from here on; one that was said before stays down to the second.
MIN_LIKELY = 0.6
MIN_STILL_LIKELY = 0.35
# Of one who lies no foot is further below the hips, in trunks: who bends or crouches is on theirs.
MAX_FEET_DROP = 0.6
# Of one whom a look at the turned picture found, in trunks: there one who lies looks as one who
# stands does, and a level trunk lies whatever the network makes of its limbs.
TURNED_MAX_FEET_DROP = 0.9
# So far from the vertical a trunk is level.
LEVEL_MIN_DEGREES = 60.0
# A camera that looks down by so much sees no trunk at its length.
CEILING_DEGREES = 60.0
# A trunk that is shorter than this part of the shoulders' width points at the camera.
MIN_TRUNK_TOSHOULDERS = 0.5

_LEGS = [INDEX["left_knee"], INDEX["right_knee"], *ANKLES]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known besides the skeleton; None of what is not.

    ``stood_px`` and ``stood_size_px``: where the shoulders were when the person stood last, y in
    the picture, and the stature then. ``below``: where in the picture they are, in heights of the
    picture below its middle. ``before``: the posture that was said last.
    """

    stood_px: float | None = None
    stood_size_px: float | None = None
    pitch_degrees: float | None = None
    height_m: float | None = None
    below: float = 0.0
    before: str | None = None

    @property
    def measures(self) -> shape.Known:
        """The same as the network takes it."""
        numbers = (self.stood_px, self.stood_size_px, self.pitch_degrees, self.height_m, self.below)
        return shape.Known(*(np.array([np.nan if n is None else n]) for n in numbers))


@dataclass(frozen=True, slots=True)
class Reading:
    """A posture, how likely it is, 0..1, and the stature in the picture in pixels."""

    posture: str
    likely: float
    size_px: float


NOTHING = Known()


def read(pose: Pose, known: Known = NOTHING, is_turned: bool = False) -> Reading | None:
    """standing, sitting, crouching, upright, bent or lying; None where the keypoints do not say.

    ``is_turned``: a look at the turned picture found it.

    It says nothing unless a shoulder and the hip of the same side are sure and the trunk does not
    point at the camera.
    """
    ends = trunk(pose)
    if ends is None:
        return None
    both = bool((pose.scores[[*SHOULDERS, *HIPS]] >= SURE).all())
    width_px = math.dist(*pose.xy[list(SHOULDERS)].tolist()) if both else 0.0
    if math.dist(*ends) < max(1.0, MIN_TRUNK_TOSHOULDERS * width_px):
        return None
    seen = shape.bodies(pose.xy[None], pose.scores[None])
    shares = shape.likely(shape.features(seen, known.measures))[0].tolist()
    likely = dict(zip(shape.POSTURES, shares, strict=True))
    has_legs = bool((pose.scores[_LEGS] >= SURE).any()) or known.stood_px is not None
    posture = chosen(likely, has_legs, known.before)
    if is_turned and _is_level(*ends) and _feet_drop(pose, *ends) <= TURNED_MAX_FEET_DROP:
        posture = "lying"
    elif posture == "lying" and _is_on_feet(pose, *ends):
        posture = "bent"
    straight = likely["standing"] + likely["sitting"] + likely["crouching"]
    return Reading(posture, likely.get(posture, straight), float(seen.size_px[0]))


def posture(pose: Pose, is_turned: bool = False) -> str | None:
    """The posture of one pose of which nothing else is known; None where it does not say.

    ``is_turned``: a look at the turned picture found it.
    """
    reading = read(pose, NOTHING, is_turned)
    return None if reading is None else reading.posture


def chosen(likely: dict[str, float], has_legs: bool, before: str | None) -> str:
    """The posture to say of how ``likely`` each is, 0..1, after the one ``before``.

    ``has_legs``: legs, or where the person stood, say who stands and who sits.
    """
    straight = likely["standing"] + likely["sitting"]
    if not has_legs and straight + likely["crouching"] >= MIN_LIKELY:
        return "upright"
    if before is not None and likely.get(before, 0.0) >= MIN_STILL_LIKELY:
        return before
    best = max(likely, key=lambda name: likely[name])
    if likely[best] >= MIN_LIKELY:
        return best
    return "upright" if straight >= MIN_LIKELY else "bent"


def _is_level(shoulders: Point, hips: Point) -> bool:
    across, down = abs(shoulders[0] - hips[0]), abs(shoulders[1] - hips[1])
    return math.degrees(math.atan2(across, down)) >= LEVEL_MIN_DEGREES


def _feet_drop(pose: Pose, shoulders: Point, hips: Point) -> float:
    """How far the lowest sure knee or foot is below the hips, in trunks; 0 where there is none."""
    legs = pose.xy[_LEGS][pose.scores[_LEGS] >= SURE]
    if not len(legs):
        return 0.0
    return (float(legs[:, 1].max()) - hips[1]) / math.dist(shoulders, hips)


def _is_on_feet(pose: Pose, shoulders: Point, hips: Point) -> bool:
    """Whether a trunk that is level in the picture has a knee or a foot far below it."""
    is_level = abs(shoulders[0] - hips[0]) >= abs(shoulders[1] - hips[1])
    return is_level and _feet_drop(pose, shoulders, hips) > MAX_FEET_DROP
