"""``edgecam inspect``: what is inside a model, as tables or JSON."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecam.cli.completion import a_model
from edgecam.core.printable import say, say_json

if TYPE_CHECKING:
    from rich.table import Column

    from edgecam.core.console import Console
    from edgecam.tools.inspect_model import Inspection, TensorRow


@click.command("inspect")
@click.argument("model", shell_complete=a_model)
@click.option("--labels", type=click.Path(path_type=Path), help="Label file to use.")
@click.option("--tensors", is_flag=True, help="List every tensor, not only inputs and outputs.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(model: str, labels: Path | None, tensors: bool, as_json: bool) -> None:
    """Show what is inside MODEL, a path or a bundled name.

    Tensors with their quantisation, ops, multiply-accumulates and parameters of each layer, the
    family it is recognised as and why, its labels and card, and what each delegate would take. Of
    a frozen graph (.pb) or TensorFlow.js model (model.json): its nodes with shapes and types, and
    the input and outputs that a conversion takes; --tensors lists the nodes that it leaves out.
    Of a Keras file (.keras, .h5): its layers and their parameters. Of a bundle of MediaPipe
    (.task) or a zip: what it holds, and pose.task:NAME.tflite is a model in it.
    """
    from edgecam.cli.commands import inspect_graph, inspect_layers

    suffix = Path(model).suffix.lower()
    if suffix in inspect_graph.SUFFIXES:
        inspect_graph.show(Path(model), every=tensors, as_json=as_json)
        return
    if suffix in inspect_layers.SUFFIXES:
        inspect_layers.show(Path(model), as_json=as_json)
        return
    found = _inspected(model, labels)
    if found is None:
        _members(Path(model), as_json=as_json)
        return
    if as_json:
        import msgspec

        say_json(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    from edgecam.core.console import Console

    console = Console()
    _summary(console, found)
    _tensors(console, found, every=tensors)
    _layers(console, found)
    _delegates(console, found)


def _inspected(model: str, labels: Path | None) -> Inspection | None:
    """Return what is in a model or in the one model of a bundle, None of a bundle of several."""
    import dataclasses
    import tempfile

    from edgecam.inference import catalog as bundled
    from edgecam.tools.convert.conversion import Options, convert, is_bundle, member
    from edgecam.tools.convert.from_bundle import models
    from edgecam.tools.inspect_model import inspect

    source = member(Path(model))
    if not is_bundle(source):
        return inspect(bundled.resolve(model), labels)
    if source.is_file() and len(models(source)) != 1:
        return None
    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(convert(source, Options()).data)
        return dataclasses.replace(inspect(path, labels), path=model)


def _members(bundle: Path, *, as_json: bool) -> None:
    """List what a bundle holds, and how one of its models is named."""
    from rich.table import Table

    from edgecam.core.console import Console
    from edgecam.tools.convert.from_bundle import members, models

    found = members(bundle)
    if as_json:
        say_json(json.dumps({"path": str(bundle), "members": found}, indent=2))
        return
    console = Console()
    table = Table(_column("member"), "bytes")
    for name, size_bytes in found.items():
        table.add_row(name, f"{size_bytes:,}")
    console.print(table)
    # Lines of their own, to copy: no table wraps them.
    for name in models(bundle):
        say(f"edgecam inspect {shlex.quote(f'{bundle}:{name}')}")


def _summary(console: Console, found: Inspection) -> None:
    from rich.table import Column, Table

    table = Table.grid(Column(no_wrap=True), _column(""), padding=(0, 2))
    rows = [
        ("file", f"{found.path} ({found.size_bytes / 1e6:.2f} MB)"),
        ("sha256", found.sha256),
        ("description", found.description or "-"),
        ("family", f"{found.family or 'none'}: {found.why}"),
        ("input wants", found.normalization),
        *(("warning", line) for line in found.warnings),
        ("labels", _labels(found.labels)),
        ("ops", ", ".join(f"{count} {name}" for name, count in found.ops.items())),
        ("work", f"{found.macs / 1e6:.1f} M MACs, {found.parameters / 1e6:.3f} M parameters"),
        ("cut by", _names(found)),
        ("signatures", ", ".join(found.signatures) or "-"),
    ]
    card = found.card
    rows += (
        [(f"card {key}", str(value)) for key, value in card.items()] if card else [("card", "-")]
    )
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)


def _names(found: Inspection) -> str:
    inputs, outputs = (",".join(row.name for row in rows) for rows in (found.inputs, found.outputs))
    return f"--inputs {inputs} --outputs {outputs}"


def _labels(names: tuple[str, ...]) -> str:
    if not names:
        return "-"
    shown = ", ".join(names[:4])
    return f"{len(names)}: {shown}, ..." if len(names) > 4 else f"{len(names)}: {shown}"


def _tensors(console: Console, found: Inspection, *, every: bool) -> None:
    from rich.table import Table

    table = Table("", "index", _column("tensor"), "shape", "type", "quantisation")
    groups = [("input", found.inputs), ("output", found.outputs)]
    if every:
        groups.append(("", found.tensors))
    for kind, rows in groups:
        for row in rows:
            kind_shown = kind or ("constant" if row.constant else "")
            table.add_row(
                kind_shown,
                str(row.index),
                row.name,
                "x".join(map(str, row.shape)) or "-",
                row.type,
                _quantisation(row),
            )
    console.print(table)


def _quantisation(row: TensorRow) -> str:
    if not row.scale:
        return "-"
    if len(row.scale) > 1:
        return f"{len(row.scale)} scales on axis {row.axis}"
    return f"scale {row.scale[0]:.6g} zero point {row.zero_point[0] if row.zero_point else 0}"


def _column(title: str) -> Column:
    """Return a column whose long names wrap instead of losing their end."""
    from rich.table import Column

    return Column(title, overflow="fold")


def _layers(console: Console, found: Inspection) -> None:
    from rich.table import Table

    table = Table("node", _column("op"), _column("output"), "shape", "MACs", "parameters")
    for layer in found.layers:
        table.add_row(
            str(layer.node),
            layer.op,
            layer.name,
            "x".join(map(str, layer.shape)),
            f"{layer.macs:,}",
            f"{layer.parameters:,}",
        )
    if found.layers:
        console.print(table)


def _delegates(console: Console, found: Inspection) -> None:
    from rich.table import Table

    table = Table("delegate", "nodes", "partitions", _column("left to the CPU's plain kernels"))
    for row in found.delegates:
        if row.nodes is None:
            table.add_row(row.delegate, "unknown", "-", row.reason or "-")
            continue
        left = ", ".join(f"{count} {name}" for name, count in row.left.items())
        table.add_row(
            row.delegate,
            f"{row.nodes} of {row.total}",
            str(row.partitions),
            row.reason or left or "-",
        )
    console.print(table)
