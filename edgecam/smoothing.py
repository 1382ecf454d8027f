"""Steadies the keypoints of a track without making them lag behind a fast movement.

Source: the One Euro filter, Casiez, Roussel, Vogel, "1 EUR filter: a simple speed-based low-pass
filter for noisy input in interactive systems" (CHI 2012): a low-pass filter whose cut-off grows
with the speed. Speed is taken in body sizes a second, so that the constants hold at any distance
and picture size, and each step uses the time that really passed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Cut-off at rest, its growth with speed, and that of the speed's own filter, as in the paper.
MIN_CUTOFF_HZ = 1.0
BETA_HZ = 3.0
SPEED_CUTOFF_HZ = 1.0
# Below this score a keypoint may be anywhere: it starts afresh when it is sure again.
MIN_SCORE = 0.3


class OneEuro:
    """Filters the 17 keypoints of one track."""

    def __init__(self, min_cutoff_hz: float = MIN_CUTOFF_HZ, beta_hz: float = BETA_HZ) -> None:
        self._min_cutoff_hz, self._beta_hz = min_cutoff_hz, beta_hz
        self._time_s: float | None = None
        self._xy: Array = np.empty(0)
        self._speed: Array = np.empty(0)
        self._sure: NDArray[np.bool_] = np.empty(0, np.bool_)

    def __call__(self, xy: Array, scores: Array, size_px: float, now_s: float) -> Array:
        """Smoothed float64[17, 2]; ``size_px`` is the root of the area of the person's box."""
        sure = scores >= MIN_SCORE
        if self._time_s is None or now_s <= self._time_s:
            self._xy, self._speed = xy, np.zeros_like(xy)
        else:
            step_s = now_s - self._time_s
            fresh = (sure & ~self._sure)[:, None]
            speed = np.where(fresh, 0.0, (xy - self._xy) / (step_s * max(size_px, 1.0)))
            self._speed = self._speed + _alpha(SPEED_CUTOFF_HZ, step_s) * (speed - self._speed)
            pace = np.linalg.norm(self._speed, axis=1, keepdims=True)
            weight = _alpha(self._min_cutoff_hz + self._beta_hz * pace, step_s)
            self._xy = np.where(fresh, xy, self._xy + weight * (xy - self._xy))
        self._time_s, self._sure = now_s, sure
        return self._xy


def _alpha(cutoff_hz: Array | float, step_s: float) -> Array:
    """The weight of the new value, 0..1, of a low-pass filter at this cut-off."""
    turn = 2.0 * math.pi * step_s * np.asarray(cutoff_hz, np.float64)
    return np.asarray(turn / (turn + 1.0), np.float64)


class DeadBand:
    """Keeps a keypoint of one track where it was until it has moved ``width_px`` or more."""

    def __init__(self, width_px: float) -> None:
        self._width_px = width_px
        self._xy: Array | None = None

    def __call__(self, xy: Array) -> Array:
        """float64[17, 2], pixels."""
        if self._xy is None:
            self._xy = xy
        else:
            moved = np.linalg.norm(xy - self._xy, axis=1, keepdims=True) >= self._width_px
            self._xy = np.where(moved, xy, self._xy)
        return self._xy
