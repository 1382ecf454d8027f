"""The folder of the flight recorder: a bounded number of files and bytes, the oldest go first.

Which is the oldest says the number that begins a file's name, never the clock: a board without a
battery starts in 1970, and one with a bad battery may have been in 2099.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecam.core.errors import SettingsError
from edgecam.core.places import expanded, state_directory
from edgecam.settings.recorder import RecorderSettings
from edgecam.sinks.recorder.file import SUFFIX

# Of the same event, beside its recording: they come and go together.
VIDEO_SUFFIX = ".mp4"

_UNFINISHED = ".unfinished"
# What earlier releases wrote begins with the time, whose digits a T ends.
_NUMBERED = re.compile(r"(\d{6,15})-")


def place(settings: RecorderSettings, name: str, environment: Mapping[str, str]) -> Path:
    """Where the recordings of the instance ``name`` are: the service's state directory if any.

    Raises:
        SettingsError: no directory is named, and this user has none.
    """
    if settings.directory is not None:
        return Path(expanded(settings.directory, "recorder.directory"))
    state = state_directory(name, environment)
    if state is None:
        raise SettingsError(
            "recorder.directory: expected a directory, for this user has no home; name one"
        )
    return state / "recordings"


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in the folder; ``dropped`` made room for the newest."""

    files: int
    size_bytes: int
    dropped: int = 0


class Folder:
    """Holds at most ``max_files`` recordings of ``max_bytes`` in all; other files are left alone.

    One instance writes into it. A file appears whole or not at all.
    """

    def __init__(self, path: Path, max_files: int, max_bytes: int) -> None:
        self.path, self._max_files, self._max_bytes = path, max_files, max_bytes

    def _listed(self) -> list[tuple[int, int, str, int]]:
        """(number, time, name, bytes with the video's) of each recording, oldest first.

        Those without a number are of an earlier release, and go by their time.
        """
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                    about = entry.stat(follow_symlinks=False)
                    numbered = _NUMBERED.match(entry.name)
                    number = int(numbered[1]) if numbered else 0
                    time_ns = 0 if numbered else about.st_mtime_ns
                    size_bytes = about.st_size + self._video_bytes(entry.name)
                    found.append((number, time_ns, entry.name, size_bytes))
        return sorted(found)

    def _video(self, name: str) -> Path:
        return self.path / f"{name.removesuffix(SUFFIX)}{VIDEO_SUFFIX}"

    def _video_bytes(self, name: str) -> int:
        try:
            return self._video(name).lstat().st_size
        except OSError:
            return 0

    def contents(self) -> Contents:
        """
        Raises:
            OSError: it cannot be read.
        """
        listed = self._listed()
        return Contents(len(listed), sum(size for *_, size in listed))

    def add(self, name: str, data: bytes, video: bytes = b"") -> Contents:
        """Write a file and let the oldest go, so that both bounds hold at every moment.

        Where there is a ``video`` it is written too, beside it. The name is a number, one more
        than the newest one's, and ``name``.

        Raises:
            OSError: there is no room, or nothing can be written; what was there is still there,
                but for what had to go.
        """
        size_bytes = len(data) + len(video)
        if size_bytes > self._max_bytes:
            raise OSError(
                errno.EFBIG, f"one recording has {size_bytes} bytes, more than recorder.max_bytes"
            )
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        number = max((number for number, *_ in self._listed()), default=0) + 1
        name = f"{number:06}-{name}"
        files = {self.path / name: data}
        if video:
            # First: a video without its recording would never be found again.
            files = {self._video(name): video, **files}
        unfinished = {path: self.path / f".{path.name}{_UNFINISHED}" for path in files}
        try:
            for path, content in files.items():
                self._write(unfinished[path], content)
            dropped = self._make_room(size_bytes)
            for path in files:
                unfinished[path].replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                for path in (*unfinished.values(), *files):
                    path.unlink(missing_ok=True)
            raise
        self._sync_directory()
        now = self.contents()
        return Contents(now.files, now.size_bytes, dropped)

    def _write(self, path: Path, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)

    def _sweep(self) -> None:
        """Remove what a loss of power left half-written."""
        for suffix in (SUFFIX, VIDEO_SUFFIX):
            for path in self.path.glob(f".*{suffix}{_UNFINISHED}"):
                path.unlink(missing_ok=True)

    def _make_room(self, size_bytes: int) -> int:
        listed = self._listed()
        total, dropped = sum(size for *_, size in listed), 0
        for *_, name, size in listed:
            if len(listed) - dropped < self._max_files and total + size_bytes <= self._max_bytes:
                break
            self._video(name).unlink(missing_ok=True)
            (self.path / name).unlink(missing_ok=True)
            total, dropped = total - size, dropped + 1
        return dropped

    def _sync_directory(self) -> None:
        """The name too is on the disk; not every file system can say so."""
        with contextlib.suppress(OSError):
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
