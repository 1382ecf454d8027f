"""Synthetic people: 17 keypoints in pixels, y down, of a person who stands, walks, sits or falls.

The proportions are those of a grown-up, in units of the trunk (shoulders to hips).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgecam.core.keypoints import INDEX, NAMES
from edgecam.core.result import Pose

Point = tuple[float, float]

# (x, y) from the middle of the hips, y up, seen from the side and a little from the front.
STANDING: dict[str, Point] = {
    "nose": (0.08, 1.38),
    "left_eye": (0.11, 1.44),
    "right_eye": (0.05, 1.44),
    "left_ear": (0.12, 1.42),
    "right_ear": (-0.06, 1.42),
    "left_shoulder": (0.30, 1.0),
    "right_shoulder": (-0.30, 1.0),
    "left_elbow": (0.36, 0.5),
    "right_elbow": (-0.36, 0.5),
    "left_wrist": (0.38, 0.05),
    "right_wrist": (-0.38, 0.05),
    "left_hip": (0.18, 0.0),
    "right_hip": (-0.18, 0.0),
    "left_knee": (0.18, -0.85),
    "right_knee": (-0.18, -0.85),
    "left_ankle": (0.18, -1.65),
    "right_ankle": (-0.18, -1.65),
}
LEGS = {
    "sitting": {
        "left_knee": (0.75, -0.1),
        "right_knee": (0.65, -0.15),
        "left_ankle": (0.75, -0.95),
        "right_ankle": (0.65, -1.0),
    },
    # On the heels, as one ties a shoe.
    "crouching": {
        "left_knee": (0.7, 0.0),
        "right_knee": (0.6, -0.1),
        "left_ankle": (0.15, -0.65),
        "right_ankle": (0.05, -0.6),
    },
}


def person(
    x: float = 300.0,
    y: float = 300.0,
    trunk_px: float = 100.0,
    lean_degrees: float = 0.0,
    whole: bool = True,
    legs: str = "standing",
    moved: Mapping[str, Point] | None = None,
    unsure: tuple[str, ...] = (),
    score: float = 0.9,
    jitter_px: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Pose:
    """A person whose hips are at (x, y) pixels, turned by ``lean_degrees`` to the right.

    With ``whole`` the legs turn too, as in a fall; else only what is above the hips bends.
    ``moved`` replaces keypoints before that, in trunks from the hips, y up.
    """
    shape = {**STANDING, **LEGS.get(legs, {}), **(moved or {})}
    turn = math.radians(lean_degrees)
    xy, scores = np.zeros((17, 2)), np.full(17, score)
    for name in NAMES:
        right, up = shape[name]
        if whole or not name.endswith(("hip", "knee", "ankle")):
            right, up = (
                right * math.cos(turn) + up * math.sin(turn),
                up * math.cos(turn) - right * math.sin(turn),
            )
        xy[INDEX[name]] = x + right * trunk_px, y - up * trunk_px
    for name in unsure:
        scores[INDEX[name]] = 0.1
    if jitter_px and rng is not None:
        xy += rng.normal(0.0, jitter_px, xy.shape)
    return Pose(score, xy, scores)


def hands_up(height: float = 1.8) -> dict[str, Point]:
    """Both wrists so many trunks above the hips."""
    return {
        "left_elbow": (0.45, 1.3),
        "right_elbow": (-0.45, 1.3),
        "left_wrist": (0.4, height),
        "right_wrist": (-0.4, height),
    }


def waving(time_s: float, rate_hz: float = 1.0, width: float = 0.3) -> dict[str, Point]:
    """The right forearm up, its hand swinging."""
    swing = width * math.sin(2.0 * math.pi * rate_hz * time_s)
    return {"right_elbow": (-0.55, 0.8), "right_wrist": (-0.55 + swing, 1.2)}
