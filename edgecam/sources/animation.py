"""Animated WebP and AVIF files: every picture, with its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from edgecam.core.errors import SourceError
from edgecam.core.frame import Frame, Image
from edgecam.core.opencv import cv2
from edgecam.core.protocols import SourceStatus, be_idle
from edgecam.sources.file_format import begins_heif
from edgecam.sources.heif import read_heif
from edgecam.sources.heif import turned as turned_heif
from edgecam.sources.picture import read_bytes
from edgecam.sources.picture_limits import FILE_PIXELS, check_size
from edgecam.sources.picture_size import stated_size
from edgecam.sources.playback_clock import Pace

# Browsers, and FFmpeg for GIF, show for a tenth of a second what states less than this.
_LEAST_MS, _IN_ITS_PLACE_S = 20.0, 0.1


class Animation:
    """One animated picture file; with ``realtime`` it plays at its own rate, as if live."""

    def __init__(self, path: str, *, realtime: bool = False, max_pixels: int = FILE_PIXELS) -> None:
        """
        Raises:
            SourceError: it cannot be read, or this OpenCV has no decoder for it.
        """
        self.live = realtime
        self.description = path
        if not hasattr(cv2, "imdecodeanimation"):
            raise SourceError(
                f"{path}: an animation, which OpenCV {cv2.__version__} gives one picture of; "
                "pip install -U opencv-python (4.12 or later), or convert it to GIF or MP4"
            )
        try:
            data = read_bytes(path, max_pixels)
            self._stated = read_heif(data) if begins_heif(data) else None
            if self._stated is None:
                self._size_px = stated_size(data)
            else:
                self._size_px = self._stated.width_px, self._stated.height_px
            check_size(*self._size_px, max_pixels)
        except SourceError as error:
            raise SourceError(f"{path}: {error}", error.kind) from None
        self._data = np.frombuffer(data, np.uint8)
        # As many at a time as one picture of the largest size that is allowed would take.
        self._batch = max(1, max_pixels // (self._size_px[0] * self._size_px[1]))
        self._closed = threading.Event()
        self._ended = False
        self._first = self._decode(0)
        if not self._first:
            raise SourceError(f"{path}: an animation that cannot be decoded; copy it again")

    def _decode(self, start: int) -> list[tuple[Image, float]]:
        """The next pictures from number ``start`` on, each with how long it is shown in seconds."""
        try:
            whole, found = cv2.imdecodeanimation(self._data, start=start, count=self._batch)
        except cv2.error:
            return []
        if not whole:
            return []
        return [
            (self._shown(image), _length_s(float(length_ms)))
            for image, length_ms in zip(found.frames, found.durations, strict=False)
        ]

    def _shown(self, image: Image) -> Image:
        image = np.ascontiguousarray(image[..., :3])
        return image if self._stated is None else turned_heif(image, self._stated)

    def _all(self) -> Iterator[tuple[Image, float]]:
        start, found, self._first = 0, self._first, []
        while found:
            yield from found
            start += len(found)
            found = self._decode(start) if len(found) == self._batch else []

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield every picture, then end."""
        pace, media_time_s = Pace(self._closed, idle), 0.0
        for sequence, (image, length_s) in enumerate(self._all()):
            captured_s = pace.wait(media_time_s) if self.live else time.monotonic()
            if self._closed.is_set():
                return
            yield Frame(image, sequence, captured_s, time.time(), round(media_time_s, 3))
            media_time_s += length_s
        self._ended = True

    def status(self) -> SourceStatus:
        """Online until the last picture, then ended."""
        return SourceStatus("ended" if self._ended else "online")

    def close(self) -> None:
        """Stop from any thread."""
        self._closed.set()


def _length_s(stated_ms: float) -> float:
    return stated_ms / 1000.0 if stated_ms >= _LEAST_MS else _IN_ITS_PLACE_S
