"""Videos from another program, by standard input or a FIFO: read once, from their first byte."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
from collections.abc import Callable, Iterator

from edgecam.core.errors import SourceError
from edgecam.core.frame import Frame
from edgecam.core.printable import file_name
from edgecam.core.protocols import SourceStatus, be_idle
from edgecam.sources.kinds import STANDARD_INPUT
from edgecam.sources.picture_limits import HEAD_BYTES
from edgecam.sources.video import VideoFile

LOOK_EVERY_S = 0.25
_PART_BYTES = 65_536


class Pipe:
    """Bytes of another program, passed on through a pipe of edgecam's own.

    FFmpeg waits in native code for what comes next: once this is closed, it sees an end.
    """

    def __init__(self, path: str) -> None:
        """
        Raises:
            SourceError: it cannot be read, or standard input is a terminal.
        """
        is_standard = path in STANDARD_INPUT
        self.description = "standard input" if is_standard else file_name(path)
        try:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            self._from = os.dup(0) if is_standard else os.open(path, flags)
            if os.isatty(self._from):
                os.close(self._from)
                raise SourceError(
                    f"{self.description}: expected a video from another program, found a terminal; "
                    "write PROGRAM | edgecam --source -"
                )
        except OSError as error:
            raise SourceError(f"{self.description}: {error.strerror or error}") from error
        self.output, self._into = os.pipe()
        self._closed = threading.Event()
        self._poll = select.poll()
        self._poll.register(self._from, select.POLLIN)

    def head(self) -> bytes:
        """Wait for the first bytes, which FFmpeg gets too; empty at the end or once closed."""
        head = b""
        while len(head) < HEAD_BYTES and (part := self._part()):
            head += part
        threading.Thread(target=self._copy, args=(head,), name="source-pipe", daemon=True).start()
        return head[:HEAD_BYTES]

    def _part(self) -> bytes:
        while not self._closed.is_set():
            if self._poll.poll(1000 * LOOK_EVERY_S):
                with contextlib.suppress(BlockingIOError):
                    return os.read(self._from, _PART_BYTES)
        return b""

    def _copy(self, part: bytes) -> None:
        # A pipe that nothing reads any more cannot be written.
        with contextlib.suppress(OSError):
            while part:
                part = part[os.write(self._into, part) :] or self._part()
        os.close(self._into)
        os.close(self._from)

    def end(self) -> None:
        """End the stream for what reads it, from any thread."""
        self._closed.set()

    def close(self) -> None:
        """Close what FFmpeg read from, once it has let go of it; after ``head``."""
        self.end()
        os.close(self.output)


class PipedVideo:
    """A video that is opened once its first bytes come, and ends with them."""

    def __init__(
        self, path: str, *, realtime: bool, rate_hz: float | None, max_pixels: int
    ) -> None:
        """
        Raises:
            SourceError: as ``Pipe``.
        """
        self._pipe = Pipe(path)
        self._realtime, self._rate_hz, self._max_pixels = realtime, rate_hz, max_pixels
        self.live = realtime
        self.description = self._pipe.description
        self._video: VideoFile | None = None
        # One frame ahead: what is next may be long in coming, and is waited for in native code.
        self._decoded: queue.Queue[Frame | SourceError | None] = queue.Queue(1)
        self._closed = threading.Event()

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield every frame that can be decoded, then end.

        Raises:
            SourceError: what comes is no video.
        """
        threading.Thread(target=self._decode, name="source-decoder", daemon=True).start()
        try:
            while not self._closed.is_set():
                try:
                    found = self._decoded.get(timeout=LOOK_EVERY_S)
                except queue.Empty:
                    idle()
                    continue
                if found is None:
                    return
                if isinstance(found, SourceError):
                    raise found
                yield found
        finally:
            self.close()

    def _decode(self) -> None:
        found: SourceError | None = None
        try:
            head = self._pipe.head()
            if not head and not self._closed.is_set():
                raise SourceError(
                    f"{self.description}: expected a video from another program, which ended "
                    "and wrote nothing; run it alone to see what it says"
                )
            if not self._closed.is_set():
                self._video = VideoFile(
                    self.description,
                    realtime=self._realtime,
                    rate_hz=self._rate_hz,
                    max_pixels=self._max_pixels,
                    stream=(self._pipe.output, head),
                )
                for frame in self._video.frames():
                    if not self._hand_over(frame):
                        break
                self._video.close()
        except SourceError as error:
            found = error
        finally:
            self._pipe.close()
        self._hand_over(found)

    def _hand_over(self, found: Frame | SourceError | None) -> bool:
        """Wait until it is taken; False once the source is closed."""
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._decoded.put(found, timeout=LOOK_EVERY_S)
                return True
        return False

    def status(self) -> SourceStatus:
        """Offline until the first picture comes."""
        if self._video is None:
            return SourceStatus("offline", "nothing has come yet")
        return self._video.status()

    def close(self) -> None:
        """Stop from any thread; what is open is closed by the thread that reads it."""
        self._closed.set()
        self._pipe.end()
        if self._video is not None:
            self._video.close()
