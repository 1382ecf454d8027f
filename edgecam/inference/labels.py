"""Label files: where they are looked for, how they are read, and whether they fit the model."""

from __future__ import annotations

import codecs
import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from edgecam.core import bounded_file
from edgecam.core.errors import ModelError
from edgecam.inference.tflite.metadata import Metadata

log = logging.getLogger(__name__)

PLACEHOLDER = "???"
# First entries that stand for "nothing there" and that no detection ever carries.
BACKGROUND = frozenset({PLACEHOLDER, "background", "__background__", "unlabeled"})
# What people's tools call a label file that lies beside a model.
BESIDE = (
    *("labels.txt", "labelmap.txt", "label_map.txt", "classes.txt", "class_names.txt"),
    *("labels.json", "metadata.json", "class_indices.json"),
    *("names.yaml", "labels.yaml", "data.yaml", "metadata.yaml"),
    *("labelmap.pbtxt", "label_map.pbtxt"),
)

_NUMBERED = re.compile(r"\s*(\d+)\s*(?:[:,]\s*|\s)\s*(\S.*)")
_ITEM = re.compile(r"item\s*\{")
_FIELD = re.compile(r"\b(\w++)\s*+:\s*+(?:\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|(\d+))")
_MAX_ID = 100_000
_WANTED = f"every entry needs an id from 0 to {_MAX_ID - 1}"
_MAX_DIGITS = 9
_MAX_LABEL = 500
_SHOWN = 40


def resolve(
    explicit: Path | None, model_path: Path | None, card: Path | None, found: Metadata
) -> tuple[str, ...] | None:
    """Return the labels that belong to a model, or None.

    The given file's, those of one beside it that has its name, the card's, or what its own file
    says: by Ultralytics' document, or the label file that an output names.

    Raises:
        ModelError: a label file is missing, unreadable or empty.
    """
    for path in (explicit, sidecar(model_path) if model_path else None, card):
        if path is not None:
            return load(path)
    exported = _exported(found.files)
    if exported is not None:
        return exported
    inside = found.label_file
    if inside is None:
        return None
    return parse(found.files[inside], f"{inside} in the model's metadata")


def _exported(files: Mapping[str, bytes]) -> tuple[str, ...] | None:
    """Return the names that Ultralytics packs into a .tflite with what else it says of a model.

    Raises:
        ModelError: its file holds no names by number.
    """
    for name in ("metadata.json", "temp_meta.txt"):
        if name not in files:
            continue
        from edgecam.inference.label_documents import by_number, literal

        try:
            text = files[name].decode()[: bounded_file.TEXT_BYTES]
            return _by_number(by_number(literal(text)["names"]), name)
        except (ValueError, LookupError, TypeError):
            raise ModelError(
                f"{name} in the model's file holds no names of classes by number: export it again, "
                "or give its labels with --labels"
            ) from None
    return None


