"""What a JPEG says of itself, read as libjpeg reads it (ITU-T T.81, annex B).

Whatever passes here is walked to the same frame header by libjpeg, so that the size found is the
size decoded. Where libjpeg guesses or skips, the picture counts as damaged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgecam.core.errors import SourceError

START_OF_IMAGE = b"\xff\xd8"
END_OF_IMAGE = b"\xff\xd9"
# Cameras and editors write 1 to 20 scans. Each costs a pass over all pixels and may take no more
# than 30 bytes, so that a small picture could keep a decoder busy for minutes.
MAX_SCANS = 100

_SOS, _EOI, _TEM, _DNL = 0xDA, 0xD9, 0x01, 0xDC
# SOF0 to SOF2 and SOF3 (Huffman), SOF9 and SOF10 (arithmetic); libjpeg decodes no others.
_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2, 0xC3})
_FRAMES = _HUFFMAN | {0xC9, 0xCA}
_OTHER_FRAMES = frozenset(range(0xC0, 0xD0)) - _FRAMES - {0xC4, 0xCC}
_RESTARTS = frozenset(range(0xD0, 0xD8))
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDD, _DNL, 0xFE}) | frozenset(range(0xE0, 0xF0))
# Inside a scan 0xff comes with a stuffed zero or a restart marker; any other ends the scan.
_ENDS_A_SCAN = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame header: sides in pixels, and how many blocks of 8x8 samples all components have."""

    width_px: int
    height_px: int
    blocks: int
    is_huffman: bool


def jpeg_size(data: bytes) -> tuple[int, int]:
    """The width and height in pixels that a whole JPEG states.

    Raises:
        SourceError: it is damaged, cut short, of a kind that is not decoded, or has fewer bytes
            than so many pixels take.
    """
    frame, _ = _walk(data)
    return frame.width_px, frame.height_px


def jpeg_end(data: bytes) -> int:
    """Where a whole JPEG at the start of ``data`` ends, in bytes.

    Raises:
        SourceError: as ``jpeg_size``.
    """
    return _walk(data)[1]


def _walk(data: bytes) -> tuple[_Frame, int]:
    """The frame header, and where the picture ends."""
    frame, position, scans, scans_at = None, len(START_OF_IMAGE), 0, 0
    while True:
        marker, position = _next_marker(data, position)
        if marker == _EOI and scans:
            break
        if marker in _RESTARTS or marker == _TEM:
            continue
        end = _segment_end(data, position)
        if marker in _FRAMES and frame is None:
            frame = _frame(data[position:end], marker in _HUFFMAN)
        elif marker == _SOS and frame is not None:
            scans, scans_at = scans + 1, scans_at or end
            end = _scan_end(data, end)
        elif marker in _OTHER_FRAMES:
            raise SourceError("a JPEG of a kind that is not decoded; convert it to a baseline one")
        elif marker not in _TABLES:
            raise SourceError("the JPEG is damaged")
        if scans > MAX_SCANS:
            raise SourceError(f"the JPEG has more than {MAX_SCANS} scans; save it again with fewer")
        position = end
    assert frame is not None  # there is no scan without one
    _check_bytes(frame, position - len(END_OF_IMAGE) - scans_at)
    return frame, position


def is_whole(data: bytes) -> bool:
    """Whether a JPEG is neither cut short nor damaged, as far as its markers tell."""
    try:
        jpeg_size(data)
    except SourceError:
        return False
    return True


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """The marker that has to be at ``position``, and where it ends; 0xff may fill up before it."""
    if data[position : position + 1] not in (b"\xff", b""):
        raise SourceError("the JPEG is damaged")
    while data[position : position + 1] == b"\xff":
        position += 1
    if position >= len(data):
        raise SourceError("the JPEG is cut short")
    return data[position], position + 1


def _segment_end(data: bytes, position: int) -> int:
    """Where the segment ends whose length stands at ``position``."""
    length = int.from_bytes(data[position : position + 2], "big")
    if position + max(length, 2) > len(data):
        raise SourceError("the JPEG is cut short")
    if length < 2:
        raise SourceError("the JPEG is damaged")
    return position + length


def _scan_end(data: bytes, position: int) -> int:
    found = _ENDS_A_SCAN.search(data, position)
    if found is None:
        raise SourceError("the JPEG is cut short")
    return found.start()


def _frame(segment: bytes, is_huffman: bool) -> _Frame:
    """Read a frame header from its length on (B.2.2)."""
    components = segment[7] if len(segment) > 7 else 0
    if not components or len(segment) != 8 + 3 * components:
        raise SourceError("the JPEG is damaged")
    height_px = int.from_bytes(segment[3:5], "big")
    width_px = int.from_bytes(segment[5:7], "big")
    factors = [(each >> 4, each & 15) for each in segment[9::3]]
    if not width_px or not height_px or not all(0 < h < 5 and 0 < v < 5 for h, v in factors):
        # A height of 0 is stated behind the first scan; no decoder in use here reads that.
        raise SourceError("the JPEG is damaged")
    most_h, most_v = (max(sides) for sides in zip(*factors, strict=True))
    blocks = sum(
        -(-width_px * h // (8 * most_h)) * -(-height_px * v // (8 * most_v)) for h, v in factors
    )
    return _Frame(width_px, height_px, blocks, is_huffman)


def _check_bytes(frame: _Frame, count: int) -> None:
    """Refuse a picture whose scans cannot hold its blocks.

    A Huffman code is a bit at least: a block takes one for its DC coefficient and, unless the
    picture is progressive, another for the end of the block. Arithmetic coding has no such bound.
    """
    if frame.is_huffman and 8 * count < frame.blocks:
        raise SourceError(
            f"the JPEG states {frame.width_px}x{frame.height_px} pixels and has {count} bytes "
            "for them; it is damaged"
        )
