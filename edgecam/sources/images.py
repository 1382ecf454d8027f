"""Pictures: a directory, a glob, or one file; in order of name."""

from __future__ import annotations

import glob
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edgecam.core.errors import SourceError
from edgecam.core.frame import Frame, Image
from edgecam.core.printable import file_name
from edgecam.core.protocols import SourceStatus, be_idle
from edgecam.sources.file_format import format_of
from edgecam.sources.local_path import SUFFIXES, is_pattern
from edgecam.sources.picture import read_image
from edgecam.sources.picture_limits import FILE_PIXELS
from edgecam.sources.playback_clock import Pace

# How many of what is skipped in a folder are named.
_NAMED = 5

MAX_FOLDERS = 20_000

log = logging.getLogger(__name__)


class Images:
    """Every picture once, sorted by name; ``Frame.file`` names it below the common directory.

    One that cannot be decoded is reported, counted as ``unreadable`` and passed over, unless it
    is the only one. With ``rate_hz`` frames have a media time; with ``realtime`` they keep it.
    """

    def __init__(
        self,
        pattern: str,
        *,
        rate_hz: float | None = None,
        realtime: bool = False,
        max_pixels: int = FILE_PIXELS,
    ) -> None:
        self.live = realtime
        self.description = file_name(pattern)
        self._max_pixels = max_pixels
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
            raise SourceError(f"{self.description}: {self._reason}")

    def _decode_all(self) -> Iterator[tuple[Path, Image]]:
        for path in self._paths:
            try:
                image = read_image(path, self._max_pixels)
            except SourceError as error:
                self._unreadable += 1
                if len(self._paths) == 1:
                    self._reason = str(error)
                else:
                    log.warning("%s: %s; passed over", file_name(path), error)
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
            file = file_name(os.path.relpath(path, self._root))
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


def find(pattern: str) -> list[Path]:
    """The pictures that a directory, a glob (``**`` too) or a file name means, sorted by name.

    Below a ``**`` each file counts once, however many links lead to it.
    """
    given = Path(pattern)
    if is_pattern(pattern):
        paths = _matching(pattern)
        wanted = "no file matches; check the pattern, and quote it for the shell"
    elif given.is_dir():
        paths = _pictures_in(given)
        wanted = "no pictures in this directory (JPEG, PNG, BMP, WebP, TIFF, PPM, GIF, HEIC, AVIF)"
    else:
        paths = [given]
        wanted = ""
    if not paths:
        raise SourceError(f"{file_name(pattern)}: {wanted}")
    return sorted(paths)


def _pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder; what else is there is named, once."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    found = [path for path in files if path.suffix.lower() in SUFFIXES or _is_picture(path)]
    skipped = sorted(set(files) - set(found))
    if skipped and found:
        named = ", ".join(file_name(path.name) for path in skipped[:_NAMED])
        more = ", ..." if len(skipped) > _NAMED else ""
        log.warning(
            "%s: %d of %d files are no pictures and are skipped: %s%s",
            *(file_name(folder), len(skipped), len(files), named, more),
        )
    return found


def _is_picture(path: Path) -> bool:
    """Whether it is one by its bytes; of an animation the first picture counts."""
    try:
        return format_of(path) in ("picture", "animation", "film")
    except (OSError, SourceError):
        return False


def _matching(pattern: str) -> list[Path]:
    parts = pattern.split("/")
    if "**" not in parts:
        return [Path(name) for name in glob.glob(pattern) if os.path.isfile(name)]
    at = parts.index("**")
    head = "/".join(parts[:at])
    tail = "/".join(part for part in parts[at:] if part != "**") or "*"
    below = [head + "/"] if at else [""]
    if glob.has_magic(head):
        below = [f"{name}/" for name in sorted(glob.glob(head)) if os.path.isdir(name)]
    found: dict[tuple[int, int], Path] = {}
    for folder in _folders(below, pattern):
        for name in sorted(glob.glob(glob.escape(folder) + tail)):
            if os.path.isfile(name):
                about = os.stat(name)
                found.setdefault((about.st_dev, about.st_ino), Path(name))
    return list(found.values())


def _folders(starts: Sequence[str], pattern: str) -> Iterator[str]:
    """These folders and all below, each real one once: by the way with the fewest links."""
    known: set[tuple[int, int]] = set()
    ways = deque(starts)
    while ways:
        way = ways.popleft()
        try:
            about = os.stat(way or ".")
            if (about.st_dev, about.st_ino) in known:
                continue
            with os.scandir(way or ".") as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir())
        except OSError:
            continue
        known.add((about.st_dev, about.st_ino))
        if len(known) > MAX_FOLDERS:
            raise SourceError(
                f"{pattern}: expected at most {MAX_FOLDERS} folders below **, found more; "
                "name a folder further down"
            )
        yield way
        ways.extend(f"{way}{name}/" for name in names if not name.startswith("."))
