"""JPEG over HTTP: a multipart stream (MJPEG) or one picture fetched again and again.

An own reader rather than FFmpeg's: every picture has a deadline whatever trickles in, damaged
ones are seen and counted, and none waits for the next one's boundary.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from edgecam.core.errors import SourceError
from edgecam.core.frame import Image
from edgecam.core.printable import printable
from edgecam.settings.schema import SourceSettings
from edgecam.sources.ffmpeg import PROBE_TIMEOUT_S, FfmpegEndpoint
from edgecam.sources.http_get import Answer
from edgecam.sources.jpeg import START_OF_IMAGE
from edgecam.sources.jpeg_stream import JpegReader
from edgecam.sources.live import Capture
from edgecam.sources.multipart import MultipartReader
from edgecam.sources.picture import decode_image
from edgecam.sources.picture_limits import max_pixels
from edgecam.sources.supervised import StreamError
from edgecam.sources.tcp_probe import connect
from edgecam.sources.tls import camera_context
from edgecam.sources.url import StreamUrl

MULTIPART, PICTURE, FOR_FFMPEG = "multipart", "picture", "for FFmpeg"
MAX_TYPE = 40
PAGES = ("json", "html", "xml")
KNOWN_PAGES = ("text/html", "text/plain", "application/json", "text/xml", "application/xml")


class HttpEndpoint:
    """``http://``: what the server answers decides between MJPEG, snapshots and FFmpeg."""

    formats = None

    def __init__(self, url: StreamUrl, settings: SourceSettings) -> None:
        self.description = url.shown
        self._url = url
        self._settings = settings
        self._max_pixels = max_pixels(settings, live=True)
        self._context = camera_context(settings) if url.scheme == "https" else None

    def probe(self) -> None:
        """Raise StreamError where nothing listens."""
        connect(self._url, PROBE_TIMEOUT_S).close()

    def recheck(self) -> None:
        """Ask for one picture; a server may accept connections and give none."""
        limit_s = PROBE_TIMEOUT_S
        answer = Answer(self._url, time.monotonic() + limit_s, self._context)
        try:
            if kind_of(answer) == MULTIPART:
                MjpegCapture(answer, limit_s, lambda _: None, self._max_pixels).read()
        finally:
            answer.close()

    def open(self, count: Callable[[str], None]) -> Capture:
        """Open an MJPEG stream, or a snapshot that is fetched again and again."""
        limit_s = min(self._settings.open_timeout_s, self._settings.read_timeout_s)
        answer = Answer(self._url, time.monotonic() + limit_s, self._context)
        kind = None
        try:
            kind = kind_of(answer)
            if kind == MULTIPART:
                timeout_s = self._settings.read_timeout_s
                return MjpegCapture(answer, timeout_s, count, self._max_pixels)
        finally:
            if kind != MULTIPART:
                answer.close()
        if kind == PICTURE:
            return SnapshotCapture(self._url, self._settings, count)
        return FfmpegEndpoint(self._url, self._settings).open(count)


def kind_of(answer: Answer) -> str:
    """What to read an answer with.

    Cameras name no type, that of their web server, or that of a stream for one picture: what the
    body begins with counts for more.

    Raises:
        StreamError: it is a page, or nothing comes.
    """
    named = answer.headers.get_content_type() if "Content-Type" in answer.headers else ""
    if named.startswith(("video/", "audio/")):
        return FOR_FFMPEG
    begins = answer.peek().lstrip(b"\r\n")
    if begins.startswith(START_OF_IMAGE):
        return PICTURE
    if named.startswith("multipart/") or begins.startswith(b"--"):
        return MULTIPART
    if named.startswith("image/"):
        return PICTURE
    if named.startswith("text/") or named.endswith(PAGES):
        shown = named if named in KNOWN_PAGES else "text"
        raise StreamError("rejected", f"the server answers with {shown}, not with a picture stream")
    return FOR_FFMPEG


