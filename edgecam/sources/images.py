"""Pictures: a directory, a glob, or one file; in order of name."""

from __future__ import annotations

import glob
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgecam.core.result import Frame, Image, SourceError, SourceStatus, be_idle
from edgecam.sources.jpeg import decode_image
from edgecam.sources.playback_clock import Pace

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)

log = logging.getLogger(__name__)


class Images:
    """Every picture once, sorted by name; ``Frame.file`` names it below the common directory.

    One that cannot be decoded is reported, counted as ``unreadable`` and passed over, unless it
    is the only one. With ``rate_hz`` frames have a media time; with ``realtime`` they keep it.
    """

    def __init__(
        self, pattern: str, *, rate_hz: float | None = None, realtime: bool = False
    ) -> None:
        self.live = realtime
        self.description = pattern
        self._rate_hz = rate_hz or (1.0 if realtime else None)
        self._paths = find(pattern)
        parents = [str(path.parent) for path in self._paths]
        self._root = os.path.commonpath(parents)
        self._closed = threading.Event()
        self._unreadable = 0
        self._reason = "no picture can be decoded"
        self._ended = False
        # The first readable picture is decoded now, so that a directory of none is refused at
        # once and not after the models are loaded.
        self._decoded = self._decode_all()
        self._first = next(self._decoded, None)
        if self._first is None:
            raise SourceError(f"{pattern}: {self._reason}")

    def _decode_all(self) -> Iterator[tuple[Path, Image]]:
        for path in self._paths:
            try:
                image = decode_image(path.read_bytes())
            except (SourceError, OSError) as error:
                self._unreadable += 1
                what = error.strerror if isinstance(error, OSError) else error
                if len(self._paths) == 1:
                    self._reason = str(what)
                else:
                    log.warning("%s: %s; passed over", path, what)
                continue
            yield path, image

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield every picture that can be decoded, then end."""
        pace = Pace(self._closed, idle)
        current, sequence = self._first, 0
        while current is not None and not self._closed.is_set():
            path, image = current
            media_time_s = sequence / self._rate_hz if self._rate_hz else None
            captured_s = time.monotonic()
            if self.live and media_time_s is not None:
                captured_s = pace.wait(media_time_s)
            if self._closed.is_set():
                return
            file = os.path.relpath(path, self._root)
            yield Frame(image, sequence, captured_s, time.time(), media_time_s, file)
            sequence += 1
            current = next(self._decoded, None)
        self._ended = True

    def status(self) -> SourceStatus:
        """Online until the last picture, then ended; ``unreadable`` counts the damaged ones."""
        count = self._unreadable
        reason = f"{count} of {len(self._paths)} pictures cannot be decoded" if count else None
        faults = {"unreadable": count} if count else {}
        return SourceStatus("ended" if self._ended else "online", reason, faults=faults)

    def close(self) -> None:
        """Stop from any thread."""
        self._closed.set()


def is_pattern(text: str) -> bool:
    """Whether ``text`` is a glob, unless a file of that very name exists."""
    return glob.has_magic(text) and not os.path.exists(text)


def find(pattern: str) -> list[Path]:
    """The pictures that a directory, a glob (``**`` too) or a file name means, sorted by name."""
    given = Path(pattern)
    if is_pattern(pattern):
        paths = [Path(name) for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)]
        wanted = "no file matches; check the pattern, and quote it for the shell"
    elif given.is_dir():
        paths = [p for p in given.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]
        wanted = "no pictures in this directory (jpg, png, bmp, webp, tiff, ppm)"
    else:
        paths = [given]
        wanted = ""
    if not paths:
        raise SourceError(f"{pattern}: {wanted}")
    return sorted(paths)
