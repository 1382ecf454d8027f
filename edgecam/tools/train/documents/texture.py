"""Procedural table tops: wood, cloth, stone, tiles, gradients and patches of colour.

Every function takes a generator and a side in pixels and returns float32[side, side, 3] in BGR,
about 0..255; nothing is read from disk, so that a seed is all there is to say about a picture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgecam.core.opencv import cv2

Field = NDArray[np.float32]


def noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]) -> Field:
    """Smooth noise of ``cells`` (down, across), float32[height, width], 0..1."""
    grid = rng.random(cells, np.float32)
    return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def cloud(rng: np.random.Generator, side: int, coarse: int, octaves: int) -> Field:
    """Noise of several octaves, float32[side, side], about 0..1."""
    total, weight, amplitude = np.zeros((side, side), np.float32), 0.0, 1.0
    for octave in range(octaves):
        cells = min(coarse << octave, side)
        total += amplitude * noise(rng, side, side, (cells, cells))
        weight, amplitude = weight + amplitude, amplitude * 0.55
    return total / np.float32(weight)


def colour(rng: np.random.Generator, low: float = 20, high: float = 235) -> Field:
    """A BGR colour of any hue; more grey than vivid, as rooms are."""
    value = rng.uniform(low, high)
    return np.asarray(value + rng.normal(0, rng.choice([6, 25, 45]), 3), np.float32).clip(5, 250)


def _mix(field: Field, dark: Field, light: Field) -> Field:
    return np.asarray(dark + field[..., None] * (light - dark), np.float32)


def wood(rng: np.random.Generator, side: int) -> Field:
    """Planks with a grain along them and dark seams."""
    across = np.linspace(0, 1, side, dtype=np.float32)[:, None]
    bend = noise(rng, side, side, (4, 3)) * rng.uniform(0.02, 0.2)
    rings = 0.5 + 0.5 * np.sin((across + bend) * rng.uniform(20, 160))
    streaks = noise(rng, side, side, (side // int(rng.integers(1, 4)), int(rng.integers(3, 12))))
    grain = np.asarray(0.5 * rings + 0.5 * streaks, np.float32)
    tone = np.array((rng.uniform(40, 130), 0, 0), np.float32)
    tone[1] = tone[0] * rng.uniform(1.1, 1.5)
    tone[2] = tone[1] * rng.uniform(1.05, 1.5)
    out = _mix(grain, tone * np.float32(rng.uniform(0.5, 0.9)), tone)
    if rng.random() < 0.6:
        planks = int(rng.integers(2, 9))
        for edge in np.linspace(0, side, planks + 1).astype(int)[:-1]:
            out[edge : edge + side // planks] *= np.float32(rng.uniform(0.8, 1.2))
            out[edge : edge + int(rng.integers(1, 4))] *= np.float32(rng.uniform(0.25, 0.8))
    return out


def cloth(rng: np.random.Generator, side: int) -> Field:
    """A weave, plain, striped or checked, with soft folds."""
    out = np.broadcast_to(colour(rng), (side, side, 3)).astype(np.float32)
    for axis in range(int(rng.integers(0, 3))):
        period, tint = int(rng.integers(side // 30, side // 5)), colour(rng)
        band = (np.arange(side) % period < period * rng.uniform(0.2, 0.6)).astype(np.float32)
        band = band * np.float32(rng.uniform(0.3, 0.8))
        mask = band[:, None, None] if axis else band[None, :, None]
        out = out * (1 - mask) + tint * mask
    phase = np.arange(side, dtype=np.float32) * np.float32(2 * np.pi / rng.uniform(3, 8))
    weave = np.sin(phase)[:, None] * np.sin(phase)[None, :] * np.float32(rng.uniform(0, 14))
    folds = (cloud(rng, side, 3, 3) - 0.5) * np.float32(rng.uniform(0, 110))
    return np.asarray(out + (weave + folds)[..., None], np.float32)


def stone(rng: np.random.Generator, side: int) -> Field:
    """Clouded stone with speckles and, at times, veins."""
    out = _mix(cloud(rng, side, 4, 6), colour(rng), colour(rng))
    speckle = rng.normal(0, rng.uniform(2, 25), (side, side)).astype(np.float32)
    out += cv2.GaussianBlur(speckle, (0, 0), rng.uniform(0.5, 1.5))[..., None]
    if rng.random() < 0.5:
        vein = np.abs(cloud(rng, side, 3, 4) - 0.5) < rng.uniform(0.004, 0.02)
        out[vein] += np.float32(rng.uniform(-60, 60))
    return out


def tiles(rng: np.random.Generator, side: int) -> Field:
    """Tiles or bricks of about one colour with straight joints."""
    out = stone(rng, side) * np.float32(0.3) + colour(rng) * np.float32(0.7)
    period, joint = int(rng.integers(side // 12, side // 3)), int(rng.integers(1, 7))
    shade = np.float32(rng.uniform(-70, 70))
    for start in range(0, side, period):
        out[start : start + joint] += shade
        out[:, start : start + joint] += shade
    return out


def gradient(rng: np.random.Generator, side: int) -> Field:
    """A plain surface from one shade to another."""
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    first = colour(rng)
    second = first + rng.normal(0, 40, 3).astype(np.float32)
    field = np.outer(ramp, np.ones(side, np.float32)) * 0.7 + 0.3 * ramp[None, :]
    return _mix(np.asarray(field, np.float32), first, second)


def patches(rng: np.random.Generator, side: int) -> Field:
    """A room out of focus: large straight-edged areas of different colours."""
    out = gradient(rng, side)
    for _ in range(int(rng.integers(2, 8))):
        corners = rng.uniform(-0.3 * side, 1.3 * side, (4, 2))
        hull = cv2.convexHull(corners.astype(np.float32)).astype(np.int32)
        cv2.fillPoly(out, [hull], [float(v) for v in colour(rng)], cv2.LINE_AA)
    blur = rng.uniform(0.5, 12)
    return np.asarray(cv2.GaussianBlur(out, (0, 0), blur), np.float32)


KINDS: dict[str, Callable[[np.random.Generator, int], Field]] = {
    "wood": wood,
    "cloth": cloth,
    "stone": stone,
    "tiles": tiles,
    "gradient": gradient,
    "patches": patches,
}


def background(rng: np.random.Generator, width: int, height: int) -> Field:
    """A table top seen at an angle, float32[height, width, 3]."""
    side = int(1.2 * max(width, height))
    kind = str(rng.choice(list(KINDS)))
    flat = KINDS[kind](rng, side)
    turn, half = rng.uniform(0, 2 * np.pi), side * rng.uniform(0.6, 1.0)
    angles = turn + np.arange(4) * np.pi / 2 + np.pi / 4
    seen = np.stack((np.cos(angles), np.sin(angles)), 1) * half * rng.uniform(0.75, 1.25, (4, 1))
    seen += (width / 2, height / 2)
    whole = np.array(((0, 0), (side, 0), (side, side), (0, side)), np.float32)
    view = cv2.getPerspectiveTransform(whole, seen.astype(np.float32))
    out = cv2.warpPerspective(flat, view, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(out, np.float32)
