"""Boxes of ISO base media (ISO/IEC 14496-12), which MP4, MOV, HEIF and AVIF are made of."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

# More than any file has side by side; each is a step of a walk.
MAX_BOXES = 10_000
# More than the boxes of an hour's recording take.
MAX_MOVIE_BYTES = 16 << 20


class Box(NamedTuple):
    """``start`` and ``end`` of a box's content, in bytes."""

    kind: bytes
    start: int
    end: int


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield the boxes side by side in ``data``; a damaged one ends them."""
    end = len(data) if end is None else min(end, len(data))
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        size = size or end - start
        if size < head or start + size > end:
            return
        yield Box(kind, start + head, start + size)
        start += size


def first(data: bytes, kind: bytes, start: int = 0, end: int | None = None) -> Box | None:
    """Return the first box of that kind side by side in ``data``, if there is one."""
    return next((box for box in boxes(data, start, end) if box.kind == kind), None)


def read_box(file: BinaryIO, kind: bytes) -> bytes | None:
    """Return the content of the first such box at the top of a file, None where there is none.

    What is longer than ``MAX_MOVIE_BYTES`` is none.
    """
    at, size_bytes = 0, file.seek(0, 2)
    for _ in range(MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return None
        size, found = struct.unpack_from(">I4s", head)
        length = 8
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
            length = 16
        size = size or size_bytes - at
        if size < length:
            return None
        if found == kind:
            file.seek(at + length)
            return file.read(size - length) if size <= MAX_MOVIE_BYTES else None
        at += size
    return None


def played_s(movie: bytes) -> float | None:
    """How long the edits of a ``moov`` box's content play, None where it has none.

    A recording that was cut without encoding it again holds frames that no player shows.
    """
    header = first(movie, b"mvhd")
    if header is None or header.end - header.start < 24:
        return None
    wide = movie[header.start] == 1
    (scale,) = struct.unpack_from(">I", movie, header.start + (20 if wide else 12))
    found = []
    for track in boxes(movie):
        edit = first(movie, b"edts", track.start, track.end) if track.kind == b"trak" else None
        edits = first(movie, b"elst", edit.start, edit.end) if edit is not None else None
        if edits is not None:
            found.append(_edits(movie[edits.start : edits.end]))
    longest = max(found, default=0)
    return longest / scale if longest and scale else None


def _edits(content: bytes) -> int:
    """The length of all edits that show something, in the movie's units."""
    form = ">QqHH" if content[:1] == b"\1" else ">IiHH"
    rows = content[8 : len(content) - (len(content) - 8) % struct.calcsize(form)]
    return sum(length for length, begins, *_ in struct.iter_unpack(form, rows) if begins >= 0)
