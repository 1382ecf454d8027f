"""Parts of a ``multipart/x-mixed-replace`` stream, as soon as their last byte is there."""

from __future__ import annotations

from collections.abc import Callable

from edgecam.sources.jpeg import END_OF_IMAGE, START_OF_IMAGE, is_whole
from edgecam.sources.supervised import StreamError

MAX_PART_BYTES = 32 * 1024 * 1024
# All lines of a part's header together.
MAX_HEADER_BYTES = 16 * 1024
MAX_LENGTH_DIGITS = 12
LINE_ENDS = b"\r\n"


class MultipartReader:
    """Splits a byte stream into parts.

    Cameras name another boundary than they write, or none; write it with and without its leading
    dashes, with ``--`` behind it each time, or in one line with the first header field; leave it
    out before the first part; state a ``Content-Length``, or none, or a wrong one: a part that
    holds the boundary ends there.
    """

    def __init__(self, boundary: str | None, receive: Callable[[], bytes]) -> None:
        named = (boundary or "").strip('" ').lstrip("-").encode("latin-1", "replace")
        self._boundary = b"--" + named if named else b""
        self._receive = receive
        self._buffer = bytearray()
        self._begun = False
        # What the last part says it is.
        self.type_named = ""

    def next_part(self) -> bytes:
        """The next part's body; raises StreamError where the stream is no such thing."""
        if not self._begun:
            self._begin()
        self._skip_to_header()
        length = self._stated_length()
        self._skip_blank_lines()
        if length is None:
            return self._until_picture_ends()
        while len(self._buffer) < length:
            self._more()
        early = self._buffer.find(self._boundary, 0, length)
        return self._take(length if early < 0 else early)

    def _begin(self) -> None:
        """See by the first line what the boundary really is."""
        self._skip_blank_lines()
        while (end := self._buffer.find(b"\n")) < 0:
            self._more(MAX_HEADER_BYTES)
        line = bytes(self._buffer[:end]).strip()
        without_dashes = self._boundary[2:]
        if not self._boundary or self._boundary not in line:
            if line.startswith(b"--") and line.strip(b"-"):
                self._boundary = line
            elif line and line == without_dashes:
                self._boundary = without_dashes
        if not self._boundary:
            raise _no_multipart()
        self._begun = True

    def _skip_blank_lines(self) -> None:
        while True:
            left = len(self._buffer.lstrip(LINE_ENDS))
            del self._buffer[: len(self._buffer) - left]
            if left:
                return
            self._more(MAX_HEADER_BYTES)

    def _skip_to_header(self) -> None:
        while (start := self._buffer.find(self._boundary)) < 0:
            # Keep what may be the beginning of a boundary.
            del self._buffer[: max(0, len(self._buffer) - len(self._boundary))]
            self._more()
        del self._buffer[: start + len(self._boundary)]
        self._line()

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            self._more(MAX_HEADER_BYTES)
        return self._take(end + 1).strip()

    def _stated_length(self) -> int | None:
        """Read the header up to its empty line."""
        length, left, self.type_named = None, MAX_HEADER_BYTES, ""
        while line := self._line():
            left -= len(line) + 1
            if left < 0:
                raise _no_multipart()
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-type":
                self.type_named = value.strip().lower().decode("latin-1")
            digits = value.strip()
            if name.strip().lower() != b"content-length" or not digits.isdigit():
                continue
            if len(digits) > MAX_LENGTH_DIGITS or int(digits) > MAX_PART_BYTES:
                shown = digits[:MAX_LENGTH_DIGITS].decode()
                raise StreamError("garbage", f"a part of {shown} bytes is no camera picture")
            length = int(digits) or None
        return length

    def _until_picture_ends(self) -> bytes:
        """Without a length: up to the next boundary, or to the end of a whole JPEG."""
        searched = 0
        while True:
            end = self._buffer.find(self._boundary, searched)
            if end >= 0:
                return self._take(end)
            if self._buffer.startswith(START_OF_IMAGE):
                tail = bytes(self._buffer[-16:]).rstrip(LINE_ENDS)
                if tail.endswith(END_OF_IMAGE):
                    whole = bytes(self._buffer.rstrip(LINE_ENDS))
                    if is_whole(whole):
                        self._buffer.clear()
                        return whole
            searched = max(0, len(self._buffer) - len(self._boundary))
            self._more()

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _more(self, limit: int = MAX_PART_BYTES) -> None:
        if len(self._buffer) > limit:
            raise _no_multipart()
        self._buffer += self._receive()


def _no_multipart() -> StreamError:
    return StreamError("garbage", "the stream is not the multipart stream it says it is")
