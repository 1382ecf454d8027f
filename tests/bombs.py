"""Pictures of few bytes that state many pixels, and other odd ones, byte by byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

START, END = b"\xff\xd8", b"\xff\xd9"


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


QUANTISATION = segment(0xDB, b"\0" + b"\1" * 64)
# One code of one bit for each table: no difference in DC, end of block in AC.
CODES = b"".join(segment(0xC4, bytes((kind, 1, *[0] * 15, 0))) for kind in (0x00, 0x10))


def frame_header(width: int, height: int, kind: int = 0xC0, components: int = 1) -> bytes:
    each = b"".join(bytes((number + 1, 0x11, 0)) for number in range(components))
    return segment(kind, struct.pack(">BHHB", 8, height, width, components) + each)


def scan_header(components: int = 1, spectrum: Sequence[int] = (0, 63, 0)) -> bytes:
    each = b"".join(bytes((number + 1, 0)) for number in range(components))
    return segment(0xDA, bytes((components,)) + each + bytes(spectrum))


def jpeg(width: int, height: int, scan: bytes | None = None, before: bytes = b"") -> bytes:
    """A grey JPEG of one colour; ``scan`` is its coded blocks, by default as many as it takes."""
    blocks = -(-width // 8) * -(-height // 8)
    coded = bytes(-(-2 * blocks // 8)) if scan is None else scan
    header = QUANTISATION + frame_header(width, height) + CODES
    return START + before + header + scan_header() + coded + END


def hidden(width: int, height: int) -> bytes:
    """A JPEG whose frame header is passed over by who takes FF 01 for a segment."""
    real = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + QUANTISATION
    real += frame_header(width, height) + CODES
    landing = 4 + int.from_bytes(real[:2], "big")
    room = landing - (4 + len(real)) - 4
    comment = segment(0xFE, b"x" * room + b"\xff\xda" + b"y" * 4)
    return START + b"\xff\x01" + real + comment + scan_header() + bytes(4) + END


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, rows: bytes | None = None, between: bytes = b"") -> bytes:
    """A grey PNG of one bit a pixel, black; ``rows`` instead of its pixels."""
    if rows is None:
        rows = bytes((1 + -(-width // 8)) * height)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), between, chunk(b"IDAT", zlib.compress(rows, 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def webp(kind: bytes, body: bytes) -> bytes:
    inner = b"WEBP" + kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def extended_webp(width: int, height: int, picture: bytes = b"", flags: int = 0) -> bytes:
    """A canvas, and the chunks of another WebP on it; flag 2: animated."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    head = b"VP8X" + struct.pack("<IB", 10, flags) + bytes(3) + sides
    inner = b"WEBP" + head + (picture[12:] or lossless_webp(width, height)[12:])
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def lossless_webp(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14) + bytes(8))


def lossy_webp(width: int, height: int) -> bytes:
    return webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(8))


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(3) + b";"


def bmp(width: int, height: int, packing: int = 1, depth: int = 8, pixels: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIIIII", 40, width, height, 1, depth, packing, 0, 0, 0, 0, 0)
    size = 14 + len(header) + 1024 + len(pixels)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, 1078) + header + bytes(1024) + pixels


def tiff(entries: Sequence[tuple[int, int, int]], order: str = "<", big: bool = False) -> bytes:
    """A directory of (tag, type, value) and nothing else."""
    mark = b"II" if order == "<" else b"MM"
    if big:
        data = mark + struct.pack(order + "HHHQQ", 43, 8, 0, 16, len(entries))
        value = {3: "H6x", 4: "I4x", 16: "Q"}
        return data + b"".join(
            struct.pack(order + "HHQ" + value[kind], tag, kind, 1, number)
            for tag, kind, number in entries
        )
    data = mark + struct.pack(order + "HIH", 42, 8, len(entries))
    value = {3: "H2x", 4: "I"}
    return data + b"".join(
        struct.pack(order + "HHI" + value[kind], tag, kind, 1, number)
        for tag, kind, number in entries
    )
