"""How a picture's EXIF says that it is to be turned, where its decoder leaves that to others.

OpenCV turns JPEG and TIFF. Of WebP it takes no EXIF that begins as JPEG's does, of PNG none in
ImageMagick's text, and older versions turn neither.
"""

from __future__ import annotations

import binascii
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from edgecam.core.frame import Image
from edgecam.core.opencv import cv2

_TAG, _SHORT = 0x0112, 3
# What OpenCV makes of an orientation: whether it is transposed, then how it is mirrored.
_TRANSPOSED = frozenset({5, 6, 7, 8})
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
_MAX_CHUNKS, _MAX_EXIF_BYTES = 10_000, 1 << 20
_PREFIX = b"Exif\0\0"
_RAW_PROFILES = (b"Raw profile type exif", b"Raw profile type APP1")


def leaves_turning(data: bytes) -> bool:
    """Whether the format is one whose turning is done here."""
    return data[:4] == b"\x89PNG" or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def orientation(data: bytes) -> int:
    """The EXIF orientation, 1 to 8, of a PNG or WebP; 1 where it states none."""
    found = _of_png(data) if data[:4] == b"\x89PNG" else _of_webp(data)
    return _tag(found) if found else 1


def turned(image: Image, orientation: int) -> Image:
    """Return a picture that is stored in this orientation as it is to be shown."""
    if orientation in _TRANSPOSED:
        image = np.asarray(cv2.transpose(image), np.uint8)
    flip = _FLIPS.get(orientation)
    return image if flip is None else np.asarray(cv2.flip(image, flip), np.uint8)


def _of_webp(data: bytes) -> bytes | None:
    at = 12
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(data):
            return None
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            return data[at + 8 : at + 8 + min(size, _MAX_EXIF_BYTES)]
        at += 8 + size + (size & 1)
    return None


def _of_png(data: bytes) -> bytes | None:
    for kind, content in _png_chunks(data):
        if kind == b"eXIf":
            return content
        keyword, _, rest = content.partition(b"\0")
        if kind in (b"zTXt", b"tEXt") and keyword in _RAW_PROFILES:
            return _raw_profile(_inflated(rest[1:]) if kind == b"zTXt" else rest)
    return None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks that may hold EXIF, which may stand behind the picture too."""
    at = 8
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"eXIf", b"zTXt", b"tEXt") and size <= _MAX_EXIF_BYTES:
            yield kind, data[at + 8 : at + 8 + size]
        at += 12 + size


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MAX_EXIF_BYTES)
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> bytes | None:
    """ImageMagick's form: a name, a length, and hexadecimal digits in lines."""
    found = re.match(rb"\s*\w+\s+\d+\s+([0-9a-fA-F\s]+)", text)
    if found is None:
        return None
    try:
        return binascii.unhexlify(b"".join(found[1].split()))
    except binascii.Error:
        return None


def _tag(exif: bytes) -> int:
    """The orientation in the first directory of a TIFF header."""
    exif = exif.removeprefix(_PREFIX)
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for place in range(count):
            tag, kind, number, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * place)
            if (tag, kind, number) == (_TAG, _SHORT, 1):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
