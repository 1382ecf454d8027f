"""How long a recording says it is, and whether its file is as long as it says.

A container's number of frames may be duration times rate, which is wrong for a varying rate: it
is believed only with a second witness.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from edgecam.sources.iso_media import played_s, read_box

# Containers without an index may be off by a frame or two, which is not a file that breaks off.
TOLERANCE, TOLERANCE_FRAMES = 0.02, 2
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


class Length:
    """What a file states; ``frames`` and ``rate_hz`` are what its container says, 0 if nothing."""

    def __init__(self, file: BinaryIO, head: bytes, frames: int, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self.frames = frames
        # Matroska's number is an estimate; its file says of how many bytes it is made.
        self._is_cut: bool | None = None
        if head.startswith(_EBML):
            self._is_cut = _segment_is_cut(file, head)
        elif head[4:8] == b"ftyp" and rate_hz:
            played = played_s(read_box(file, b"moov") or b"")
            if played is not None:
                self.frames = min(frames, round(played * rate_hz))

    def breaks_off(self, delivered: int, last_s: float, longest_gap_s: float) -> bool:
        """Whether frames are missing at the end, of which the last one was at ``last_s``."""
        if self.frames - delivered <= max(TOLERANCE_FRAMES, TOLERANCE * self.frames):
            return False
        if self._is_cut is not None:
            return self._is_cut
        whole_s = self.frames / self._rate_hz if self._rate_hz else 0.0
        return last_s + longest_gap_s < (1.0 - TOLERANCE) * whole_s


def _segment_is_cut(file: BinaryIO, head: bytes) -> bool:
    """Whether a Matroska or WebM file is shorter than its segment says it is."""
    at = head.find(_SEGMENT)
    if at < 0 or at + 12 > len(head):
        return False
    first = head[at + 4]
    width = 9 - first.bit_length() if first else 9
    if width > 8:
        return False
    size = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
    if size == (1 << 7 * width) - 1:
        # A live recording does not know.
        return False
    return at + 4 + width + size > os.fstat(file.fileno()).st_size
