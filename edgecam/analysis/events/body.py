"""The posture that a skeleton is in: angles and lengths of trunk and legs.

Lengths are in units of the trunk (middle of the shoulders to middle of the hips), so that they
hold at any distance. The trunk's angle against the vertical and the proportions of the whole tell
who stands from who lies. Source: Chen, Jiang, Guo, Ni, "Fall detection based on key points of
human-skeleton using OpenPose" (Symmetry 12(5), 2020): angle of the centre line with the ground
below 45 degrees, and a body that is wider than high. To these comes how far the feet are below
the hips, which tells one who lies from one who bends, crouches or kneels to tie a shoe.

The camera looks more or less level: seen from straight above, everybody's trunk is short, and
nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from edgecam.core.keypoints import INDEX, SURE
from edgecam.core.result import Pose

UPRIGHT_MAX_DEGREES = 45.0
LYING_MIN_DEGREES = 60.0
# Feet below the hips: lying about 0, crouching 0.5 and more, standing 1.5.
LYING_MAX_ANKLE_DROP = 0.4
LYING_MAX_KNEE_DROP = 0.3
LYING_MIN_WIDTH_TO_HEIGHT = 1.2
# Found in the turned picture: who bends, with a level trunk too, stands on feet further down.
TURNED_MAX_DROP = 0.9
# Knees below the hips: sitting 0 to 0.4, standing 0.8.
SITTING_MAX_KNEE_DROP = 0.45
STANDING_MIN_KNEE_DROP = 0.6
# A trunk that is shorter than this part of the shoulders' width points at the camera.
MIN_TRUNK_TO_SHOULDERS = 0.5

# Trunk and legs; "upright" is a straight trunk whose legs say nothing.
UPRIGHT = frozenset({"standing", "sitting", "upright"})

Point = tuple[float, float]
Points = Sequence[Sequence[float]]
_SHOULDERS = (INDEX["left_shoulder"], INDEX["right_shoulder"])
_HIPS = (INDEX["left_hip"], INDEX["right_hip"])
_KNEES = (INDEX["left_knee"], INDEX["right_knee"])
ANKLES = (INDEX["left_ankle"], INDEX["right_ankle"])
_OUTLINE = (INDEX["nose"], *_SHOULDERS, *_HIPS, *_KNEES, *ANKLES)


def trunk(pose: Pose) -> tuple[Point, Point] | None:
    """The middles of shoulders and hips, of the sides of which both are sure; None of neither."""
    xy: Points = pose.xy.tolist()
    sure = (pose.scores >= SURE).tolist()
    sides = [k for k in (0, 1) if sure[_SHOULDERS[k]] and sure[_HIPS[k]]]
    if not sides:
        return None
    return _middle(xy[_SHOULDERS[k]] for k in sides), _middle(xy[_HIPS[k]] for k in sides)


def head(pose: Pose) -> Point | None:
    """The middle of what is sure of the face and the shoulders; None of nothing."""
    rows = pose.xy[: _SHOULDERS[1] + 1][pose.scores[: _SHOULDERS[1] + 1] >= SURE]
    return _middle(rows.tolist()) if len(rows) else None


def posture(pose: Pose, is_turned: bool = False) -> str | None:
    """standing, sitting, upright, bent or lying; None where the keypoints do not say.

    It says nothing unless a shoulder and the hip of the same side are sure. ``is_turned``: a look
    at the turned picture found it, in which one who lies looks like one who stands: a level trunk
    then lies, unless the feet are far below it.
    """
    xy: Points = pose.xy.tolist()
    sure = (pose.scores >= SURE).tolist()
    ends = trunk(pose)
    if ends is None:
        return None
    shoulder, hip = ends
    trunk_px = math.dist(shoulder, hip)
    both = all(sure[i] for i in (*_SHOULDERS, *_HIPS))
    width_px = math.dist(*(xy[i] for i in _SHOULDERS)) if both else 0.0
    if trunk_px < max(1.0, MIN_TRUNK_TO_SHOULDERS * width_px):
        return None
    degrees = math.degrees(math.atan2(abs(shoulder[0] - hip[0]), hip[1] - shoulder[1]))
    knee_drop = _drop(xy, sure, _KNEES, hip, trunk_px)
    ankle_drop = _drop(xy, sure, ANKLES, hip, trunk_px)
    if degrees < UPRIGHT_MAX_DEGREES:
        return _upright(knee_drop)
    if degrees >= LYING_MIN_DEGREES:
        if is_turned and max(knee_drop or 0.0, ankle_drop or 0.0) <= TURNED_MAX_DROP:
            return "lying"
        return _level(knee_drop, ankle_drop, [xy[i] for i in _OUTLINE if sure[i]])
    return "bent"


def _upright(knee_drop: float | None) -> str:
    if knee_drop is not None and knee_drop <= SITTING_MAX_KNEE_DROP:
        return "sitting"
    if knee_drop is not None and knee_drop >= STANDING_MIN_KNEE_DROP:
        return "standing"
    return "upright"


def _level(knee_drop: float | None, ankle_drop: float | None, outline: Points) -> str | None:
    if ankle_drop is not None:
        flat = ankle_drop <= LYING_MAX_ANKLE_DROP
    elif knee_drop is not None:
        flat = knee_drop <= LYING_MAX_KNEE_DROP
    else:
        # A trunk alone may belong to one who lies or to one who bends over.
        return None
    xs, ys = zip(*outline, strict=True)
    wide = max(xs) - min(xs) >= LYING_MIN_WIDTH_TO_HEIGHT * (max(ys) - min(ys))
    return "lying" if flat and wide else "bent"


def _middle(points: Iterable[Sequence[float]]) -> Point:
    xs, ys = zip(*points, strict=True)
    return sum(xs) / len(xs), sum(ys) / len(ys)


def _drop(
    xy: Points,
    sure: Sequence[bool],
    indices: Sequence[int],
    hip: Point,
    trunk_px: float,
) -> float | None:
    """How far the lowest sure one of these joints is below the hips, in trunks."""
    below = [xy[i][1] - hip[1] for i in indices if sure[i]]
    return max(below) / trunk_px if below else None
