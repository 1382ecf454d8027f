"""Whether anything moves, seen on a small grey picture; and whether a frame is worth a look.

It knows no clock but the frames' own, so that a recording gives the same answers on every run.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgecam.core.frame import Frame, Image
from edgecam.core.opencv import cv2
from edgecam.settings.scene import MotionSettings

# Pixels of the small picture are means of k x k, with k such that about so many lie side by side.
WIDTH_PX = 160
# How fast the picture that others are compared with follows: who walks slowly still stands out.
FOLLOW_S = 2.0
# A sensor's noise differs with light and gain: a pixel has to differ by so many times its spread.
# From the median of absolute differences to a standard deviation is 1.4826.
NOISE_TIMES = 5.0
MEDIAN_TO_DEVIATION = 1.4826
# Every n-th pixel is enough to know the noise by.
NOISE_STEP = 5
# Of a pixel and its eight neighbours: single ones are noise.
NEIGHBOURS = 4.0 / 9.0


class Motion:
    """Compares each frame with what the ones before had in common.

    ``min_area``: 0..1 of the picture that has to differ. ``min_contrast``: grey levels, 0..255.
    """

    def __init__(self, min_area: float, min_contrast: float) -> None:
        self._min_area, self._min_contrast = min_area, min_contrast
        self._usual: NDArray[np.float32] | None = None
        self._last_s = 0.0

    def seen(self, image: Image, now_s: float) -> bool:
        """Whether enough of a BGR uint8[H, W, 3] differs; a first picture does."""
        small = _small(image)
        elapsed_s, self._last_s = now_s - self._last_s, now_s
        if self._usual is None or self._usual.shape != small.shape or elapsed_s < 0.0:
            self._usual = small
            return True
        signed = small - self._usual
        cv2.accumulateWeighted(small, self._usual, 1.0 - math.exp(-elapsed_s / FOLLOW_S))
        # The lamp that dims and the camera that turns up its gain are no movement.
        signed -= np.float32(_median(signed))
        differs = np.abs(signed, out=signed)
        deviation = MEDIAN_TO_DEVIATION * _median(differs)
        least = max(self._min_contrast, NOISE_TIMES * deviation)
        changed = cv2.blur((differs > least).astype(np.float32), (3, 3)) > NEIGHBOURS - 1e-3
        return bool(np.count_nonzero(changed) >= self._min_area * changed.size)


def _small(image: Image) -> NDArray[np.float32]:
    """Grey levels of a picture about ``WIDTH_PX`` wide."""
    height_px, width_px = image.shape[:2]
    times = max(1, round(width_px / WIDTH_PX))
    # A picture thinner than that becomes one line.
    size = (width_px // times, max(1, height_px // times))
    whole = image[: size[1] * times, : size[0] * times]
    small = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)


def _median(picture: NDArray[np.float32]) -> float:
    sample = np.sort(picture.ravel()[::NOISE_STEP])
    return float(sample[len(sample) // 2])


class MotionGate:
    """Which frames the models look at: while something moves, and now and then besides."""

    def __init__(self, settings: MotionSettings) -> None:
        self._settings = settings
        self._motion = Motion(settings.min_area, settings.min_contrast)
        self._number = 0
        self._known: set[int] = set()
        self._open_until_s = -math.inf
        self._last_look_s = -math.inf
        self._last_s = -math.inf

    def opens(self, frame: Frame) -> bool:
        """Whether to look at this frame."""
        now_s = frame.time_s
        if now_s < self._last_s:
            # A recording that begins again.
            self._open_until_s = self._last_look_s = -math.inf
        self._last_s = now_s
        if self._motion.seen(frame.image, now_s):
            self._open_until_s = now_s + self._settings.hold_s
            self._known.clear()
        settings = self._settings
        every_s = settings.occupied_look_s if self._number else settings.empty_look_s
        if now_s > self._open_until_s and now_s < self._last_look_s + every_s:
            return False
        self._last_look_s = now_s
        return True

    def found(self, number: int) -> None:
        """How many people and things the look at the last frame found.

        A number that was not yet found in the picture as it is now is a change too: it is looked
        at until that is certain. What a model sees in one look and not in the next is none.
        """
        if number not in self._known:
            self._known.add(number)
            self._open_until_s = max(self._open_until_s, self._last_s + self._settings.hold_s)
        self._number = number
