"""Trunk and head of a skeleton, and the postures in which they are upright."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgecam.core.keypoints import INDEX, SURE

if TYPE_CHECKING:
    from edgecam.core.result import Pose

# "upright" is a straight trunk of which nothing says whether it stands or sits.
STRAIGHT = frozenset({"standing", "sitting", "upright"})
# A trunk that is not level.
UPRIGHT = STRAIGHT | {"crouching"}

Point = tuple[float, float]
Points = Sequence[Sequence[float]]
SHOULDERS = (INDEX["left_shoulder"], INDEX["right_shoulder"])
HIPS = (INDEX["left_hip"], INDEX["right_hip"])
ANKLES = (INDEX["left_ankle"], INDEX["right_ankle"])


def trunk(pose: Pose) -> tuple[Point, Point] | None:
    """The middles of shoulders and hips, of the sides of which both are sure; None of neither."""
    xy: Points = pose.xy.tolist()
    sure = (pose.scores >= SURE).tolist()
    sides = [k for k in (0, 1) if sure[SHOULDERS[k]] and sure[HIPS[k]]]
    if not sides:
        return None
    return _middle(xy[SHOULDERS[k]] for k in sides), _middle(xy[HIPS[k]] for k in sides)


def head(pose: Pose) -> Point | None:
    """The middle of what is sure of the face and the shoulders; None of nothing."""
    rows = pose.xy[: SHOULDERS[1] + 1][pose.scores[: SHOULDERS[1] + 1] >= SURE]
    return _middle(rows.tolist()) if len(rows) else None


def _middle(points: Iterable[Sequence[float]]) -> Point:
    xs, ys = zip(*points, strict=True)
    return sum(xs) / len(xs), sum(ys) / len(ys)
