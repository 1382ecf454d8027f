"""How many pixels a picture states, read from its first bytes, before a decoder sees it.

A few bytes may state a picture that fills the memory of a board. OpenCV decodes more formats than
these; what is not listed here has no size that can be trusted and is refused.
"""

from __future__ import annotations

import re
import struct

from edgecam.core.errors import SourceError
from edgecam.sources.jpeg import jpeg_size

Size = tuple[int, int]
FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or PGM"
# Deflate makes at most so many bytes of one (258 bytes of two bits, RFC 1951).
_DEFLATE_TIMES = 1032
_PNG, _PNG_SAMPLES = b"\x89PNG\r\n\x1a\n", {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_TIFF = {b"II*\0": ("<", 4), b"MM\0*": (">", 4), b"II+\0": ("<", 8), b"MM\0+": (">", 8)}
_TIFF_TYPES = {3: "H", 4: "I", 16: "Q"}
# Bit 0 of the subfile's type says that a page is a smaller copy of another.
_TIFF_SUBFILE, _DNG_VERSION = 254, 50706
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_COMPRESSION = 256, 257, 259
_TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 322, 323
_TIFF_TAGS = (
    *(_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT),
    _TIFF_COMPRESSION,
)
# How often a compressed TIFF may hold its own bytes, pixels of a bit at least: none; LZW, whose
# longest string fills its table; JPEG, a block of 64 bytes in two bits; Deflate; PackBits, 128
# bytes in two; SGI's floats, packed likewise; LZMA, a match of 273 bytes in a sixth of a bit; a
# block of Zstandard, 128 kB in four bytes.
_LZW_TIMES = 4096
_TIFF_TIMES = {
    1: 1,
    5: _LZW_TIMES,
    6: 256,
    7: 256,
    8: _DEFLATE_TIMES,
    32946: _DEFLATE_TIMES,
    32773: 64,
    34676: 64,
    34677: 64,
    34925: 1 << 14,
    50000: 1 << 15,
}
# Fax: a line takes a bit at least, however wide it is ("as the one before", ITU-T T.6).
_TIFF_FAX = (2, 3, 4, 32771)
# The two modes of a macroblock, 16 by 16 pixels, take more than two bits, whatever is in it
# (RFC 6386, 11.2: fixed probabilities).
_VP8_PIXELS_PER_BYTE = 1024
_WEBP_ANIMATED = 0x02
# OpenCV takes one byte behind a number for its end, whatever it is.
_PNM = re.compile(rb"P([1-6])" + 2 * rb"\s(?:\s|#[^\r\n]*[\r\n])*+(\d{1,9})" + rb"(?!\d)")
# More than any encoder writes; each is a step of a walk.
_MAX_CHUNKS, _MAX_ENTRIES = 100_000, 4096


def stated_size(data: bytes) -> Size:
    """The width and height in pixels that an encoded picture states, before any turning.

    Raises:
        SourceError: it is empty, damaged, cut short or of another format, or has fewer bytes than
            so many pixels take.
    """
    if not data:
        raise SourceError("the picture is empty")
    if data.startswith(b"\xff\xd8\xff"):
        return jpeg_size(data)
    for start, read in _READERS:
        if data.startswith(start):
            try:
                width_px, height_px = read(data)
            except (struct.error, IndexError, OverflowError):
                raise SourceError("the picture is cut short") from None
            if width_px < 1 or height_px < 1:
                raise SourceError(f"the picture is damaged: it states {width_px}x{height_px}")
            return width_px, height_px
    raise SourceError(f"not a picture that can be decoded: expected {FORMATS}")


def _png(data: bytes) -> Size:
    if data[:8] != _PNG or data[8:16] != b"\0\0\0\x0dIHDR":
        raise SourceError("the PNG is damaged")
    width_px, height_px, depth, colour = struct.unpack_from(">IIBB", data, 16)
    _check_chunks(data, width_px, height_px)
    row_bytes = 1 + -(-width_px * depth * _PNG_SAMPLES.get(colour, 1) // 8)
    if row_bytes * height_px > _DEFLATE_TIMES * len(data):
        raise _too_few("PNG", width_px, height_px, len(data))
    return width_px, height_px


def _too_few(form: str, width_px: int, height_px: int, held_bytes: int) -> SourceError:
    return SourceError(
        f"the {form} states {width_px}x{height_px} pixels, more than {held_bytes} bytes can "
        "hold; it is damaged"
    )


def _check_chunks(data: bytes, width_px: int, height_px: int) -> None:
    """Walk to the end of a PNG.

    OpenCV searches without end in one whose chunks do not join, and writes past the end of a
    picture where a frame of an animation lies outside it.
    """
    position = len(_PNG)
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            raise SourceError("the PNG is cut short")
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IEND":
            return
        if kind == b"fcTL":
            width, height, left, top = struct.unpack_from(">IIII", data, position + 12)
            if left + width > width_px or top + height > height_px:
                raise SourceError("the PNG is damaged: a frame lies outside its picture")
        position += 12 + length
    raise SourceError(f"the PNG has more than {_MAX_CHUNKS} chunks; save it again")


def _webp(data: bytes) -> Size:
    stated = int.from_bytes(data[4:8], "little") + 8
    if data[8:12] != b"WEBP" or len(data) < stated:
        raise SourceError("the WebP is cut short" if data[8:12] == b"WEBP" else "not a picture")
    kind, at = data[12:16], 12
    if kind == b"VP8X":
        sides = data[24:27], data[27:30]
        canvas = 1 + int.from_bytes(sides[0], "little"), 1 + int.from_bytes(sides[1], "little")
        if data[20] & _WEBP_ANIMATED:  # of any size, whatever its frames are; they lie within it
            return canvas
        at = _webp_picture(data)
        kind = data[at : at + 4]
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, at + 9)
        size = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, at + 14))
        if width * height > _VP8_PIXELS_PER_BYTE * len(data):
            raise _too_few("WebP", width, height, len(data))
        size = width, height
    else:
        raise SourceError("the WebP is damaged")
    if at > 12 and size != canvas:
        raise SourceError("the WebP is damaged: its picture is of another size than its canvas")
    return size


