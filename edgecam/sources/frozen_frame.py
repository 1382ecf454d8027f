"""A picture that no longer changes."""

from __future__ import annotations

import numpy as np

from edgecam.core.frame import Image

FROZEN_SAMPLES = 64


class Stillness:
    """Whether the picture has not changed at all for a while, seen on a grid of samples.

    A real sensor's noise differs from frame to frame; only a repeated picture stays the same.
    """

    def __init__(self, frozen_after_s: float) -> None:
        self._frozen_after_s = frozen_after_s
        self.forget()

    def forget(self) -> None:
        """Begin again, as after a reconnect."""
        self._sample: Image | None = None
        self._since_s = 0.0

    def seen(self, image: Image, now_s: float) -> bool:
        """Take a picture; return whether the same one has been shown for too long."""
        step_y = max(1, image.shape[0] // FROZEN_SAMPLES)
        step_x = max(1, image.shape[1] // FROZEN_SAMPLES)
        sample = image[::step_y, ::step_x]
        if self._sample is None or not np.array_equal(sample, self._sample):
            self._sample = sample.copy()
            self._since_s = now_s
        return now_s - self._since_s >= self._frozen_after_s
