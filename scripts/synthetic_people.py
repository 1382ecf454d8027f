"""People made of numbers: joints of a body in a room, and how they move when they live in it.

A pose is a row of the columns in ``COLUMNS``; an activity is a few such rows and when they are
reached. ``joints`` makes the 17 keypoints of COCO of them, in metres: x and y along the floor, z
up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Angles in radians: ``lean`` forward of the trunk, ``roll`` about its length, flexion of hips,
# knees, shoulders (``arm``) and elbows, ``spread`` of the legs, ``out`` of the arms. ``base`` is
# the height in metres of what carries the lowest joint.
COLUMNS = (
    *("x", "y", "yaw", "lean", "roll", "base", "left_hip", "right_hip", "left_knee"),
    *("right_knee", "spread", "left_arm", "right_arm", "out", "left_elbow", "right_elbow"),
)
AT = {name: place for place, name in enumerate(COLUMNS)}

# Parts of the stature: Drillis and Contini's body segments, shoulders and hips as COCO marks them.
TRUNK, SHOULDER, HIP = 0.288, 0.105, 0.06
THIGH, SHIN, UPPER_ARM, FOREARM = 0.245, 0.246, 0.172, 0.157
SOLE = 0.04


def joints(rows: Array, stature_m: Array) -> Array:
    """float64[F, 17, 3]: the keypoints of ``rows``, float64[F, 16], of people so tall."""
    c = {name: rows[:, place] for name, place in AT.items()}
    zero = np.zeros(len(rows))
    body: list[Array] = []

    def at(forward: Array | float, left: Array | float, up: Array | float) -> Array:
        parts = np.broadcast_arrays(zero + forward, zero + left, zero + up)
        return np.stack(parts, axis=-1) * stature_m[:, None]

    def limb(flexion: Array, aside: Array, length: float) -> Array:
        return at(
            length * np.sin(flexion) * np.cos(aside),
            length * np.sin(aside),
            -length * np.cos(flexion) * np.cos(aside),
        )

    body += [at(0.06, 0.0, TRUNK + 0.125)]
    body += [at(0.05, side * 0.018, TRUNK + 0.142) for side in (1, -1)]
    body += [at(0.0, side * 0.043, TRUNK + 0.135) for side in (1, -1)]
    shoulders = [at(0.0, side * SHOULDER, TRUNK) for side in (1, -1)]
    elbows, wrists, knees, ankles = [], [], [], []
    hips = [at(0.0, side * HIP, 0.0) for side in (1, -1)]
    for place, (side, name) in enumerate(((1, "left"), (-1, "right"))):
        arm, out = c[f"{name}_arm"], side * c["out"]
        elbows.append(shoulders[place] + limb(arm, out, UPPER_ARM))
        wrists.append(elbows[place] + limb(arm + c[f"{name}_elbow"], 0.4 * out, FOREARM))
        thigh, spread = c[f"{name}_hip"], side * c["spread"]
        knees.append(hips[place] + limb(thigh, spread, THIGH))
        ankles.append(knees[place] + limb(thigh - c[f"{name}_knee"], -0.3 * spread, SHIN))
    body += [*shoulders, *elbows, *wrists, *hips, *knees, *ankles]
    return _placed(np.stack(body, axis=1), c, stature_m)


def _placed(body: Array, c: Mapping[str, Array], stature_m: Array) -> Array:
    """Forward, left, up of the body to x, y, z of the room, the lowest joint on its base."""

    def turned(first: int, second: int, angle: Array) -> None:
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = body[..., first].copy(), body[..., second].copy()
        body[..., first], body[..., second] = a * cos - b * sin, a * sin + b * cos

    turned(0, 1, c["roll"])
    turned(0, 2, -c["lean"])
    turned(0, 1, c["yaw"])
    body[..., 2] += (c["base"] + SOLE * stature_m - body[..., 2].min(axis=1))[:, None]
    body[..., 0] += c["x"][:, None]
    body[..., 1] += c["y"][:, None]
    return body


def row(**degrees: float) -> Array:
    """One row of ``COLUMNS``, 0 where not named; ``hip``, ``knee``, ``arm``, ``elbow`` are both."""
    made = np.zeros(len(COLUMNS))
    for name, value in degrees.items():
        names = (name,) if name in AT else (f"left_{name}", f"right_{name}")
        for each in names:
            made[AT[each]] = value if each in ("x", "y", "base") else np.radians(value)
    return made


Chance = np.random.Generator


def standing(chance: Chance) -> Array:
    lean = chance.normal(3.0, 4.0)
    made = row(lean=lean, hip=lean, spread=chance.uniform(0, 8), **_arms(chance))
    made[[AT["left_hip"], AT["right_hip"]]] += np.radians(chance.normal(0.0, 6.0, 2))
    made[[AT["left_knee"], AT["right_knee"]]] += np.radians(np.abs(chance.normal(4.0, 6.0, 2)))
    return made


def _arms(chance: Chance) -> dict[str, float]:
    """Hanging, in use, crossed, or one hand at the head."""
    kind = chance.choice(4, p=[0.5, 0.25, 0.15, 0.1])
    out = chance.uniform(2, 15)
    if kind == 0:
        return {"arm": chance.normal(0, 10), "elbow": abs(chance.normal(15, 12)), "out": out}
    if kind == 1:
        return {
            "left_arm": chance.uniform(0, 70),
            "right_arm": chance.uniform(0, 70),
            "left_elbow": chance.uniform(10, 100),
            "right_elbow": chance.uniform(10, 100),
            "out": out,
        }
    if kind == 2:
        return {"arm": chance.uniform(10, 35), "elbow": chance.uniform(85, 120), "out": 5.0}
    return {"left_arm": chance.uniform(60, 110), "left_elbow": chance.uniform(80, 130), "out": out}


def walking(chance: Chance) -> Array:
    made = standing(chance)
    stride, phase = chance.uniform(10, 30), chance.uniform(0, 2 * np.pi)
    for sign, side in ((1.0, "left"), (-1.0, "right")):
        made[AT[f"{side}_hip"]] += np.radians(sign * stride * np.sin(phase))
        made[AT[f"{side}_knee"]] += np.radians(1.4 * stride * max(0.0, sign * np.cos(phase)))
        made[AT[f"{side}_arm"]] -= np.radians(0.6 * sign * stride * np.sin(phase))
    return made


def on_all_fours(chance: Chance) -> Array:
    lean = chance.uniform(70, 95)
    return row(
        lean=lean,
        left_hip=lean + chance.normal(0, 15),
        right_hip=lean + chance.normal(0, 15),
        knee=chance.uniform(80, 100),
        arm=chance.uniform(75, 100),
    )


def sitting(chance: Chance) -> Array:
    """On a chair, a stool or a sofa."""
    lean = chance.uniform(-30, 25)
    thigh = chance.uniform(75, 98)
    shin = chance.uniform(-20, 30)
    return row(
        lean=lean,
        hip=thigh + lean,
        knee=thigh - shin,
        spread=chance.uniform(0, 20),
        **_arms(chance),
    )


def sitting_on_floor(chance: Chance) -> Array:
    kind = chance.integers(3)
    lean = chance.uniform(-30, 25)
    if kind == 0:
        return row(lean=lean, hip=88 + lean, knee=chance.uniform(0, 25), **_arms(chance))
    if kind == 1:
        return row(lean=lean, hip=95 + lean, spread=50, knee=135, **_arms(chance))
    return row(lean=lean, hip=128 + lean, knee=chance.uniform(95, 115), **_arms(chance))


def bent(chance: Chance) -> Array:
    lean = chance.uniform(55, 115)
    return row(
        lean=lean,
        hip=lean + chance.normal(2, 5),
        knee=abs(chance.normal(8, 10)),
        spread=chance.uniform(0, 12),
        arm=chance.uniform(40, 100),
        elbow=abs(chance.normal(15, 20)),
    )


def crouching(chance: Chance) -> Array:
    """Squatting, or on one knee or both."""
    kind = chance.integers(3)
    lean = chance.uniform(0, 50)
    arms = {"arm": chance.uniform(20, 70), "elbow": chance.uniform(0, 60)}
    if kind == 0:
        thigh = chance.uniform(85, 125)
        return row(lean=lean, hip=thigh + lean, knee=thigh + chance.uniform(10, 35), **arms)
    if kind == 1:
        return row(
            lean=lean, hip=lean + chance.uniform(-5, 15), knee=chance.uniform(88, 105), **arms
        )
    return row(lean=lean, left_hip=lean + 85, left_knee=90, right_hip=lean, right_knee=92, **arms)


def lying(chance: Chance) -> Array:
    """On the back, the front or a side, stretched or curled up."""
    curled = chance.uniform(0, 1) ** 2
    return row(
        lean=90 + chance.normal(0, 5),
        roll=chance.choice([0.0, 90.0, 180.0, 270.0]) + chance.normal(0, 20),
        left_hip=chance.normal(0, 8) + 100 * curled,
        right_hip=chance.normal(0, 8) + 90 * curled,
        left_knee=abs(chance.normal(5, 10)) + 110 * curled,
        right_knee=abs(chance.normal(5, 10)) + 100 * curled,
        spread=chance.uniform(0, 20),
        left_arm=chance.uniform(-20, 150),
        right_arm=chance.uniform(-20, 150),
        out=chance.uniform(0, 60),
        left_elbow=chance.uniform(0, 110),
        right_elbow=chance.uniform(0, 110),
    )


POSTURES: Mapping[str, Sequence[Callable[[Chance], Array]]] = {
    "standing": (standing, walking),
    "sitting": (sitting, sitting_on_floor),
    "bent": (bent, bent, on_all_fours),
    "crouching": (crouching,),
    "lying": (lying,),
}