def _webp_picture(data: bytes) -> int:
    """Where the picture's chunk begins in a WebP that has others before it."""
    at = 12
    for _ in range(_MAX_CHUNKS):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind in (b"VP8L", b"VP8 "):
            return at
        at += 8 + length + (length & 1)
    raise SourceError(f"the WebP has more than {_MAX_CHUNKS} chunks; save it again")


def _gif(data: bytes) -> Size:
    """The logical screen, which OpenCV decodes onto; frames lie within it."""
    width_px, height_px = struct.unpack_from("<HH", data, 6)
    if width_px * height_px > _LZW_TIMES * len(data):
        raise _too_few("GIF", width_px, height_px, len(data))
    return width_px, height_px


def _bmp(data: bytes) -> Size:
    """A negative height counts from the top; a header of 12 bytes is that of OS/2."""
    (header,) = struct.unpack_from("<I", data, 14)
    form = "<HHHH" if header == 12 else "<iiHH"
    width_px, height_px, _, depth = struct.unpack_from(form, data, 18)
    height_px = abs(height_px)
    packed = header >= 36 and struct.unpack_from("<I", data, 30)[0] in (1, 2)
    if len(data) < int.from_bytes(data[2:6], "little") or (
        not packed and width_px * depth * height_px > 8 * len(data)
    ):
        raise SourceError("the BMP is cut short")
    return width_px, height_px


def _tiff(data: bytes) -> Size:
    """The first page, which is the one that is decoded; or its tiles, where they are larger."""
    order, wide = _TIFF[data[:4]]
    big = wide == 8
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    first, step = at + (8 if big else 2), 20 if big else 12
    found: dict[int, int] = {}
    is_preview = False
    if count > _MAX_ENTRIES:
        raise SourceError("the TIFF is damaged")
    for entry in range(first, first + step * count, step):
        tag, kind, number = struct.unpack_from(order + "HH" + ("Q" if big else "I"), data, entry)
        is_preview |= tag == _DNG_VERSION
        if tag == _TIFF_SUBFILE and kind == 4 and number == 1:
            is_preview |= bool(data[entry + step - wide + (0 if order == "<" else 3)] & 1)
        if tag in _TIFF_TAGS:
            if kind not in _TIFF_TYPES or number != 1 or tag in found:
                raise SourceError("the TIFF is damaged")
            (found[tag],) = struct.unpack_from(order + _TIFF_TYPES[kind], data, entry + step - wide)
    if is_preview or data[8:10] == b"CR":
        raise SourceError(
            "a camera's raw photograph, of which the first picture is a preview; convert it to JPEG"
        )
    if _TIFF_WIDTH not in found or _TIFF_HEIGHT not in found:
        raise SourceError("the TIFF is damaged: it states no size")
    width_px, height_px = found[_TIFF_WIDTH], found[_TIFF_HEIGHT]
    _check_tiff_bytes(width_px, height_px, found.get(_TIFF_COMPRESSION, 1), len(data))
    return (
        max(width_px, found.get(_TIFF_TILE_WIDTH, 0)),
        max(height_px, found.get(_TIFF_TILE_HEIGHT, 0)),
    )


def _check_tiff_bytes(width_px: int, height_px: int, compression: int, held_bytes: int) -> None:
    if compression in _TIFF_FAX:
        too_few = height_px > 8 * held_bytes
    elif compression in _TIFF_TIMES:
        too_few = width_px * height_px > 8 * _TIFF_TIMES[compression] * held_bytes
    else:
        raise SourceError(
            f"a TIFF of compression {compression}, which is not decoded; save it again with LZW"
        )
    if too_few:
        raise _too_few("TIFF", width_px, height_px, held_bytes)


def _pnm(data: bytes) -> Size:
    """Plain ones (P1 to P3) take a byte for a sample at least, packed ones (P4) a bit."""
    found = _PNM.match(data)
    if found is None:
        raise SourceError("the PPM is damaged")
    kind, width_px, height_px = (int(part) for part in found.groups())
    bits = {1: 8, 2: 8, 3: 24, 4: 1, 5: 8, 6: 24}[kind]
    if -(-width_px * bits // 8) * height_px > len(data):
        raise SourceError("the PPM is cut short")
    return width_px, height_px


_READERS = (
    (b"\x89PNG", _png),
    (b"RIFF", _webp),
    (b"GIF87a", _gif),
    (b"GIF89a", _gif),
    (b"BM", _bmp),
    *((start, _tiff) for start in _TIFF),
    *((b"P%d" % number, _pnm) for number in range(1, 7)),
)