class MjpegCapture:
    """Pictures of a multipart stream; damaged parts are counted and passed over."""

    def __init__(
        self,
        answer: Answer,
        read_timeout_s: float,
        count: Callable[[str], None],
        max_pixels: int,
    ) -> None:
        boundary = answer.headers.get_param("boundary")
        if not isinstance(boundary, str):
            boundary = None
        self._answer = answer
        self._parts = MultipartReader(boundary, answer.receive)
        self._read_timeout_s = read_timeout_s
        self._count = count
        self._max_pixels = max_pixels

    def read(self) -> Image:
        """Return the next picture of the stream."""
        self._answer.deadline_s = time.monotonic() + self._read_timeout_s
        while True:
            try:
                return decode_image(self._parts.next_part(), self._max_pixels)
            except SourceError as error:
                if self._parts.type_named.startswith(("video/", "audio/")):
                    shown = printable(self._parts.type_named, MAX_TYPE)
                    raise StreamError(
                        "rejected",
                        f"expected JPEGs in the parts of the stream, found {shown}; set the camera "
                        "to MJPEG, or name its rtsp:// address in source.url",
                    ) from None
                self._count("damaged_pictures")
                if time.monotonic() >= self._answer.deadline_s:
                    raise StreamError("garbage", f"only damaged pictures: {error}") from None

    def close(self) -> None:
        """Close the connection."""
        self._answer.close()


class SnapshotCapture:
    """One picture a request, ``rate_hz`` times a second.

    An answer that states no length and goes on with another picture is a stream, and is read on.
    """

    def __init__(
        self, url: StreamUrl, settings: SourceSettings, count: Callable[[str], None]
    ) -> None:
        self._url = url
        self._read_timeout_s = settings.read_timeout_s
        self._period_s = 1.0 / (settings.rate_hz or 1.0)
        self._count = count
        self._max_pixels = max_pixels(settings, live=True)
        self._context = camera_context(settings) if url.scheme == "https" else None
        self._next_s = 0.0
        # The answer that goes on, and the pictures in it.
        self._stream: tuple[Answer, JpegReader] | None = None

    def read(self) -> Image:
        """Fetch and return the next picture."""
        if self._stream is not None:
            return self._read_on(*self._stream)
        deadline_s = time.monotonic() + self._period_s + self._read_timeout_s
        while True:
            time.sleep(max(0.0, self._next_s - time.monotonic()))
            self._next_s = time.monotonic() + self._period_s
            try:
                return decode_image(self._fetch(), self._max_pixels)
            except SourceError as error:
                self._count("damaged_pictures")
                if time.monotonic() >= deadline_s:
                    raise StreamError("garbage", f"only damaged pictures: {error}") from None

    def _read_on(self, answer: Answer, reader: JpegReader) -> Image:
        answer.deadline_s = time.monotonic() + self._read_timeout_s
        while True:
            try:
                return decode_image(reader.next_picture(), self._max_pixels)
            except SourceError as error:
                self._count("damaged_pictures")
                if time.monotonic() >= answer.deadline_s:
                    raise StreamError("garbage", f"only damaged pictures: {error}") from None

    def _fetch(self) -> bytes:
        answer = Answer(self._url, time.monotonic() + self._read_timeout_s, self._context)
        reader = JpegReader(answer.receive)
        may_go_on = "Content-Length" not in answer.headers
        try:
            while True:
                try:
                    reader.more()
                except StreamError as error:
                    if error.kind == "closed" and reader.buffered:
                        return reader.buffered
                    raise
                if may_go_on and (picture := reader.before_another()) is not None:
                    self._stream = answer, reader
                    return picture
        finally:
            if self._stream is None:
                answer.close()

    def close(self) -> None:
        """Close the answer that goes on; nothing else stays open between two pictures."""
        if self._stream is not None:
            self._stream[0].close()
