"""What a file is by its first bytes, whatever it is called."""

from __future__ import annotations

import os
from typing import Literal

from edgecam.core.errors import SourceError
from edgecam.sources.picture_limits import HEAD_BYTES, regular

# Of an animation OpenCV gives all pictures, of a film (GIF, APNG) FFmpeg does; of both the first
# is a picture among others. A recording is one JPEG after another.
Format = Literal["picture", "animation", "film", "recording"]

# Of these a file of the AV1 codec, of HEVC, or of either begins with one; its boxes decide.
BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2"}
    | {b"miaf", b"msf1", b"avif", b"avis", b"avio", b"heif", b"jpeg", b"jpgs", b"avci", b"avcs"}
    | {b"vvic", b"vvis", b"evbi", b"evbs", b"j2ki", b"j2is", b"1pic", b"unif", b"MA1A", b"MA1B"}
)
SEQUENCES = frozenset({b"avis", b"msf1", b"hevc", b"hevx", b"hevm", b"hevs"})

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


def begins_heif(head: bytes) -> bool:
    """Whether a file that begins so is such a picture by its brands, major or compatible."""
    if head[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(head[:4], "big"), len(head))
    if head[8:12] in BRANDS:
        return True
    # A video that is compatible with a picture is a video.
    return head[8:12] == b"MiHB" or (
        any(head[at : at + 4] in BRANDS for at in range(16, end - 3, 4))
        and not any(head[at : at + 3] in (b"mp4", b"iso", b"avc") for at in range(8, end - 3, 4))
    )


def begins_sequence(head: bytes) -> bool:
    """Whether it is a sequence of pictures, as an animated AVIF is."""
    return head[4:8] == b"ftyp" and head[8:12] in SEQUENCES


def _is_many(data: bytes) -> bool:
    """Whether one JPEG follows another, as in a recording of a camera's MJPEG."""
    if _MULTI_PICTURE in data[:HEAD_BYTES]:
        return False
    # A clip has no use for it.
    from edgecam.sources.jpeg import jpeg_end

    try:
        end = jpeg_end(data)
    except SourceError:
        return False
    return data[end : end + 64].lstrip(b"\0\r\n").startswith(b"\xff\xd8\xff")
