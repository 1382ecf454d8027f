"""How a camera sees joints, and what a network like PoseNet makes of them: its error model.

The figures of the model are those of PoseNet on people of COCO: whom it finds at which angle of
the trunk in the picture, keypoints that are off by about one falloff of their OKS, and losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import INDEX, OKS_SIGMAS, SURE

Array = NDArray[np.float64]
Chance = np.random.Generator

SIZE_PX = (640, 480)
# Share of people found by the angle of the trunk against the picture's vertical, in degrees.
FOUND_AT = (0.0, 30.0, 60.0, 85.0, 180.0)
FOUND = (0.97, 0.55, 0.10, 0.0, 0.0)
# The same of looks at the turned picture: those who lie across.
FOUND_TURNED = (0.0, 0.10, 0.45, 0.77, 0.0)
_FACE = [INDEX[n] for n in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
_LEGS = [INDEX[f"{side}_{joint}"] for side in ("left", "right") for joint in ("knee", "ankle")]
_SHOULDERS = [INDEX["left_shoulder"], INDEX["right_shoulder"]]
_HIPS = [INDEX["left_hip"], INDEX["right_hip"]]
_SIGMAS = np.array(OKS_SIGMAS)


@dataclass(frozen=True, slots=True)
class Cameras:
    """Where each look's camera hangs, float64[F]: degrees around the room's middle, metres from it
    and above the floor.

    ``pitch_degrees``: how far it looks down. ``view_degrees``: across the picture.
    """

    azimuth_degrees: Array
    distance_m: Array
    height_m: Array
    pitch_degrees: Array
    view_degrees: Array

    @property
    def focal_px(self) -> Array:
        """Pixels per unit of a ray's slope."""
        return np.asarray(SIZE_PX[0] / 2.0 / np.tan(np.radians(self.view_degrees / 2.0)))


def looking_at(
    azimuth_degrees: Array, distance_m: Array, height_m: Array, at_m: Array, view_degrees: Array
) -> Cameras:
    """Cameras with the height ``at_m`` above the room's middle in the middle of the picture."""
    pitch = np.degrees(np.arctan2(height_m - at_m, distance_m))
    return Cameras(azimuth_degrees, distance_m, height_m, pitch, view_degrees)


def projected(points: Array, cameras: Cameras) -> tuple[Array, Array]:
    """float64[F, K, 2] pixels of float64[F, K, 3] metres, and how far away each is."""
    turn, pitch = np.radians(cameras.azimuth_degrees), np.radians(cameras.pitch_degrees)
    zero, one = np.zeros_like(turn), np.ones_like(turn)
    outward = np.stack((np.cos(turn), np.sin(turn), zero), axis=-1)
    up = np.stack((zero, zero, one), axis=-1)
    forward = -np.cos(pitch)[:, None] * outward - np.sin(pitch)[:, None] * up
    above = -np.sin(pitch)[:, None] * outward + np.cos(pitch)[:, None] * up
    right = np.stack((-np.sin(turn), np.cos(turn), zero), axis=-1)
    place = cameras.distance_m[:, None] * outward + cameras.height_m[:, None] * up
    rays = points - place[:, None]
    depth = np.maximum(np.einsum("fkc,fc->fk", rays, forward), 0.1)
    focal = cameras.focal_px[:, None]
    x = SIZE_PX[0] / 2.0 + focal * np.einsum("fkc,fc->fk", rays, right) / depth
    y = SIZE_PX[1] / 2.0 - focal * np.einsum("fkc,fc->fk", rays, above) / depth
    return np.stack((x, y), axis=-1), depth


@dataclass(frozen=True, slots=True)
class Seen:
    """What a network makes of one person in F looks: float64[F, 17, 2], float64[F, 17].

    ``found`` and ``found_turned``, bool[F]: whether an upright look, or a turned one, finds them.
    """

    xy: Array
    scores: Array
    found: NDArray[np.bool_]
    found_turned: NDArray[np.bool_]


def seen(
    points: Array,
    cameras: Cameras,
    hides_legs: NDArray[np.bool_],
    person: NDArray[np.intp],
    chance: Chance,
) -> Seen:
    """Look at float64[F, 17, 3], in metres; a table may hide the legs, bool[F].

    ``person``: whose look each is, int[F] from 0. Half of the luck is the person's, not the look's.
    """
    xy, depth = projected(points, cameras)
    looks, people = len(xy), int(person.max()) + 1
    noise = 0.5 * chance.normal(size=(people, 17, 2))[person]
    noise += 0.85 * chance.normal(size=xy.shape)
    middle = np.median(depth, axis=1)
    # A person as wide as a third of their height: the root of the box's area.
    size_px = cameras.focal_px * 0.95 / middle
    noise *= (0.8 * _SIGMAS * size_px[:, None] + 0.7)[..., None]
    lost = np.full((looks, 17), 0.04)
    # A joint behind the body: the network guesses, or says nothing.
    lost[depth > middle[:, None] + 0.12] = 0.25
    faces = depth[:, _FACE[0]] > depth[:, _FACE[3:]].mean(axis=1) + 0.02
    lost[np.ix_(faces, _FACE)] = 0.7
    lost[:, _LEGS] += 0.08
    lost[np.ix_(hides_legs, _LEGS)] = 0.95
    lost[np.ix_(hides_legs, _HIPS)] = 0.25
    lost[((xy < 0.0) | (xy >= np.array(SIZE_PX))).any(axis=-1)] = 0.97
    luck = 0.5 * chance.random((people, 17))[person] + 0.5 * chance.random((looks, 17))
    is_lost = luck < _felt(lost)
    scores = np.where(is_lost, 0.15, 0.75) + chance.uniform(-0.1, 0.1, (looks, 17))
    noise[is_lost] *= 3.0
    turn = _trunk_degrees(xy)
    half_second = np.repeat(chance.random(looks // 4 + 1), 4)[:looks]
    once = 0.5 * half_second + 0.5 * chance.random(looks)
    enough = (scores >= SURE).sum(axis=1) >= 5
    found = (once < _felt(np.interp(turn, FOUND_AT, FOUND))) & enough
    turned = (once < _felt(np.interp(turn, FOUND_AT, FOUND_TURNED))) & enough
    return Seen(xy + noise, scores, found, turned)


def _felt(share: Array) -> Array:
    """The threshold of the mean of two uniform numbers that so large a share is below."""
    low = np.sqrt(share / 2.0)
    return np.where(share < 0.5, low, 1.0 - np.sqrt((1.0 - share) / 2.0))


def _trunk_degrees(xy: Array) -> Array:
    """The angle of the trunk against the vertical of the picture."""
    trunk = xy[:, _SHOULDERS].mean(axis=1) - xy[:, _HIPS].mean(axis=1)
    return np.degrees(np.arctan2(np.abs(trunk[:, 0]), -trunk[:, 1]))
