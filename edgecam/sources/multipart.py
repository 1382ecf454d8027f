"""Parts of a ``multipart/x-mixed-replace`` stream, as soon as their last byte is there."""

from __future__ import annotations

from collections.abc import Callable

from edgecam.sources.jpeg import END_OF_IMAGE, START_OF_IMAGE, damage
from edgecam.sources.supervised import StreamError

MAX_PART_BYTES = 32 * 1024 * 1024
MAX_HEADER_BYTES = 16 * 1024


class MultipartReader:
    """Splits a byte stream into parts.

    Cameras write the boundary with and without its leading dashes, with and without a
    ``Content-Length``, and wrong ones too: a part that holds the boundary ends there.
    """

    def __init__(self, boundary: str, receive: Callable[[], bytes]) -> None:
        self._boundary = b"--" + boundary.strip('"').lstrip("-").encode("latin-1")
        self._receive = receive
        self._buffer = bytearray()

    def next_part(self) -> bytes:
        """The next part's body; raises StreamError where the stream is no such thing."""
        self._skip_to_headers()
        length = self._content_length(self._headers())
        if length is None:
            return self._until_picture_ends()
        while len(self._buffer) < length:
            self._more()
        early = self._buffer.find(self._boundary, 0, length)
        return self._take(length if early < 0 else early)

    def _skip_to_headers(self) -> None:
        while (start := self._buffer.find(self._boundary)) < 0:
            # Keep what may be the beginning of a boundary.
            del self._buffer[: max(0, len(self._buffer) - len(self._boundary))]
            self._more()
        del self._buffer[: start + len(self._boundary)]
        while (end := self._buffer.find(b"\n")) < 0:
            self._more(MAX_HEADER_BYTES)
        if self._buffer[:end].strip() == b"--":
            raise StreamError("closed", "the server ended the stream")
        del self._buffer[: end + 1]

    def _headers(self) -> list[bytes]:
        """Header lines up to the empty one."""
        lines: list[bytes] = []
        while True:
            while (end := self._buffer.find(b"\n")) < 0:
                self._more(MAX_HEADER_BYTES)
            line = self._take(end + 1).strip()
            if not line:
                return lines
            lines.append(line)

    @staticmethod
    def _content_length(headers: list[bytes]) -> int | None:
        for line in headers:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
                if length > MAX_PART_BYTES:
                    raise StreamError("garbage", f"a part of {length} bytes is no camera picture")
                return length or None
        return None

    def _until_picture_ends(self) -> bytes:
        """Without a length: up to the next boundary, or to the end of a whole JPEG."""
        while True:
            end = self._buffer.find(self._boundary)
            if end >= 0:
                return self._take(end)
            tail = self._buffer.rstrip(b"\r\n")
            if tail.startswith(START_OF_IMAGE) and tail.endswith(END_OF_IMAGE):
                whole = bytes(tail)
                if damage(whole) is None:
                    self._buffer.clear()
                    return whole
            self._more()

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _more(self, limit: int = MAX_PART_BYTES) -> None:
        if len(self._buffer) > limit:
            raise StreamError("garbage", "the stream is not the multipart stream it says it is")
        self._buffer += self._receive()