def guesses(model_path: Path | None, found: Metadata) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield labels that may be the model's, each with where they stand: only if they fit it.

    Those are the files that Teachable Machine, Edje Electronics and others put beside a model, by
    names that are no model's own, and the only text that is packed into it.
    """
    for name in BESIDE if model_path is not None else ():
        assert model_path is not None
        path = model_path.with_name(name)
        if path.is_file():
            try:
                yield str(path), load(path)
            except ModelError as error:
                log.warning("%s; not used for %s", error, model_path.name)
    inside = found.lone_text
    if inside is not None:
        with contextlib.suppress(ModelError):
            yield f"{inside} in the model's file", parse(found.files[inside], inside)


def sidecar(model: Path) -> Path | None:
    """Return the label file that lies beside a model, named after it, if there is one."""
    ends = ("_labels.txt", ".txt", ".pbtxt", ".names", "_labels.json", ".yaml", ".yml")
    for end in ends:
        path = model.with_name(f"{model.stem}{end}")
        if path.is_file():
            return path
    return None


def load(path: Path) -> tuple[str, ...]:
    """Read a label file: one label a line, numbered lines, a ``.pbtxt`` label map, JSON or YAML.

    Raises:
        ModelError: the file is missing, not text or holds no label.
    """
    try:
        content = bounded_file.read(path, bounded_file.TEXT_BYTES)
    except OSError as error:
        raise ModelError(f"label file {path} cannot be read: {error.strerror or error}") from error
    return parse(content, str(path))


def parse(content: bytes, name: str) -> tuple[str, ...]:
    """Return the labels by class number; holes and blank lines become ``???``.

    Raises:
        ModelError: not UTF-8 text, or no label in it; ``name`` stands for it in the message.
    """
    from edgecam.inference.label_documents import names_in

    text = _text(content, name)
    try:
        items = dict(_item(body, name) for body in _items(text)) or names_in(text)
    except ValueError as error:
        raise ModelError(
            f"label file {name} is JSON, YAML or Python without names of classes ({error}): "
            'expected a list, {"0": "NAME", ...}, or names: with them'
        ) from None
    labels = _by_number(items, name) if items else _lines(text, name)
    if not labels:
        raise ModelError(f"label file {name} is empty: expected one label a line")
    if len(labels) > _MAX_ID:
        raise ModelError(f"label file {name} has {len(labels)} lines: expected at most {_MAX_ID}")
    if (longest := max(map(len, labels))) > _MAX_LABEL:
        raise ModelError(
            f"label file {name} has a label of {longest} characters: expected one label a line, "
            f"of at most {_MAX_LABEL} characters"
        )
    return labels


def _text(content: bytes, name: str) -> str:
    """UTF-8, or UTF-16 with its mark; of other charsets the bytes do not tell which one."""
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise ModelError(
            f"label file {name} is not UTF-8 text: expected one label a line; convert it: "
            "iconv -f ITS_CHARSET -t UTF-8"
        ) from None
    if "\0" in text:
        raise ModelError(f"label file {name} is not text: expected one label a line")
    return text


def fit(labels: Sequence[str], classes: int, what: str) -> tuple[str, ...]:
    """Return labels for a detector's ``classes`` (which count no background), by class number.

    A list with a background entry in front is one longer: COCO's 91 lines for 90 classes.

    Raises:
        ModelError: the list fits neither way; ``what`` names the model's output.
    """
    if len(labels) == classes:
        return tuple(labels)
    if len(labels) == classes + 1:
        return tuple(labels[1:])
    raise ModelError(
        f"the label list has {len(labels)} entries but {what} has {classes} classes:"
        f" expected {classes}, or {classes + 1} with a background entry in front"
    )


def fit_with_background(labels: Sequence[str], columns: int, what: str) -> tuple[str, ...]:
    """Return labels for a classifier's ``columns``, whose first one may be the background.

    ImageNet's 1,000 names serve a network of 1,001 outputs: background goes in front.

    Raises:
        ModelError: the list fits neither way.
    """
    if len(labels) == columns:
        return tuple(labels)
    if len(labels) == columns - 1 and labels[0].lower() not in BACKGROUND:
        return ("background", *labels)
    raise ModelError(
        f"the label list has {len(labels)} entries but {what} has {columns} classes:"
        f" expected {columns}, or {columns - 1} without the background"
    )


def _lines(text: str, name: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    matches = [_NUMBERED.fullmatch(line) for line in lines if line]
    numbers = [_number(match[1]) for match in matches if match]
    rising = all(a < b for a, b in pairwise(numbers))
    if lines and len(numbers) == len(matches) and rising and numbers[0] <= 1:
        return _by_number({_number(match[1]): match[2] for match in matches if match}, name)
    return tuple(line or PLACEHOLDER for line in lines)


def _items(text: str) -> Iterator[str]:
    """What stands between each ``item {`` and the next brace that closes."""
    at = 0
    while (start := _ITEM.search(text, at)) is not None:
        end = text.find("}", start.end())
        if end < 0:
            return
        yield text[start.end() : end]
        at = end + 1


def _item(body: str, name: str) -> tuple[int, str]:
    fields = {match[1]: match[2] or match[3] or match[4] for match in _FIELD.finditer(body)}
    number = fields.get("id") or ""
    label = fields.get("display_name") or fields.get("name") or PLACEHOLDER
    if not number.isdecimal():
        found = repr(number[:_SHOWN]) if number else "none"
        raise ModelError(f"label file {name} has {found} for an id: {_WANTED}")
    return _number(number), label


def _number(digits: str) -> int:
    """The number, or one that is out of range where there are too many digits."""
    return int(digits) if len(digits) <= _MAX_DIGITS else _MAX_ID


def _by_number(found: Mapping[int, str], name: str) -> tuple[str, ...]:
    if max(found) >= _MAX_ID:
        raise ModelError(f"label file {name} has an id beyond {_MAX_ID - 1}: {_WANTED}")
    return tuple(found.get(number, PLACEHOLDER) for number in range(max(found) + 1))
