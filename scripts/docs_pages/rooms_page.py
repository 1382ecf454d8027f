"""The page about the rooms of the code: their order is pyproject.toml's, their words their own."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
HEAD = """# Rooms

The package is a row of rooms, and a room imports only from rooms above it in this table; no circle
exists within one either. import-linter checks both (`scripts/check`). This page is written by
`scripts/make-reference` from `pyproject.toml` and from each room's own docstring;
[Architecture](architecture.md) says what happens in them.

| room | what it holds |
| --- | --- |
"""


def rooms() -> list[str]:
    """The rooms' names, the first one first: it imports from none of the others."""
    found = tomllib.loads(PYPROJECT.read_text("utf-8"))
    (layers,) = (
        contract["layers"]
        for contract in found["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    return [layer.removeprefix("edgecam.") for layer in reversed(layers)]


def _row(name: str) -> str:
    module = importlib.import_module(f"edgecam.{name}")
    about = (inspect.getdoc(module) or "").partition("\n\n")[0]
    shown = " ".join(about.split()).replace("``", "`").replace("|", "\\|")
    path = f"edgecam/{name}" + ("/" if hasattr(module, "__path__") else ".py")
    return f"| `{path}` | {shown} |"


def _rows() -> Iterator[str]:
    for name in rooms():
        if name != "__main__":
            yield _row(name)


def rooms_page() -> str:
    """Every room in the order in which they may import."""
    return HEAD + "\n".join(_rows()) + "\n"
