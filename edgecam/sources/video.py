"""Video files: every frame, in order, with its time in the recording."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from edgecam.core.errors import SourceError
from edgecam.core.frame import Frame, Image
from edgecam.core.opencv import cv2
from edgecam.core.protocols import SourceStatus, be_idle
from edgecam.sources.picture import FILE_PIXELS, check_size, regular
from edgecam.sources.playback_clock import Pace

# FFmpeg's own threads hold a frame each and take processor time from the interpreter.
DECODER_THREADS = 1
# Containers without an index state a length computed from duration and rate: it may be off by
# a frame or two, which is not a file that breaks off.
LENGTH_TOLERANCE = 0.02
LENGTH_TOLERANCE_FRAMES = 2
# What begins so is one picture in tiles, or several.
HEIF = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"})
# OpenCV says the same of a frame that cannot be decoded and of the end of the file.
READS_BEFORE_THE_END = 16


class VideoFile:
    """One video file; with ``realtime`` it plays at its own rate, as if live."""

    def __init__(self, path: str, *, realtime: bool = False, max_pixels: int = FILE_PIXELS) -> None:
        self.live = realtime
        self.description = path
        self._check_is_a_video(path)
        # An absolute path cannot be taken for a protocol ("12:30.mp4").
        self._capture: Any = cv2.VideoCapture(
            os.path.abspath(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, DECODER_THREADS]
        )
        if not self._capture.isOpened():
            raise SourceError(
                f"{path}: not a video that can be read (damaged, or unknown format); "
                "see whether another player shows it"
            )
        self._check_size(max_pixels)
        self._undecodable = 0
        first = self._read()
        if first is None:
            self._capture.release()
            raise SourceError(
                f"{path}: the video has no frame that can be decoded; it may be cut off: "
                "copy it again"
            )
        self._first: Image | None = first
        self._rate_hz = _sane(self._capture.get(cv2.CAP_PROP_FPS), 1000.0) or 25.0
        self._stated_frames = int(_sane(self._capture.get(cv2.CAP_PROP_FRAME_COUNT), 1e9) or 0)
        self._closed = threading.Event()
        self._delivered = 0
        self._ended = False
        self._reading = threading.Lock()

    def _check_size(self, most: int) -> None:
        """Refuse large pictures before one is decoded and converted, as OpenCV sees their size."""
        width_px = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)
        height_px = self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        try:
            check_size(width_px, height_px, most)
        except SourceError as error:
            self._capture.release()
            raise SourceError(f"{self.description}: {error}", error.kind) from None

    @staticmethod
    def _check_is_a_video(path: str) -> None:
        try:
            with regular(path) as file:
                head = file.read(4096)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from None
        except OSError as error:
            raise SourceError(
                f"{path}: {error.strerror or error}; check the path of the source"
            ) from error
        if not head:
            raise SourceError(f"{path}: the file is empty; copy it again")
        if head[4:8] == b"ftyp" and head[8:12] in HEIF:
            raise SourceError(
                f"{path}: a HEIF or AVIF picture, of which FFmpeg reads a part; convert it to JPEG"
            )
        # FFmpeg would render a text file as a terminal screen and call it a video.
        if not any(byte < 9 or 13 < byte < 27 for byte in head):
            raise SourceError(
                f"{path}: a text file, not a video; name a video, a picture or a folder of pictures"
            )

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield every frame that can be decoded, then end."""
        with self._reading:
            try:
                yield from self._frames(idle)
            finally:
                self._capture.release()

    def _frames(self, idle: Callable[[], None]) -> Iterator[Frame]:
        pace = Pace(self._closed, idle)
        image, self._first = self._first, None
        media_time_s = self._position_s(None)
        while image is not None and not self._closed.is_set():
            captured_s = pace.wait(media_time_s) if self.live else time.monotonic()
            if self._closed.is_set():
                return
            yield Frame(image, self._delivered, captured_s, time.time(), media_time_s)
            self._delivered += 1
            image = self._read()
            media_time_s = self._position_s(media_time_s)
        self._ended = image is None

    def _read(self) -> Image | None:
        """The next frame that can be decoded, or None at the end."""
        for failed in range(READS_BEFORE_THE_END):
            whole, image = self._capture.read()
            if whole:
                self._undecodable += failed
                decoded: Image = image
                return decoded
        return None

    def _position_s(self, previous_s: float | None) -> float:
        """The container's time of the frame just read, else one frame after the previous one."""
        position_s = float(round(self._capture.get(cv2.CAP_PROP_POS_MSEC), 3)) / 1000.0
        if previous_s is None:
            return max(position_s, 0.0)
        return position_s if position_s > previous_s else previous_s + 1.0 / self._rate_hz

    def status(self) -> SourceStatus:
        """Online until the last frame, then ended, with a reason where the file breaks off."""
        faults = {"undecodable": self._undecodable} if self._undecodable else {}
        if not self._ended:
            return SourceStatus("online", faults=faults)
        missing = self._stated_frames - self._delivered - self._undecodable
        if missing <= max(LENGTH_TOLERANCE_FRAMES, LENGTH_TOLERANCE * self._stated_frames):
            return SourceStatus("ended", faults=faults)
        reason = f"the file breaks off after {self._delivered} of {self._stated_frames} frames"
        return SourceStatus("ended", reason, faults={**faults, "broken_off": 1})

    def close(self) -> None:
        """Stop from any thread; the file is closed by the thread that reads it."""
        self._closed.set()
        if self._reading.acquire(blocking=False):
            self._capture.release()
            self._reading.release()


def _sane(value: float, limit: float) -> float | None:
    """A property that OpenCV may also report as 0, negative, huge or not a number."""
    return value if 0 < value < limit else None
