"""Video files: every frame, in order, with its time in the recording."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from edgecam.core.errors import SourceError
from edgecam.core.frame import Frame, Image
from edgecam.core.opencv import cv2
from edgecam.core.printable import file_name
from edgecam.core.protocols import SourceStatus, be_idle
from edgecam.sources.ffmpeg_opening import SOON, open_capture
from edgecam.sources.picture_limits import FILE_PIXELS, HEAD_BYTES, check_size, regular
from edgecam.sources.playback_clock import Pace
from edgecam.sources.recording_length import Length
from edgecam.sources.video_size import stated_sizes

log = logging.getLogger(__name__)

# FFmpeg's own threads hold a frame each and take processor time from the interpreter.
DECODER_THREADS = 1
# FFmpeg's own for what states no rate.
DEFAULT_HZ = 25.0
# A start code of MPEG's video codecs; a pack of a program stream (0xba) is a container.
_ELEMENTARY = re.compile(rb"\x00{2,}\x01[^\xba]", re.DOTALL)
# OpenCV says the same of a frame that cannot be decoded and of the end of the file.
READS_BEFORE_THE_END = 16


class VideoFile:
    """One video file; with ``realtime`` it plays at its own rate, as if live.

    ``rate_hz`` is the rate of a recording that has neither a container nor times; one that has
    times keeps them.
    """

    def __init__(
        self,
        path: str,
        *,
        realtime: bool = False,
        rate_hz: float | None = None,
        max_pixels: int = FILE_PIXELS,
        stream: tuple[int, bytes] | None = None,
    ) -> None:
        """``stream``: descriptor and first bytes of a pipe; ``path`` is then a name for people."""
        self.live = realtime
        self.description = file_name(path)
        if stream is not None:
            self._head, self._descriptor = stream[1], None
            name, protocol, options = f"pipe:{stream[0]}", "pipe", SOON
            self._check_head()
        else:
            self._read_head(path, max_pixels)
            # FFmpeg takes names of Unicode alone, and an absolute one for no protocol
            # ("12:30.mp4").
            is_given = _is_unicode(path)
            self._descriptor = None if is_given else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            name = os.path.abspath(path) if is_given else f"/proc/self/fd/{self._descriptor}"
            protocol, options = "file", ""
        threads = [cv2.CAP_PROP_N_THREADS, DECODER_THREADS]
        self._capture: Any = open_capture(name, threads, max_pixels, options, protocol)
        if not self._capture.isOpened():
            self._release()
            raise SourceError(
                f"{self.description}: {self._why_not(stream is not None, max_pixels)}"
            )
        self._check_size(max_pixels)
        self._undecodable = 0
        first = self._read()
        if first is None:
            self._release()
            raise SourceError(
                f"{self.description}: the video has no frame that can be decoded; it may be cut "
                f"off: copy it again; or have more than {max_pixels / 1e6:g} million pixels: raise "
                "source.max_megapixels"
            )
        self._first: Image | None = first
        self._stated_hz = _sane(self._capture.get(cv2.CAP_PROP_FPS), 1000.0)
        self._given_hz = rate_hz
        self._rate_hz = rate_hz or self._stated_hz or DEFAULT_HZ
        # FFmpeg gives single JPEGs in a row 25 a second.
        self._is_timeless = self._head.startswith(b"\xff\xd8\xff")
        stated = int(_sane(self._capture.get(cv2.CAP_PROP_FRAME_COUNT), 1e9) or 0)
        with io.BytesIO() if stream else open(path, "rb") as file:
            self._length = Length(file, self._head, 0 if stream else stated, self._stated_hz or 0)
        self._closed = threading.Event()
        self._delivered = 0
        self._last_s = self._longest_gap_s = 0.0
        self._ended = False
        self._reading = threading.Lock()

    def _release(self) -> None:
        self._capture.release()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _check_size(self, most: int) -> None:
        """Refuse large pictures before one is decoded and converted, as OpenCV sees their size."""
        width_px = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)
        height_px = self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        try:
            check_size(width_px, height_px, most)
        except SourceError as error:
            self._release()
            raise SourceError(f"{self.description}: {error}", error.kind) from None

    def _read_head(self, path: str, most: int) -> None:
        """Read the first bytes of a file, and refuse what is no video, or too large a one."""
        try:
            with regular(path) as file:
                self._head = file.read(HEAD_BYTES)
                for size in stated_sizes(file):
                    check_size(*size, most)
        except SourceError as error:
            raise SourceError(f"{self.description}: {error}", error.kind) from None
        except OSError as error:
            raise SourceError(
                f"{self.description}: {error.strerror or error}; check the path of the source"
            ) from error
        if not self._head:
            raise SourceError(f"{self.description}: the file is empty; copy it again")
        self._check_head()

    def _check_head(self) -> None:
        # FFmpeg would render a text file as a terminal screen and call it a video.
        if not any(byte < 9 or 13 < byte < 27 for byte in self._head):
            raise SourceError(
                f"{self.description}: a text file, not a video; name a video, a picture or a "
                "folder of pictures"
            )

    def _why_not(self, is_pipe: bool, most: int) -> str:
        if is_pipe and self._head[4:8] == b"ftyp":
            return (
                "expected a video that can be read from its beginning, found an MP4, whose index "
                "stands at its end; write MPEG-TS (ffmpeg -f mpegts -) or Matroska"
            )
        return (
            "not a video that can be read (damaged, of an unknown format, or of more than "
            f"{most / 1e6:g} million pixels); see whether another player shows it"
        )

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield every frame that can be decoded, then end."""
        with self._reading:
            try:
                yield from self._frames(idle)
            finally:
                self._release()

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
            self._longest_gap_s = max(self._longest_gap_s, media_time_s - self._last_s)
            self._last_s = media_time_s
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
            if self._is_timeless:
                self._say_assumed()
                return 0.0
            return max(position_s, 0.0)
        if not self._is_timeless and self._delivered == 1 and position_s <= previous_s:
            # The second frame of H.264 or HEVC without a container has no time either.
            self._is_timeless = _ELEMENTARY.match(self._head) is not None
            if self._is_timeless:
                self._say_assumed()
        if self._is_timeless:
            return self._delivered / self._rate_hz
        return position_s if position_s > previous_s else previous_s + 1.0 / self._rate_hz

    def _say_assumed(self) -> None:
        if self._given_hz is None:
            log.warning(
                "%s: a recording without times: %g frames a second are assumed; say at how many "
                "it was made with source.rate_hz",
                *(self.description, self._rate_hz),
            )

    def status(self) -> SourceStatus:
        """Online until the last frame, then ended, with a reason where the file breaks off."""
        faults = {"undecodable": self._undecodable} if self._undecodable else {}
        if not self._ended:
            return SourceStatus("online", faults=faults)
        found = self._delivered + self._undecodable
        if not self._length.breaks_off(found, self._last_s, self._longest_gap_s):
            return SourceStatus("ended", faults=faults)
        reason = f"the file breaks off after {self._delivered} of {self._length.frames} frames"
        return SourceStatus("ended", reason, faults={**faults, "broken_off": 1})

    def close(self) -> None:
        """Stop from any thread; the file is closed by the thread that reads it."""
        self._closed.set()
        if self._reading.acquire(blocking=False):
            self._release()
            self._reading.release()


def _sane(value: float, limit: float) -> float | None:
    """A property that OpenCV may also report as 0, negative, huge or not a number."""
    return value if 0 < value < limit else None


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
