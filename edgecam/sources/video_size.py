"""How many pixels a video states, read from its container before FFmpeg opens it.

FFmpeg decodes a picture to open a file. MP4, MOV and Matroska (WebM) are read, so that a person
reads how large the video is; what other containers state, and pictures that are larger than theirs
states, FFmpeg refuses by itself (``ffmpeg_bound``), and says no size.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

Size = tuple[int, int]
_EBML, _CLUSTER = 0x1A45DFA3, 0x1F43B675
_SEGMENT, _TRACKS, _TRACK, _VIDEO, _WIDTH, _HEIGHT = (
    *(0x18538067, 0x1654AE6B, 0xAE),
    *(0xE0, 0xB0, 0xBA),
)
_INTO = {_SEGMENT, _TRACKS, _TRACK}
_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
# More than any file has before its pictures; each is a step of a walk.
_MAX_PARTS, _MAX_DEPTH = 10_000, 6

_Part = tuple[int, int, int]  # id, begin and end of what it holds


class _Walk:
    """Reads parts of a file, so many at most."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.end = os.fstat(file.fileno()).st_size
        self._left = _MAX_PARTS

    def at(self, position: int, count: int) -> bytes:
        self._file.seek(position)
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def parts(self, begin: int, end: int, *, ebml: bool) -> Iterator[_Part]:
        """The boxes or elements from ``begin`` to ``end``, as far as they join."""
        while begin < end and self._left > 0:
            self._left -= 1
            part = self._element(begin, end) if ebml else self._box(begin, end)
            if part[2] <= begin:
                return
            yield part
            begin = part[2]

    def _box(self, begin: int, end: int) -> _Part:
        size, kind = struct.unpack(">II", self.at(begin, 8))
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", self.at(begin + 8, 8)), 16
        # A size of 0 reaches to the end.
        return kind, begin + head, min(begin + size, end) if size else end

    def _element(self, begin: int, end: int) -> _Part:
        kind, at, _ = self._number(begin, keeps_mark=True)
        size, at, is_unknown = self._number(at, keeps_mark=False)
        return kind, at, end if is_unknown else min(at + size, end)

    def _number(self, at: int, *, keeps_mark: bool) -> tuple[int, int, bool]:
        """An EBML number, where it ends, and whether it says that it is not known."""
        (first,) = self.at(at, 1)
        length = 9 - first.bit_length()
        if length > 8:
            raise EOFError
        number = int.from_bytes(self.at(at, length), "big")
        value = number & ((1 << 7 * length) - 1)
        return number if keeps_mark else value, at + length, value == (1 << 7 * length) - 1


def stated_sizes(file: BinaryIO) -> list[Size]:
    """The width and height in pixels of each picture track that the container states; or none."""
    walk, found = _Walk(file), list[Size]()
    try:
        if int.from_bytes(walk.at(0, 4), "big") == _EBML:
            _matroska(walk, 0, walk.end, found)
        elif walk.at(4, 4) in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            _mp4(walk, 0, walk.end, found)
    except EOFError:
        pass  # What is cut short says so when it is opened.
    return found


def _mp4(
    walk: _Walk,
    begin: int,
    end: int,
    found: list[Size],
    has_pictures: bool = False,
    depth: int = 0,
) -> None:
    for number, start, stop in walk.parts(begin, end, ebml=False):
        kind = number.to_bytes(4, "big")
        if kind == b"vmhd":
            has_pictures = True
        elif kind in _BOXES and depth < _MAX_DEPTH:
            _mp4(walk, start, stop, found, has_pictures, depth + 1)
        elif kind == b"stsd" and has_pictures:
            for _, entry, _ in walk.parts(start + 8, stop, ebml=False):
                width_px, height_px = struct.unpack(">HH", walk.at(entry + 24, 4))
                found.append((width_px, height_px))


def _matroska(walk: _Walk, begin: int, end: int, found: list[Size], depth: int = 0) -> None:
    for kind, start, stop in walk.parts(begin, end, ebml=True):
        if kind == _CLUSTER:
            return
        if kind in _INTO and depth < _MAX_DEPTH:
            _matroska(walk, start, stop, found, depth + 1)
        elif kind == _VIDEO:
            sides = {
                each: int.from_bytes(walk.at(at, min(until - at, 8)), "big")
                for each, at, until in walk.parts(start, stop, ebml=True)
                if each in (_WIDTH, _HEIGHT)
            }
            found.append((sides.get(_WIDTH, 0), sides.get(_HEIGHT, 0)))
