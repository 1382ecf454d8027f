"""HEIF and AVIF pictures: what they state, read before a decoder sees them (ISO/IEC 23008-12).

Such a file is one picture, often of many tiles, and further ones beside it. FFmpeg opens it as a
video of which each tile is a stream, and gives the first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from edgecam.core.errors import SourceError
from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.sources.iso_media import Box, boxes, first

CONVERT = "convert it to JPEG"
_DAMAGED = "the HEIF picture is damaged"


@dataclass(slots=True)
class Heif:
    """The picture that a file shows: its size as stored, its codec, and how it is turned.

    ``most_pixels`` has the largest of all that are stored. ``turns`` are (``irot`` or ``imir``,
    value) in the order in which they are applied.
    """

    width_px: int = 0
    height_px: int = 0
    most_pixels: int = 0
    codecs: set[bytes] = field(default_factory=set)
    turns: list[tuple[bytes, int]] = field(default_factory=list)

    @property
    def is_av1(self) -> bool:
        """Whether the picture is AV1, as in AVIF."""
        return b"av01" in self.codecs


def read_heif(data: bytes) -> Heif:
    """What a file states of the picture that it shows.

    Raises:
        SourceError: it is damaged, or has no such picture.
    """
    try:
        meta = first(data, b"meta")
        if meta is None:
            raise SourceError(f"{_DAMAGED}: it has no list of its pictures; copy it again")
        return _picture(data, Box(meta.kind, meta.start + 4, meta.end))
    except (struct.error, IndexError):
        raise SourceError(f"{_DAMAGED} or cut short; copy it again") from None


def _picture(data: bytes, meta: Box) -> Heif:
    parts = {box.kind: box for box in boxes(data, meta.start, meta.end)}
    if not {b"pitm", b"iinf", b"iprp"} <= parts.keys():
        raise SourceError(f"{_DAMAGED}: it states no size; copy it again")
    shown = parts[b"pitm"]
    form = ">I" if data[shown.start] else ">H"
    (primary,) = struct.unpack_from(form, data, shown.start + 4)
    found = Heif(codecs=_codecs(data, parts[b"iinf"]))
    for item, kind, content in _properties(data, parts[b"iprp"]):
        if kind == b"ispe":
            width_px, height_px = struct.unpack_from(">II", content, 4)
            found.most_pixels = max(found.most_pixels, width_px * height_px)
            if item == primary:
                found.width_px, found.height_px = width_px, height_px
        elif kind in (b"irot", b"imir") and item == primary:
            found.turns.append((kind, content[0] & (3 if kind == b"irot" else 1)))
    if not found.width_px or not found.height_px:
        raise SourceError(f"{_DAMAGED}: it states no size of the picture; copy it again")
    return found


def _codecs(data: bytes, table: Box) -> set[bytes]:
    """The kinds of all items: ``av01``, ``hvc1``, ``grid``, ``Exif``."""
    begin = table.start + (6 if data[table.start] == 0 else 8)
    kinds = set()
    for box in boxes(data, begin, table.end):
        version = data[box.start]
        if box.kind == b"infe" and version >= 2:
            at = box.start + (8 if version == 2 else 10)
            kinds.add(data[at : at + 4])
    return kinds


def _properties(data: bytes, table: Box) -> list[tuple[int, bytes, bytes]]:
    """(item, kind, content) of each property of each item, in their order."""
    parts = {box.kind: box for box in boxes(data, table.start, table.end)}
    if not {b"ipco", b"ipma"} <= parts.keys():
        raise SourceError(f"{_DAMAGED}: it states no size; copy it again")
    holder = parts[b"ipco"]
    known = [(box.kind, data[box.start : box.end]) for box in boxes(data, holder.start, holder.end)]
    links = parts[b"ipma"]
    version, wide = data[links.start], data[links.start + 3] & 1
    (count,) = struct.unpack_from(">I", data, links.start + 4)
    at, found = links.start + 8, []
    for _ in range(min(count, links.end - links.start)):
        (item,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        linked = data[at]
        at += 1
        for _ in range(linked):
            index = int.from_bytes(data[at : at + 1 + wide], "big") & (0x7FFF if wide else 0x7F)
            at += 1 + wide
            if 0 < index <= len(known):
                found.append((item, *known[index - 1]))
    return found


def turned(image: Image, stated: Heif) -> Image:
    """Return a picture as its ``irot`` and ``imir`` want it shown."""
    for kind, value in stated.turns:
        if kind == b"imir":
            # 0: top and bottom change places; 1: left and right.
            image = np.ascontiguousarray(image[::-1] if value == 0 else image[:, ::-1])
        else:
            # Quarters anticlockwise.
            image = np.ascontiguousarray(np.rot90(image, value))
    return image


def decode_heif(data: bytes, stated: Heif) -> Image:
    """Decode a whole picture to BGR uint8[H, W, 3], turned as it says.

    Raises:
        SourceError: what decodes its codec is not installed, or it is damaged.
    """
    if stated.is_av1:
        return turned(_decode_avif(data), stated)
    try:
        import pillow_heif
    except ImportError:
        raise SourceError(
            "a HEIC picture, for which the package pillow-heif is missing: "
            f"pip install 'edgecam[heif]', or {CONVERT}"
        ) from None
    try:
        # Turned already; grey or with transparent parts as it comes.
        picture = pillow_heif.open_heif(data, convert_hdr_to_8bit=True).to_pillow()
        image: Image = np.ascontiguousarray(np.asarray(picture.convert("RGB"))[..., ::-1])
    except (ValueError, EOFError, SyntaxError, RuntimeError, OSError) as error:
        raise SourceError(f"a HEIF picture that cannot be decoded; {CONVERT}") from error
    return image


def _decode_avif(data: bytes) -> Image:
    # OpenCV itself leaves irot and imir alone, and would turn by EXIF, which does not count here.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise SourceError(
            "an AVIF picture that cannot be decoded: it is damaged, or this OpenCV "
            f"({cv2.__version__}) reads no AVIF; {CONVERT}"
        )
    decoded: Image = image
    return decoded
