"""Steadies the keypoints of a track without making them lag behind a fast movement.

Source: the One Euro filter, Casiez, Roussel, Vogel, "1 EUR filter: a simple speed-based low-pass
filter for noisy input in interactive systems" (CHI 2012): a low-pass filter whose cut-off grows
with the speed. Speed is taken in body sizes a second, so that the constants hold at any distance
and picture size, and each step uses the time that really passed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import SURE

Array = NDArray[np.float64]

# Cut-off at rest, its growth with speed, and that of the speed's own filter, as in the paper.
MIN_CUTOFF_HZ = 1.0
BETA_HZ = 3.0
SPEED_CUTOFF_HZ = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """What the filter knows: where the keypoints were, pixels, and how fast, body sizes a second.

    ``xy`` and ``speed`` are float64[K, 2], ``sure`` bool[K].
    """

    time_s: float
    xy: Array
    speed: Array
    sure: NDArray[np.bool_]


class OneEuro:
    """Filters the K keypoints of one track; ``last`` is all it remembers."""

    def __init__(self, min_cutoff_hz: float = MIN_CUTOFF_HZ, beta_hz: float = BETA_HZ) -> None:
        self.min_cutoff_hz, self.beta_hz = min_cutoff_hz, beta_hz
        self.last: Filtered | None = None

    def __call__(self, xy: Array, scores: Array, size_px: float, now_s: float) -> Array:
        """Smoothed float64[K, 2]; ``size_px`` is the root of the area of the person's box."""
        steady: Array = smooth([self], xy[None], scores[None], np.array([size_px]), now_s)[0]
        return steady


def smooth(
    filters: Sequence[OneEuro], xy: Array, scores: Array, sizes_px: Array, now_s: float
) -> Array:
    """Take one step of each filter; all in one go, for the calls cost more than the numbers.

    ``xy`` float64[N, K, 2] and ``scores`` float64[N, K] are what each filter gets, ``sizes_px``
    float64[N] as for one. Returns the smoothed float64[N, K, 2].
    """
    # A keypoint that is not sure may be anywhere: it starts again when it is sure.
    sure = scores >= SURE
    # One that begins stands still.
    last = [
        one.last
        if one.last is not None and now_s > one.last.time_s
        else Filtered(now_s - 1.0, now_xy, np.zeros_like(now_xy), now_sure)
        for one, now_xy, now_sure in zip(filters, xy, sure, strict=True)
    ]
    step_s = np.array([now_s - one.time_s for one in last])[:, None, None]
    old_xy = np.array([one.xy for one in last])
    moved = xy - old_xy
    fresh = (sure & ~np.array([one.sure for one in last]))[:, :, None]
    new = np.where(fresh, 0.0, moved / (step_s * np.maximum(sizes_px, 1.0)[:, None, None]))
    speed = np.array([one.speed for one in last])
    speed += _alpha(SPEED_CUTOFF_HZ, step_s) * (new - speed)
    pace = np.linalg.norm(speed, axis=2, keepdims=True)
    lowest_hz = np.array([one.min_cutoff_hz for one in filters])[:, None, None]
    growth_hz = np.array([one.beta_hz for one in filters])[:, None, None]
    weight = _alpha(lowest_hz + growth_hz * pace, step_s)
    steady = np.where(fresh, xy, old_xy + weight * moved)
    for one, *state in zip(filters, steady, speed, sure, strict=True):
        one.last = Filtered(now_s, *state)
    return steady


def _alpha(cutoff_hz: Array | float, step_s: Array) -> Array:
    """The weight of the new value, 0..1, of a low-pass filter at this cut-off."""
    turn: Array = 2.0 * math.pi * step_s * cutoff_hz
    return np.asarray(turn / (turn + 1.0), np.float64)


class DeadBand:
    """Keeps a keypoint of one track where it was until it has moved ``width_px`` or more."""

    def __init__(self, width_px: float) -> None:
        self._width_px = width_px
        self._xy: Array | None = None

    def __call__(self, xy: Array) -> Array:
        """float64[K, 2], pixels."""
        if self._xy is None:
            self._xy = xy
        else:
            moved = np.linalg.norm(xy - self._xy, axis=1, keepdims=True) >= self._width_px
            self._xy = np.where(moved, xy, self._xy)
        return self._xy
