"""What a rule looks at: the people and things of one frame, by track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import SURE
from edgecam.core.result import Classification, Pose


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One confirmed track as seen in this frame.

    ``box`` is float64[4] (x_min, y_min, x_max, y_max) in source-frame pixels; ``pose`` is None
    for a detection. ``first_s`` is when the track was first seen. ``blind`` names the rules that a
    mask keeps from it. ``posture`` is what ``analysis.events.body`` makes of the pose.
    """

    track: int
    label: str
    score: float
    box: NDArray[np.float64]
    first_s: float
    pose: Pose | None = None
    blind: frozenset[str] = frozenset()
    posture: str | None = None

    def sure(self, *indices: int) -> bool:
        """Whether there is a pose and all these keypoints of it are sure."""
        return self.pose is not None and all(self.pose.scores[i] >= SURE for i in indices)

    def point(self, index: int) -> tuple[float, float]:
        """(x, y) of one keypoint in pixels.

        Raises:
            ValueError: it is no pose.
        """
        if self.pose is None:
            raise ValueError(f"track {self.track} is a {self.label} without keypoints")
        x, y = self.pose.xy[index].tolist()
        return x, y


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One frame: ``time_s`` on the clock of the frames, ``unix_s`` the wall clock at capture.

    ``subjects`` are the confirmed tracks that are seen in it; ``lost`` are the people who were
    lost inside the picture, as last seen; ``alive`` is the ids of all of these and of those that
    were lost from sight too short a time ago to be given up. ``surest`` is what a classifier
    sees first in the picture, None where none has looked.
    """

    time_s: float
    unix_s: float
    width_px: int
    height_px: int
    subjects: tuple[Subject, ...]
    alive: frozenset[int]
    lost: tuple[Subject, ...] = ()
    surest: Classification | None = None


@dataclass(slots=True)
class Stay:
    """The visit ``number`` of a subject, as last seen."""

    number: int
    subject: Subject
    last_s: float
    is_lost: bool = False
