"""Steadies the keypoints of a track without making them lag behind a fast movement.

Source: the One Euro filter, Casiez, Roussel, Vogel, "1 EUR filter: a simple speed-based low-pass
filter for noisy input in interactive systems" (CHI 2012): a low-pass filter whose cut-off grows
with the speed. Speed is taken in body sizes a second, so that the constants hold at any distance
and picture size, and each step uses the time that really passed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Cut-off at rest, its growth with speed, and that of the speed's own filter, as in the paper.
MIN_CUTOFF_HZ = 1.0
BETA_HZ = 3.0
SPEED_CUTOFF_HZ = 1.0
# Below this score a keypoint may be anywhere: it starts afresh when it is sure again.
MIN_SCORE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """What the filter knows: where the keypoints were, pixels, and how fast, body sizes a second.

    ``xy`` and ``speed`` are float64[17, 2], ``sure`` bool[17].
    """

    time_s: float
    xy: Array
    speed: Array
    sure: NDArray[np.bool_]


class OneEuro:
    """Filters the 17 keypoints of one track; ``last`` is all it remembers."""

    def __init__(self, min_cutoff_hz: float = MIN_CUTOFF_HZ, beta_hz: float = BETA_HZ) -> None:
        self._min_cutoff_hz, self._beta_hz = min_cutoff_hz, beta_hz
        self.last: Filtered | None = None

    def __call__(self, xy: Array, scores: Array, size_px: float, now_s: float) -> Array:
        """Smoothed float64[17, 2]; ``size_px`` is the root of the area of the person's box."""
        sure, last = scores >= MIN_SCORE, self.last
        if last is None or now_s <= last.time_s:
            self.last = Filtered(now_s, xy, np.zeros_like(xy), sure)
            return xy
        step_s = now_s - last.time_s
        fresh = (sure & ~last.sure)[:, None]
        new = np.where(fresh, 0.0, (xy - last.xy) / (step_s * max(size_px, 1.0)))
        speed = last.speed + _alpha(SPEED_CUTOFF_HZ, step_s) * (new - last.speed)
        pace = np.linalg.norm(speed, axis=1, keepdims=True)
        weight = _alpha(self._min_cutoff_hz + self._beta_hz * pace, step_s)
        steady = np.where(fresh, xy, last.xy + weight * (xy - last.xy))
        self.last = Filtered(now_s, steady, speed, sure)
        return steady


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
