"""How surely a skeleton is in which posture, from any corner of a room.

A small network that learned from people made of numbers, seen by cameras at all heights and from
all directions with the errors of a pose network (``scripts/train-posture``). It sees the joints
relative to the trunk's middle, in units of the body; how far the shoulders are below where the same
person stood; and how far down the camera looks and how high it hangs, where that is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import INDEX, SURE

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

WEIGHTS = Path(__file__).with_name("posture.npz")
# In this order the network says how sure each is.
POSTURES = ("standing", "sitting", "bent", "crouching", "lying")
FACE = 5
SHOULDERS = (INDEX["left_shoulder"], INDEX["right_shoulder"])
HIPS = (INDEX["left_hip"], INDEX["right_hip"])
# Pairs of joints and how long what is between them is, as a part of the stature; upper arms and
# shoulders count for less, since they are short for their error.
BONES = (
    *((SHOULDERS[side], HIPS[side], 0.29) for side in (0, 1)),
    *((INDEX[f"{side}_hip"], INDEX[f"{side}_knee"], 0.245) for side in ("left", "right")),
    *((INDEX[f"{side}_knee"], INDEX[f"{side}_ankle"], 0.246) for side in ("left", "right")),
    *((INDEX[f"{side}_shoulder"], INDEX[f"{side}_elbow"], 0.19) for side in ("left", "right")),
    (*SHOULDERS, 0.25),
)
_FROM, _TO = (np.array([bone[end] for bone in BONES]) for end in (0, 1))
_LENGTHS = np.array([bone[2] for bone in BONES])
# No joint of a body is further from its middle, in half statures.
FURTHEST = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """N skeletons: float64[N, 17, 2] pixels (x, y) and which of the joints are sure.

    ``shoulders`` and ``hips`` are their middles, float64[N, 2], of the sides of which both are
    sure; ``is_whole`` says where there is such a side. ``size_px`` is the stature that the longest
    bones speak for.
    """

    xy: Array
    sure: Flags
    shoulders: Array
    hips: Array
    is_whole: Flags
    size_px: Array


def bodies(xy: Array, scores: Array) -> Bodies:
    """Measure float64[N, 17, 2] pixels with float64[N, 17] scores."""
    sure = scores >= SURE
    sides = sure[:, SHOULDERS] & sure[:, HIPS]
    weight = (sides / np.maximum(sides.sum(axis=1, keepdims=True), 1))[..., None]
    shoulders, hips = (xy[:, ends] * weight for ends in (SHOULDERS, HIPS))
    long_px = np.linalg.norm(xy[:, _FROM] - xy[:, _TO], axis=2) / _LENGTHS
    long_px[~(sure[:, _FROM] & sure[:, _TO])] = 0.0
    size_px = np.maximum(long_px.max(axis=1), 1.0)
    is_whole = np.asarray(sides.any(axis=1))
    return Bodies(xy, sure, shoulders.sum(axis=1), hips.sum(axis=1), is_whole, size_px)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known besides, float64[N] each, NaN of what is not.

    Where the shoulders were when the same person stood, and the stature then, in pixels; degrees by
    which the camera looks down; metres above the floor; where in the picture the person is, in
    heights of the picture below its middle.
    """

    stood_px: Array
    stood_size_px: Array
    pitch_degrees: Array
    height_m: Array
    below: Array


def features(seen: Bodies, known: Known) -> Array:
    """float64[N, F]: what the network sees."""
    count = len(seen.xy)
    face = seen.sure[:, :FACE]
    weight = face / np.maximum(face.sum(axis=1, keepdims=True), 1)
    head = np.einsum("nk,nkc->nc", weight, seen.xy[:, :FACE])
    points = np.concatenate(
        (head[:, None], seen.xy[:, FACE:], seen.shoulders[:, None], seen.hips[:, None]), axis=1
    )
    whole = seen.is_whole[:, None]
    is_seen = np.concatenate(
        (face.any(axis=1, keepdims=True), seen.sure[:, FACE:], whole, whole), axis=1
    )
    middle, unit_px = (seen.shoulders + seen.hips) / 2.0, seen.size_px / 2.0
    places = (points - middle[:, None]) / unit_px[:, None, None]
    places = np.clip(np.where(is_seen[..., None], places, 0.0), -FURTHEST, FURTHEST)
    trunk = np.linalg.norm(seen.shoulders - seen.hips, axis=1) / unit_px
    drop = (seen.shoulders[:, 1] - known.stood_px) * 2.0 / known.stood_size_px
    grown = seen.size_px / known.stood_size_px - 1.0
    pitch, height = known.pitch_degrees / 30.0, known.height_m / 2.0
    below = np.where(np.isfinite(pitch), known.below, np.nan)
    about = np.stack((np.clip(drop, -3.0, 3.0), np.clip(grown, -1.0, 2.0), pitch, below, height), 1)
    is_known = np.isfinite(about[:, (0, 2, 4)])
    about = np.nan_to_num(about)
    parts = (places.reshape(count, -1), is_seen, trunk[:, None], about, is_known)
    return np.concatenate(parts, axis=1).astype(np.float64)


@cache
def network() -> tuple[tuple[Array, Array], ...]:
    """Each layer's weights, float64[inputs, outputs], and offsets, float64[outputs]."""
    with np.load(WEIGHTS, allow_pickle=False) as file:
        layers = len(file.files) // 2
        return tuple(
            (file[f"weights_{n}"].astype(np.float64), file[f"offsets_{n}"].astype(np.float64))
            for n in range(layers)
        )


def likely(inputs: Array) -> Array:
    """float64[N, 5]: how sure each of ``POSTURES`` is, of float64[N, F] ``features``."""
    values = inputs
    for place, (weights, offsets) in enumerate(network()):
        values = (np.maximum(values, 0.0) if place else values) @ weights + offsets
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
