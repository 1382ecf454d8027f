"""Encoded pictures to BGR, refusing damaged ones that OpenCV would fill with grey."""

from __future__ import annotations

import numpy as np

from edgecam.core.opencv import cv2
from edgecam.core.result import Image, SourceError

START_OF_IMAGE = b"\xff\xd8"
END_OF_IMAGE = b"\xff\xd9"
START_OF_SCAN = 0xDA
# Start-of-frame markers: 0xC0 to 0xCF less DHT, JPG and DAC (ITU-T T.81, table B.1).
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# A few bytes may ask for gigabytes: no camera takes pictures larger than this.
MAX_PIXELS = 100_000_000


def decode_image(data: bytes) -> Image:
    """Decode any picture to BGR uint8[H, W, 3], 0..255, turned upright as its EXIF tag says.

    16-bit pictures are scaled to 8 bits, grey ones get three channels, alpha is dropped.
    Raises SourceError where the picture is damaged or cut short.
    """
    fault = damage(data)
    if fault:
        raise SourceError(fault)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError("not a picture that can be decoded") from error
    if image is None:
        raise SourceError("not a picture that can be decoded")
    decoded: Image = image
    return decoded


def damage(data: bytes) -> str | None:
    """What is wrong with a picture's outside, or None; OpenCV takes truncated ones as whole."""
    if not data:
        return "the picture is empty"
    if data.startswith(START_OF_IMAGE):
        return _jpeg_damage(data)
    if data.startswith(b"\x89PNG"):
        return None if b"IEND" in data[-64:] else "the PNG is cut short"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        stated = int.from_bytes(data[4:8], "little") + 8
        return None if len(data) >= stated else "the WebP is cut short"
    if data.startswith(b"BM"):
        stated = int.from_bytes(data[2:6], "little")
        return None if len(data) >= stated else "the BMP is cut short"
    return None


def _jpeg_damage(data: bytes) -> str | None:
    """Walk the segments to the scan, then look for the end marker (ITU-T T.81, annex B).

    Inside a scan 0xff is always followed by a stuffed zero or a restart marker, so an end marker
    there is real; one in an embedded thumbnail lies in a segment and is stepped over.
    """
    position = len(START_OF_IMAGE)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return "the JPEG is damaged"
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == START_OF_SCAN:
            whole = data.find(END_OF_IMAGE, position) >= 0
            return None if whole else "the JPEG is cut short"
        if marker in START_OF_FRAME:
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            if height * width > MAX_PIXELS:
                return f"the JPEG says it is {width}x{height}"
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return "the JPEG is cut short"
