"""Polygons in fractions of the frame, and what of a person has to be inside one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.scene import Scene, Subject
from edgecam.core.keypoints import INDEX, SURE

Array = NDArray[np.float64]
Point = tuple[float, float]

ANKLES = (INDEX["left_ankle"], INDEX["right_ankle"])
HIPS = (INDEX["left_hip"], INDEX["right_hip"])
WRISTS = {name: INDEX[name] for name in ("left_wrist", "right_wrist")}


class Polygon:
    """A closed polygon; ``corners`` are (x, y) in fractions of the frame."""

    def __init__(self, corners: Sequence[Point]) -> None:
        self._first = np.array(corners, np.float64)
        self._second = np.roll(self._first, -1, axis=0)

    def contains(self, points: Array) -> NDArray[np.bool_]:
        """bool[M] for float64[M, 2] in fractions of the frame.

        By the even-odd rule: how often a ray to the right meets an edge. Source: Shimrat,
        "Algorithm 112: position of point relative to polygon" (CACM 1962).
        """
        x, y = points[:, None, 0], points[:, None, 1]
        (x1, y1), (x2, y2) = self._first.T, self._second.T
        spans = (y1 > y) != (y2 > y)
        rise = np.where(y2 == y1, 1.0, y2 - y1)
        meets = spans & (x < x1 + (y - y1) * (x2 - x1) / rise)
        return np.asarray(meets.sum(axis=1) % 2 == 1)


def anchors(subject: Subject, inside: str) -> Array | None:
    """The points of a subject that may be inside, float64[M, 2] in pixels; None if none is sure.

    ``inside``: ``box_bottom`` (the middle of its lower edge), ``box_centre``, ``ankle`` (those
    that are sure), ``hips`` (the middle of the sure ones), ``keypoint`` (all that are sure). What
    has no keypoints counts by its box.
    """
    x_min, y_min, x_max, y_max = subject.box.tolist()
    if inside == "box_centre":
        return np.array([[(x_min + x_max) / 2.0, (y_min + y_max) / 2.0]])
    pose = subject.pose
    if inside == "box_bottom" or pose is None:
        return np.array([[(x_min + x_max) / 2.0, y_max]])
    wanted = {"ankle": ANKLES, "hips": HIPS, "keypoint": range(len(pose.scores))}[inside]
    points = pose.xy[[index for index in wanted if pose.scores[index] >= SURE]]
    if not len(points):
        return None
    return points.mean(axis=0, keepdims=True) if inside == "hips" else points


def is_inside(polygon: Polygon, subject: Subject, inside: str, scene: Scene) -> bool | None:
    """Whether any of its anchors is inside; None if it has none that is sure."""
    points = anchors(subject, inside)
    if points is None:
        return None
    return bool(polygon.contains(points / (scene.width_px, scene.height_px)).any())


def side(start: Point, end: Point, point: Point) -> float:
    """How far ``point`` lies to the right of the way from ``start`` to ``end``; left is negative.

    All in pixels, y down: right is as the picture shows it.
    """
    along = (end[0] - start[0], end[1] - start[1])
    across = along[0] * (point[1] - start[1]) - along[1] * (point[0] - start[0])
    return float(across / np.hypot(*along))


def meet(first: tuple[Point, Point], second: tuple[Point, Point]) -> bool:
    """Whether two straight pieces meet."""
    return (
        side(*first, second[0]) * side(*first, second[1]) <= 0.0
        and side(*second, first[0]) * side(*second, first[1]) <= 0.0
    )
