"""Pictures of labels, a folder for each: which are there, their frames, which are held out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import EdgecamError, SourceError
from edgecam.core.frame import Frame
from edgecam.sources.local_path import SUFFIXES
from edgecam.sources.picture import read_image

MIN_PICTURES, MAX_LABEL = 10, 100
_MOST_NAMED = 10
_HELD_OUT = 5

log = logging.getLogger(__name__)


class TeachError(EdgecamError):
    """The pictures do not make a lesson: a label has too few, or there is one label only."""

    page = "teach"


def check_labels(labels: Sequence[str]) -> None:
    """Refuse labels that repeat or cannot be a folder's name.

    Raises:
        TeachError: fewer than two labels, one twice, or one that is no plain name.
    """
    if len(labels) < 2:
        raise TeachError(
            f"expected two labels at least, found {', '.join(labels) or 'none'}; teach what is "
            "none of it too, as in --labels wave,none"
        )
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise TeachError(f"the label {twice!r} is given twice")
    odd = next((label for label in labels if not _is_plain(label)), None)
    if odd is not None:
        raise TeachError(
            f"the label {odd[:MAX_LABEL]!r} is no plain name: expected at most {MAX_LABEL} "
            "characters without / and controls, that begin with none of . __ @"
        )


def _is_plain(label: str) -> bool:
    return (
        label.strip() == label != ""
        and label.isprintable()
        and "/" not in label
        and not _is_hidden(label)
        and len(label) <= MAX_LABEL
    )


def _is_hidden(name: str) -> bool:
    """Whether a folder of that name is some program's own: .git, __pycache__, @eaDir."""
    return name.startswith((".", "__", "@"))


def folders(directory: Path, labels: Sequence[str] | None) -> Mapping[str, Sequence[Path]]:
    """Return each label's pictures in order of name; without ``labels`` every folder is one.

    Raises:
        TeachError: a label has no folder, or too few pictures, or there is one label only.
    """
    if labels is None:
        labels = [name for name in _listed(directory, Path.is_dir) if not _is_hidden(name)]
        if len(labels) < 2:
            raise TeachError(
                f"{directory}: expected a folder for each label, two at least, found "
                f"{', '.join(labels) or 'none'}"
            )
    check_labels(labels)
    found = {}
    for label in labels:
        folder = directory / label
        if not folder.is_dir():
            raise TeachError(f"the label {label!r} has no folder: make {folder} with its pictures")
        names = _listed(folder, Path.is_file)
        files = [folder / name for name in names if Path(name).suffix.lower() in SUFFIXES]
        check_count(label, len(files), str(folder))
        found[label] = files
    return found


def check_count(label: str, count: int, where: str) -> None:
    """Refuse a label of too few pictures.

    Raises:
        TeachError: it is one.
    """
    if count < MIN_PICTURES:
        raise TeachError(
            f"the label {label!r} has {count} readable pictures in {where}, expected "
            f"{MIN_PICTURES} at least"
        )


def _listed(directory: Path, wanted: Callable[[Path], bool]) -> list[str]:
    try:
        return sorted(path.name for path in directory.iterdir() if wanted(path))
    except OSError as error:
        raise TeachError(f"cannot read {directory}: {error.strerror or error}") from None


class Reader:
    """Reads pictures; one that is damaged is named, the first few of them, and passed over."""

    def __init__(self) -> None:
        self.unreadable = 0

    def read(self, path: Path) -> Frame | None:
        """Return the picture, None where it cannot be read."""
        try:
            image = read_image(path)
        except SourceError as error:
            self.unreadable += 1
            if self.unreadable <= _MOST_NAMED:
                log.warning("%s: %s; passed over", path, error)
            return None
        return Frame(image, 0, time.monotonic(), time.time(), file=path.name)

    def close(self) -> None:
        """Count those that were not named."""
        if self.unreadable > _MOST_NAMED:
            log.warning("%d pictures passed over in all", self.unreadable)


def held_out(classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pictures are kept from training: the last ones of each class, one of five.

    The last and not any: pictures in a row are often of one scene, and a neighbour gives away
    what is asked.
    """
    found = np.zeros(len(classes), np.bool_)
    for number in np.unique(classes):
        rows = np.flatnonzero(classes == number)
        found[rows[-max(1, len(rows) // _HELD_OUT) :]] = True
    return found
