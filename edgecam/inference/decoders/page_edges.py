"""Moves the sides of a page onto the edges of the picture itself, to a fraction of a pixel.

The network's map is coarse: one of its cells is many pixels of a photograph. Near each side the
picture is looked at across it; where its colour changes most, along most of the side, the side is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.core.quadrilateral import Corners, clockwise, overlap

# How far off a side its edge is looked for, of the picture's diagonal; and how finely.
_REACH = 0.022
_STEPS = 12
_ALONG = np.linspace(0.03, 0.97, 64)
# Pairs of points of a side, one of each half, through which a line is tried.
_PAIRS = np.array([(a, b) for a in range(0, 32, 4) for b in range(32, 64, 4)]).T
# The edge is rather where the network says: the spread of that belief, of the reach.
_BELIEF = 0.6
# How far a point may lie off the line through the others and count, of the reach.
_SPREAD = 0.1
# A side stays where it was if fewer of its points than this lie on one line.
_MIN_AGREEING = 0.35
# What moved further than this was no refinement.
_MIN_OVERLAP = 0.9


def sharpened(image: Image, corners: Corners) -> Corners:
    """The corners after each side moved onto the picture's own edge, where it has one there.

    ``image`` is uint8[H, W, 3], ``corners`` float64[4, 2], its pixel indices.
    """
    reach = _REACH * float(np.hypot(*image.shape[:2]))
    along = np.roll(corners, -1, 0) - corners
    lengths = np.linalg.norm(along, axis=1, keepdims=True)
    if lengths.min() < 4 * reach:
        return corners
    directions = along / lengths
    normals = np.stack((directions[:, 1], -directions[:, 0]), 1)
    curves = []
    for side in range(4):
        base = corners[side] + _ALONG[:, None] * along[side]
        offsets, weights = _edges(image, base, normals[side], reach)
        curves.append(_curve(offsets, weights, reach))
    bend, slope, start = np.array(curves).T[..., None]
    # Where each side begins and ends, and which way it goes there.
    starts, leaves = corners + start * normals, along + slope * normals
    ends = corners + along + (start + slope + bend) * normals
    arrives = along + (slope + 2 * bend) * normals
    moved = _crossings(np.roll(ends, 1, 0), np.roll(arrives, 1, 0), starts, leaves)
    if not np.isfinite(moved).all() or overlap(moved, corners) < _MIN_OVERLAP:
        return corners
    return clockwise(moved)


def _edges(
    image: Image, base: NDArray[np.float64], normal: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where across each point of a side the colour changes most, and how much: float64[N] each."""
    steps = np.linspace(-reach, reach, 2 * _STEPS + 1)
    points = (base[:, None] + steps[:, None] * normal).astype(np.float32)
    seen = cv2.remap(image, points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # Neighbours along the side are averaged: an edge goes on, a grain of wood or a letter does not.
    smooth = cv2.blur(np.asarray(seen, np.float32), (1, 5))
    change = np.abs(smooth[:, 2:] - smooth[:, :-2]).sum(2, dtype=np.float64)
    places = steps[1:-1]
    rated = change * np.exp(-0.5 * np.square(places / (_BELIEF * reach)))
    best = np.argmax(rated[:, 1:-1], axis=1) + 1
    rows = np.arange(len(rated))
    before, peak, after = rated[rows, best - 1], rated[rows, best], rated[rows, best + 1]
    curve = before - 2 * peak + after
    between = np.where(curve < -1e-9, 0.5 * (before - after) / np.minimum(curve, -1e-9), 0.0)
    offsets = places[best] + between.clip(-1, 1) * (steps[1] - steps[0])
    return offsets, np.minimum(peak, 3 * np.median(peak))


def _curve(
    offsets: NDArray[np.float64], weights: NDArray[np.float64], reach: float
) -> tuple[float, float, float]:
    """Bend, slope and start of a side's offsets along it: a line that most points agree on, then
    the arc through what lies near it, for paper sags; all 0 where too few agree.
    """
    slopes = (offsets[_PAIRS[1]] - offsets[_PAIRS[0]]) / (_ALONG[_PAIRS[1]] - _ALONG[_PAIRS[0]])
    lines = offsets[_PAIRS[0], None] + slopes[:, None] * (_ALONG - _ALONG[_PAIRS[0], None])
    agreeing = np.abs(offsets - lines) < _SPREAD * reach
    votes = agreeing @ weights
    best = int(np.argmax(votes))
    if votes[best] < _MIN_AGREEING * float(weights.sum()):
        return 0.0, 0.0, 0.0
    near = agreeing[best] & (weights > 0)
    curve = np.zeros(3)
    for _ in range(2):
        if near.sum() < len(_ALONG) // 4:
            return 0.0, 0.0, 0.0
        curve = np.polyfit(_ALONG[near], offsets[near], 2, w=np.sqrt(weights[near]))
        near = (np.abs(offsets - np.polyval(curve, _ALONG)) < _SPREAD * reach) & (weights > 0)
    return float(curve[0]), float(curve[1]), float(curve[2])


def _crossings(a: Corners, along_a: Corners, b: Corners, along_b: Corners) -> Corners:
    """Where lines through ``a`` and ``b`` meet, not finite for parallels."""
    turn = along_a[:, 0] * along_b[:, 1] - along_a[:, 1] * along_b[:, 0]
    gap = b - a
    cross = gap[:, 0] * along_b[:, 1] - gap[:, 1] * along_b[:, 0]
    share = cross / np.where(np.abs(turn) < 1e-9, np.nan, turn)
    return np.asarray(a + share[:, None] * along_a, np.float64)
