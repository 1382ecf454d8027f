"""What a file is by its first bytes, whatever it is called."""

from __future__ import annotations

import os
from typing import Literal

from edgecam.core.errors import SourceError
from edgecam.sources.heif import begins_heif, begins_sequence
from edgecam.sources.jpeg import jpeg_end
from edgecam.sources.picture import HEAD_BYTES, regular

# Of an animation OpenCV gives all pictures, of a film (GIF, APNG) FFmpeg does; of both the first
# is a picture among others. A recording is one JPEG after another.
Format = Literal["picture", "animation", "film", "recording"]

_PNG, _GIF = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")
_STILL = (b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WEBP_ANIMATED = 0x02
# What a pair of pictures in one JPEG file has in its header: a preview, or the other eye's.
_MULTI_PICTURE = b"MPF\0"
_MAX_JPEG_BYTES = 64 << 20


def format_of(path: str | os.PathLike[str]) -> Format | None:
    """Return what a file is, None where its first bytes are of no picture.

    Raises:
        SourceError, OSError: it cannot be read.
    """
    with regular(path) as file:
        head = file.read(HEAD_BYTES)
        if head.startswith(b"\xff\xd8\xff"):
            return "recording" if _is_many(head + file.read(_MAX_JPEG_BYTES)) else "picture"
    if head.startswith(_GIF) or (head.startswith(_PNG) and b"acTL" in head):
        return "film"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        moves = head[12:16] == b"VP8X" and head[20:21] and head[20] & _WEBP_ANIMATED
        return "animation" if moves else "picture"
    if begins_heif(head):
        return "animation" if begins_sequence(head) else "picture"
    is_netpbm = head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace()
    if head.startswith((_PNG, *_STILL)) or is_netpbm:
        return "picture"
    return None


def _is_many(data: bytes) -> bool:
    """Whether one JPEG follows another, as in a recording of a camera's MJPEG."""
    if _MULTI_PICTURE in data[:HEAD_BYTES]:
        return False
    try:
        end = jpeg_end(data)
    except SourceError:
        return False
    return data[end : end + 64].lstrip(b"\0\r\n").startswith(b"\xff\xd8\xff")
