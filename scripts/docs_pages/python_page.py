"""The page about edgecam from Python: every public name with its signature and its docstring."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import edgecam

HEAD = """# Python API

Everything that `import edgecam` offers; [From Python](from-python.md) shows how to use it. This
page is written by `scripts/make-reference` from the docstrings.
"""


def python_page() -> str:
    """Every name of ``edgecam.__all__`` in its order."""
    lines = [HEAD]
    for name in edgecam.__all__:
        if name != "__version__":
            lines += _entry(name, getattr(edgecam, name))
    return "\n".join(lines) + "\n"


def _entry(name: str, found: Any) -> Iterator[str]:
    yield f"## {name}\n"
    if inspect.isclass(found):
        if not dataclasses.is_dataclass(found) and not issubclass(found, Exception):
            yield _signature(name, found)
        yield from _text(found)
        yield from _fields(found)
        for member, value in vars(found).items():
            if member.startswith("_") or not (value.__doc__ and _is_code(value)):
                continue
            if isinstance(value, property):
                yield f"**{member}** (property): {_first(value)}\n"
            else:
                called = value.__func__ if isinstance(value, classmethod) else value
                yield _signature(member, called)
                yield from _text(called)
    else:
        yield _signature(name, found)
        yield from _text(found)


def _is_code(value: object) -> bool:
    return isinstance(value, property | classmethod) or inspect.isfunction(value)


def _first(value: property) -> str:
    return " ".join((inspect.getdoc(value) or "").split()).replace("``", "`")


def _fields(found: type) -> Iterator[str]:
    if not dataclasses.is_dataclass(found):
        return
    yield "| field | type |\n| --- | --- |"
    for field in dataclasses.fields(found):
        kind = str(field.type).replace("|", "\\|")
        yield f"| `{field.name}` | `{kind}` |"
    yield ""


def _signature(name: str, found: Any) -> str:
    signature = inspect.signature(found)
    parts = [
        str(each) for each in signature.parameters.values() if each.name not in ("self", "cls")
    ]
    kinds = [each.kind for each in signature.parameters.values() if each.name != "self"]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    back = signature.return_annotation
    arrow = "" if back is inspect.Signature.empty or inspect.isclass(found) else f" -> {back}"
    text = f"{name}({', '.join(parts)}){arrow}"
    if len(text) > 88:
        text = f"{name}(\n    " + ",\n    ".join(parts) + f",\n){arrow}"
    return f"```py\n{text.replace(chr(39), '')}\n```\n"


def _text(found: Any) -> Iterator[str]:
    """A docstring as Markdown; what it raises becomes a list."""
    for part in re.split(r"\n\s*\n", (inspect.getdoc(found) or "").replace("``", "`")):
        lines = part.splitlines()
        if lines and re.fullmatch(r"(Args|Raises|Returns|Yields):", lines[0]):
            yield f"{lines[0]}\n"
            entries = re.split(r"\n    (?=\S)", "\n" + "\n".join(lines[1:]))
            for entry in filter(str.strip, entries):
                what, _, about = " ".join(entry.split()).partition(": ")
                yield f"- `{what}`: {about}"
            yield ""
        elif part:
            yield part + "\n"
