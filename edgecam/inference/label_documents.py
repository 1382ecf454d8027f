"""Class names in JSON, YAML and Python's own notation, as exporters and trainers write them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

# Where the names stand: Ultralytics, Teachable Machine, Hugging Face, COCO, others.
KEYS = ("names", "labels", "id2label", "categories", "classes", "class_names")
_LABEL_KEYS = ("display_name", "name", "label")

_KEY = re.compile(r"^(?:names|labels|classes)[ \t]*:(.*)$", re.MULTILINE)
_ENTRY = re.compile(r"\s*(?:-|(\d{1,9})\s*:)\s+(\S.*)")
_IN_LIST = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^']|'')*)'|([^\s,\[\]'\"][^,\]]*)")
_COMMENT = re.compile(r"\s+#.*")


def names_in(text: str) -> dict[int, str] | None:
    """Return the names by class number, None where ``text`` is no such document.

    Raises:
        ValueError: it is one, and holds no names of classes.
    """
    if text.lstrip()[:1] in ("{", "["):
        names = by_number(literal(text))
    else:
        key = _KEY.search(text)
        if key is None:
            return None
        names = _yaml(key[1], text[key.end() :])
    return names


def literal(text: str) -> Any:
    """JSON, or what Python prints of a dict or a list.

    Raises:
        ValueError: it is neither.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("neither JSON nor a list or dict of Python") from error


def by_number(document: Any) -> dict[int, str]:
    """Return the names of a document as it was read.

    Raises:
        ValueError: it has none by number.
    """
    if isinstance(document, Mapping):
        for key in KEYS:
            if isinstance(document.get(key), Mapping | list | tuple):
                return by_number(document[key])
        names = dict(_pairs(document))
    elif isinstance(document, list | tuple):
        names = dict(map(_item, range(len(document)), document))
    else:
        raise ValueError("no list of names")
    if not names or min(names) < 0:
        raise ValueError("no name by a number from 0 on")
    return names


def _pairs(document: Mapping[Any, Any]) -> Iterator[tuple[int, str]]:
    """Numbers to names, or as Keras' ``class_indices`` names to numbers."""
    for key, value in document.items():
        if isinstance(value, int) and not isinstance(value, bool) and not str(key).isdecimal():
            yield value, str(key)
        else:
            yield _item(int(key), value)


def _item(number: int, value: Any) -> tuple[int, str]:
    """One class, which an ``id`` of its own may give another number."""
    if isinstance(value, Mapping):
        label = next((value[key] for key in _LABEL_KEYS if key in value), None)
        if label is None:
            raise ValueError("an entry without a name")
        return int(value.get("id", number)), str(label)
    if isinstance(value, list | tuple):
        # ImageNet's class index: ["n01440764", "tench"].
        value = value[-1] if value else ""
    if not isinstance(value, str | int | float):
        raise ValueError("an entry that is no name")
    return number, str(value)


def _yaml(first: str, rest: str) -> dict[int, str]:
    """The names behind a key of YAML: a flow list, or a block of items or of numbered lines."""
    first = _COMMENT.sub("", first).strip()
    if first.startswith("["):
        whole = first if "]" in first else first + rest[: rest.find("]") + 1]
        found = _IN_LIST.finditer(whole.strip().removeprefix("[").removesuffix("]"))
        return by_number([_text(each[0]) for each in found])
    if first.startswith("{"):
        return by_number(literal(first))
    names: dict[int, str] = {}
    for line in rest.splitlines():
        entry = _ENTRY.fullmatch(_COMMENT.sub("", line).rstrip())
        if entry is not None:
            names[len(names) if entry[1] is None else int(entry[1])] = _text(entry[2])
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return by_number(names)


def _text(written: str) -> str:
    """A scalar of YAML without its quotes."""
    written = written.strip()
    if len(written) > 1 and written[0] == written[-1] == "'":
        return written[1:-1].replace("''", "'")
    if len(written) > 1 and written[0] == written[-1] == '"':
        try:
            return str(json.loads(written))
        except ValueError:
            return written[1:-1]
    return written
