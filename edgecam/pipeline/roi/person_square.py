"""The square of a frame that a refining model gets of one person, turned along their body.

Networks that refine learned from people who stand in the middle of a square. So the square's side
is 1.25 times the longer side of the box around a person, and where the body's axis, from the hips
to the shoulders, is more than 45 degrees from upright, the square is turned along it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import INDEX, SURE
from edgecam.core.result import Box, Pose

Array = NDArray[np.float64]

GROW = 1.25
# A keypoint that is hardly sure still says how far a person reaches: a foot that is cut off costs
# more than a square that is a little large.
REACH = 0.1
# Fewer keypoints than this say nothing: then all of them count.
_FEWEST = 3
_MIN_SIDE_PX = 16.0
# Networks that refine learned from people who lean less than this.
_LEAN = math.radians(45.0)
# A trunk that points at the camera has no direction in the picture: it is shorter than this
# share of the person's longer side.
_SHORT_TRUNK = 0.12
_SHOULDERS = [INDEX["left_shoulder"], INDEX["right_shoulder"]]
_HIPS = [INDEX["left_hip"], INDEX["right_hip"]]


@dataclass(frozen=True, slots=True, eq=False)
class Square:
    """``centre``: float64[2], pixel index; ``side_px``; ``lean``: of its upward side, clockwise."""

    centre: Array
    side_px: float
    lean: float = 0.0

    def matrix(self, input_px: int) -> Array:
        """float64[2, 3]: from pixel indices of the frame to those of an input this wide."""
        turn = _rotation(self.lean) * (input_px / self.side_px)
        middle = (input_px - 1) / 2.0
        return np.column_stack((turn, middle - turn @ self.centre))


def to_frame(xy: Array, matrix: Array) -> Array:
    """float64[K, 2]: pixel indices of an input as those of the frame; ``matrix`` led there."""
    return np.asarray((xy - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T, np.float64)


def box_of(pose: Pose) -> Array:
    """float64[4] (x_min, y_min, x_max, y_max) around all that a pose says of a person."""
    xy = _reaching(pose)
    return np.concatenate((xy.min(axis=0), xy.max(axis=0)))


def edges_of(box: Box) -> Array:
    """float64[4]: the same box."""
    return np.array((box.x_min, box.y_min, box.x_max, box.y_max))


def around_box(box: Array) -> Square:
    """The upright square around float64[4] (x_min, y_min, x_max, y_max)."""
    # Edges lie between pixels, keypoints on them.
    return _square((box[:2] + box[2:]) / 2.0 - 0.5, box[2:] - box[:2])


def around_pose(pose: Pose, turns: bool = False) -> Square:
    """The square around a person, turned along their body where they are not upright.

    ``turns``: where they lean at all.
    """
    xy = _reaching(pose)
    longer_px = float(np.ptp(xy, axis=0).max())
    lean = lean_of(pose, longer_px, 0.0 if turns else _LEAN)
    if lean == 0.0:
        return _square((xy.min(axis=0) + xy.max(axis=0)) / 2.0, np.ptp(xy, axis=0))
    rotation = _rotation(lean)
    turned = xy @ rotation.T
    middle = (turned.min(axis=0) + turned.max(axis=0)) / 2.0
    return _square(rotation.T @ middle, np.ptp(turned, axis=0), lean)


def lean_of(pose: Pose, longer_px: float, least: float = _LEAN) -> float:
    """Radians clockwise from upright to the body's axis; 0 of who is upright, or unclear.

    ``longer_px``: the longer side of the box around them. ``least``: who leans less is upright.
    """
    ends = []
    for rows in (_HIPS, _SHOULDERS):
        sure = [row for row in rows if pose.scores[row] >= SURE]
        if not sure:
            return 0.0
        ends.append(pose.xy[sure].mean(axis=0))
    right, down = ends[1] - ends[0]
    lean = math.atan2(right, -down)
    is_clear = math.hypot(right, down) >= _SHORT_TRUNK * longer_px
    return lean if is_clear and abs(lean) > least else 0.0


def _reaching(pose: Pose) -> Array:
    reaching = pose.scores >= REACH
    return pose.xy[reaching] if np.count_nonzero(reaching) >= _FEWEST else pose.xy


def _square(centre: Array, size: Array, lean: float = 0.0) -> Square:
    return Square(centre, max(_MIN_SIDE_PX, float(size.max()) * GROW), lean)


def _rotation(lean: float) -> Array:
    """float64[2, 2] that turns what leans so far upright."""
    return np.array(((math.cos(lean), math.sin(lean)), (-math.sin(lean), math.cos(lean))))
