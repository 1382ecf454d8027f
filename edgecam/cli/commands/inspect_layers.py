"""The table of ``edgecam inspect`` for a Keras file: its layers and their parameters."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from edgecam.core.printable import say_json

SUFFIXES = (".keras", ".h5", ".hdf5")


def show(path: Path, *, as_json: bool) -> None:
    """Print the layers of a Keras file as ``model.summary()`` does, without Keras.

    Raises:
        ConvertError: it is damaged or of another kind.
    """
    from edgecam.tools.convert.keras_layers import rows

    found = rows(path)
    total, fixed = (sum(getattr(row, key) or 0 for row in found) for key in ("parameters", "fixed"))
    if as_json:
        layers = [dataclasses.asdict(row) for row in found]
        fields = {"path": str(path), "layers": layers, "parameters": total, "fixed": fixed}
        say_json(json.dumps(fields, indent=2))
        return
    from rich.table import Column, Table

    from edgecam.core.console import Console

    table = Table(Column("layer", overflow="fold"), "class", "input", "parameters")
    for row in found:
        shape = "-"
        if row.input is not None:
            shape = "x".join("?" if side < 0 else str(side) for side in row.input)
        count = "unknown" if row.parameters is None else f"{row.parameters:,}"
        table.add_row(row.name, row.kind, shape, count)
    console = Console()
    console.print(table)
    unknown = sum(row.parameters is None for row in found)
    more = f", and those of {unknown} layers of classes that are not known here" if unknown else ""
    console.print(
        f"{total:,} parameters{more}; training changes {total - fixed:,} and leaves {fixed:,} alone"
    )
