"""The tables of ``edgecam inspect`` for a model that is not TFLite yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgecam.core.printable import say_json

if TYPE_CHECKING:
    from edgecam.tools.convert.summary import Outline

SUFFIXES = (".pb", ".json")


def show(path: Path, *, every: bool, as_json: bool) -> None:
    """Print the nodes of a frozen graph or TensorFlow.js model, and where it would be cut.

    ``every``: also the nodes that a conversion leaves out.

    Raises:
        ConvertError: it is damaged or of another kind.
    """
    from edgecam.tools.convert.summary import outline

    found = outline(path)
    if as_json:
        import msgspec

        say_json(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    from rich.table import Column, Table

    from edgecam.core.console import Console

    console = Console()
    summary = Table.grid(padding=(0, 2))
    for name, value in _rows(found):
        summary.add_row(name, value)
    console.print(summary)
    table = Table("op", Column("node", overflow="fold"), "shape", "type")
    for row in found.nodes:
        if every or row.needed:
            shape = "?" if row.shape is None else "x".join(map(str, row.shape)) or "-"
            table.add_row(row.op, row.name, shape, row.dtype or "?")
    console.print(table)


def _rows(found: Outline) -> list[tuple[str, str]]:
    left = sum(not row.needed for row in found.nodes)
    rows = [
        ("file", found.path),
        ("format", found.format),
        ("nodes", f"{len(found.nodes)}, {left} of them no part of what would be converted"),
        ("constants", f"{found.constants} of {found.parameters / 1e6:.3f} M elements"),
        ("ops", ", ".join(f"{count} {op}" for op, count in found.ops.items())),
        ("cut by", found.why),
        ("--inputs", ",".join(found.inputs) or "none"),
        ("--outputs", ",".join(found.outputs) or "none"),
    ]
    if found.unknown:
        left_out = ", ".join(f"{count} {op}" for op, count in found.unknown.items())
        rows.append(("do not convert", left_out))
    return rows
