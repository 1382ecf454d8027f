"""JPEGs that follow one another in one answer, with nothing between them but perhaps line ends.

So FFmpeg's ``-f mjpeg`` and programs of hobbyists write them, whatever type they name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from edgecam.sources.jpeg import END_OF_IMAGE, is_whole
from edgecam.sources.multipart import LINE_ENDS, MAX_PART_BYTES
from edgecam.sources.supervised import StreamError

# End of image, line ends, beginning of the next.
MAX_GAP = 16
_BETWEEN = re.compile(rb"\xff\xd9([\r\n]*)(?=\xff\xd8)")


class JpegReader:
    """Splits a byte stream into JPEGs; ``receive`` returns some more bytes of it."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._buffer = bytearray()
        self._searched = 0

    @property
    def buffered(self) -> bytes:
        """What was received and not returned."""
        return bytes(self._buffer)

    def more(self) -> None:
        """Receive some bytes.

        Raises:
            StreamError: the stream ends, or no picture is that large.
        """
        if len(self._buffer) > MAX_PART_BYTES:
            raise StreamError("garbage", f"more than {MAX_PART_BYTES} bytes are no camera picture")
        self._buffer += self._receive()

    def before_another(self) -> bytes | None:
        """The picture at the front where another one follows it, else None.

        A preview inside a picture ends like one, so what is cut out has to be whole.
        """
        while (found := _BETWEEN.search(self._buffer, self._searched)) is not None:
            picture = bytes(self._buffer[: found.start() + len(END_OF_IMAGE)])
            if is_whole(picture):
                del self._buffer[: found.end()]
                self._searched = 0
                return picture
            self._searched = found.end()
        self._searched = max(self._searched, len(self._buffer) - MAX_GAP)
        return None

    def next_picture(self) -> bytes:
        """Return the next picture as soon as its last byte is there.

        Raises:
            StreamError: the stream ends, or no picture is that large.
        """
        while True:
            picture = self.before_another()
            if picture is None and bytes(self._buffer[-16:]).rstrip(LINE_ENDS).endswith(
                END_OF_IMAGE
            ):
                whole = bytes(self._buffer.strip(LINE_ENDS))
                picture = whole if is_whole(whole) else None
                if picture is not None:
                    self._buffer.clear()
                    self._searched = 0
            if picture is not None:
                return picture
            self.more()
