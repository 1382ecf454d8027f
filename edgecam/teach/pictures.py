"""A folder for each label: which pictures are in them, and their frames."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgecam.sources.images import SUFFIXES
from edgecam.sources.jpeg import decode_image
from edgecam.types import EdgecamError, Frame, SourceError

MIN_PICTURES = 10

log = logging.getLogger(__name__)


class TeachError(EdgecamError):
    """The pictures do not make a lesson: a label has too few, or there is one label only."""

    section = "Teach and train"


def check_labels(labels: Sequence[str]) -> None:
    """Refuse what cannot be told apart or cannot be a folder's name.

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
        raise TeachError(f"the label {odd!r} is no plain name: expected one without / and controls")


def _is_plain(label: str) -> bool:
    return label.strip() == label != "" and label.isprintable() and "/" not in label


def folders(directory: Path, labels: Sequence[str] | None) -> Mapping[str, Sequence[Path]]:
    """Return each label's pictures in order of name; without ``labels`` every folder is one.

    Raises:
        TeachError: a label has no folder, or too few pictures, or there is one label only.
    """
    if labels is None:
        labels = sorted(path.name for path in directory.iterdir() if path.is_dir())
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
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
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


def frames(files: Sequence[Path]) -> Iterator[Frame]:
    """Yield the pictures; one that cannot be read is reported and passed over."""
    for sequence, path in enumerate(files):
        try:
            image = decode_image(path.read_bytes())
        except (SourceError, OSError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            log.warning("%s: %s; passed over", path, what)
            continue
        yield Frame(image, sequence, time.monotonic(), time.time(), file=path.name)
