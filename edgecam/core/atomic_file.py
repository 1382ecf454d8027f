"""Files that are there completely or not at all, and whether one can be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgecam.core.errors import EdgecamError

_MODE, _PREFIX = 0o644, ".edgecam-"


class OutputError(EdgecamError):
    """A file cannot be written."""


def check(path: Path) -> None:
    """Refuse a file that cannot be written, before there is work to lose.

    Raises:
        OutputError: its folder is missing or not writable, or it is a folder or a device.
    """
    _beside(path).unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Make a folder if there is none, and refuse one into which nothing can be written.

    Raises:
        OutputError: it is one, or no folder.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"cannot write into {folder}: it is a file; name a folder")
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror or error}") from None
    os.close(handle)
    Path(name).unlink()


def check_other(path: Path, source: str | Path) -> None:
    """Refuse to write over what the work begins with.

    Raises:
        OutputError: ``path`` is the file ``source``.
    """
    try:
        is_same = path.samefile(source)
    except (OSError, ValueError):  # one of them is no file
        return
    if is_same:
        raise OutputError(f"{path} is what it is made of; give --output a name of its own")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file beside ``path``, of the same suffix, which takes its place at the end.

    A file that was there keeps its mode, and stays as it is where something goes wrong. What a
    link names is written, and the link stays. A loss of power leaves the old file or the new one.

    Raises:
        OutputError: as ``check``, or the disk is full.
    """
    part = _beside(path)
    try:
        yield part
        with _refused(path), part.open("rb") as stream:
            target = Path(os.path.realpath(path))
            os.fchmod(stream.fileno(), target.stat().st_mode & 0o777 if target.exists() else _MODE)
            os.fsync(stream.fileno())
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Write ``data`` as ``replacing`` does.

    Raises:
        OutputError: as that.
    """
    with replacing(path) as part, _refused(path):
        part.write_bytes(data)


def _beside(path: Path) -> Path:
    """An empty new file in the folder of ``path``, or of what it is a link to."""
    target = Path(os.path.realpath(path))
    with _refused(path):
        if not target.parent.is_dir():
            folder = target.parent if path.parent.is_dir() else path.parent
            raise OutputError(f"cannot write {path}: there is no folder {folder}; make it first")
        if target.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder; name a file")
        # A device that was replaced by a file would be missed.
        if target.exists() and not target.is_file():
            raise OutputError(f"cannot write {path}: it is no regular file; name another")
        handle, name = tempfile.mkstemp(target.suffix, _PREFIX, target.parent)
    os.close(handle)
    return Path(name)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
