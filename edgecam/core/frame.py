"""Frame: one picture of a source, with its clocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture from a source.

    ``image`` is uint8[H, W, 3] in BGR, 0..255, C-contiguous: the order in which OpenCV and
    picamera2's ``RGB888`` deliver; it is turned to RGB once, at model size, in ``preprocess``.
    ``sequence`` counts from 0 within the source. ``captured_s`` is ``time.monotonic()`` at
    capture. ``captured_unix_s`` is the wall clock then. ``media_time_s`` is the position in a
    recording, None for a live source. ``file`` names the picture for a directory source,
    ``camera`` the camera where a source serves several; ``sequence`` then is that camera's own.
    ``is_mirrored``: the picture shows the scene as a mirror does, left and right changed over.
    """

    image: Image
    sequence: int
    captured_s: float
    captured_unix_s: float
    media_time_s: float | None = None
    file: str | None = None
    camera: str | None = None
    is_mirrored: bool = False

    @property
    def width_px(self) -> int:
        """Width of the picture."""
        return int(self.image.shape[1])

    @property
    def height_px(self) -> int:
        """Height of the picture."""
        return int(self.image.shape[0])

    @property
    def time_s(self) -> float:
        """The clock of whatever looks at several frames: a recording's own, else monotonic."""
        return self.captured_s if self.media_time_s is None else self.media_time_s
