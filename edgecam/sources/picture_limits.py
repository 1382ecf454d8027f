"""Bounds on pictures: how many pixels one may have, and files that can be opened at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from edgecam.core.errors import SourceError
from edgecam.core.picture_bounds import FILE_MEGAPIXELS, LIVE_MEGAPIXELS
from edgecam.settings.schema import SourceSettings

# So much of a file tells its format.
HEAD_BYTES = 4096


def max_pixels(settings: SourceSettings, *, live: bool) -> int:
    """How many pixels a picture of this source may have."""
    default = LIVE_MEGAPIXELS if live else FILE_MEGAPIXELS
    return round(1e6 * (settings.max_megapixels or default))


FILE_PIXELS = max_pixels(SourceSettings(), live=False)


def check_size(width_px: float, height_px: float, most: int) -> None:
    """Refuse a picture of more than ``most`` pixels.

    Raises:
        SourceError: of kind ``too_large``.
    """
    if width_px * height_px > most:
        raise SourceError(
            f"{width_px:.0f}x{height_px:.0f} is more than {most / 1e6:g} million pixels; make the "
            "picture smaller, or raise source.max_megapixels",
            "too_large",
        )


@contextmanager
def regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file to read, and nothing that never ends or keeps the caller waiting.

    Raises:
        SourceError: it is a folder, a device, a FIFO or a socket.
        OSError: it cannot be opened.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise SourceError("not a regular file; name a picture or a video")
        yield file


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)
