"""``edgecam tune``: what suits this board, measured, and written into the configuration."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecam.cli.completion import a_model
from edgecam.cli.option_types import Number, OutputFile
from edgecam.cli.options import CONFIG_OPTION
from edgecam.core.errors import EdgecamError, SettingsError
from edgecam.core.printable import say, say_json

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

    from edgecam.settings.schema import Settings
    from edgecam.tools.evaluate.tune import Point, Tuning

_MODELS = ("posenet", "posenet-fp16")


@click.command("tune")
@click.argument("tried", metavar="[MODEL]...", nargs=-1, shell_complete=a_model)
@CONFIG_OPTION
@click.option("-s", "--source", help="A recording with people.  [default: the bundled clip]")
@click.option("--size", "sizes", multiple=True, help="HEIGHTxWIDTH, sides 16n+1; repeatable.")
@click.option(
    "--reference",
    default="posenet-fp16",
    show_default=True,
    help="The float PoseNet that all are held against, at the recording's own size.",
)
@click.option(
    "--keep",
    type=Number(0, 1),
    default=0.9,
    show_default=True,
    help="Choose the fastest that has this share of the best OKS.",
)
@click.option(
    "--budget-s",
    type=Number(1, 86400),
    default=300.0,
    show_default=True,
    help="Begin no measurement that would end later.",
)
@click.option("--write", type=OutputFile(), help="Write the chosen lines into this TOML file.")
@click.option("--json", "as_json", is_flag=True, help="Print the measurements as JSON.")
def command(
    tried: tuple[str, ...],
    config: Path | None,
    source: str | None,
    sizes: tuple[str, ...],
    reference: str,
    keep: float,
    budget_s: float,
    write: Path | None,
    as_json: bool,
) -> None:
    """Measure models, input sizes, delegates, threads and crops on this board.

    What runs now is measured first. Prints frames a second against agreement with the float model
    (mean OKS) and which points are on the Pareto front. MODEL is a PoseNet; by default both bundled
    ones are tried. Exits 1, and writes nothing, where there was no time for most of them.

    \b
    edgecam tune
    edgecam tune --keep 0.97 --write /etc/edgecam/front.toml
    edgecam tune my_posenet.tflite --source hall.mp4
    """
    import msgspec

    from edgecam.cli import log
    from edgecam.inference import catalog as bundled
    from edgecam.settings.load import load, parse

    wanted = [parse("model.input_size", size, "--size") for size in sizes]
    document = _document(write) if write is not None else None
    flags = {"source.url": source or str(bundled.clip())}
    if config is None and write is not None and write.exists():
        config = write
    settings = load(config, os.environ, flags, {"source.url": "--source"})
    log.set_up(verbose=False)
    logging.getLogger("edgecam").setLevel(logging.ERROR)
    found = _measured(settings, tried or _MODELS, reference, wanted, keep, budget_s)
    if as_json:
        say_json(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        _show(found, keep)
    _check_enough(found, budget_s)
    if write is None or document is None:
        if not as_json:
            for line in ("", *_text(found.chosen).splitlines()):
                say(line)
        return
    _write(write, document, found.chosen)
    say(f"edgecam: {write}: written", err=True)


def _measured(
    settings: Settings,
    tried: Sequence[str],
    reference: str,
    sizes: Sequence[str],
    keep: float,
    budget_s: float,
) -> Tuning:
    """Measure the variants behind a bar; without ``sizes`` those that are tried by default."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

    from edgecam.core.progress import Progress
    from edgecam.tools.evaluate.tune import SIZES, tune

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        return tune(
            settings,
            tried,
            reference,
            sizes=sizes or SIZES,
            keep=keep,
            budget_s=budget_s,
            progress=lambda name, share: bar.update(task, description=name, completed=share),
        )


def _check_enough(found: Tuning, budget_s: float) -> None:
    """
    Raises:
        EdgecamError: what was measured is too little to choose from.
    """
    if not found.is_enough:
        tried_of = f"{len(found.points)} of {len(found.points) + found.skipped}"
        raise EdgecamError(
            f"tune: expected time for most variants, found it for {tried_of} in {budget_s:g} s, "
            "so nothing is chosen; give a larger --budget-s, or fewer models and sizes"
        )


def _show(found: Tuning, keep: float) -> None:
    from rich.table import Table

    from edgecam.core.console import Console

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("model", "input", "delegate"):
        table.add_column(name)
    for name in ("threads", "frames/s", "OKS"):
        table.add_column(name, justify="right")
    table.add_column("")
    for point in found.points:
        of = point.variant
        on_front = "front" if point in found.front else ""
        table.add_row(
            of.model,
            of.input_size + (" crop" if of.crop else ""),
            *(of.delegate, str(of.threads), f"{point.rate_hz:.1f}", f"{point.oks:.3f}"),
            "front, chosen" if point == found.chosen and found.is_enough else on_front,
        )
    console = Console()
    console.print(table)
    for line in found.left_out:
        console.print(f"left out: {line}", soft_wrap=True)
    console.print(
        f"OKS: mean over {found.people} people whom {found.reference} sees; chosen: the fastest "
        f"with {keep:.0%} of the best",
        soft_wrap=True,
    )


def _text(chosen: Point) -> str:
    """The chosen lines as a configuration of their own."""
    import tomlkit

    document = tomlkit.document()
    _put(document, chosen)
    return tomlkit.dumps(document)


def _document(path: Path) -> TOMLDocument:
    """The configuration to write into; empty where there is none.

    Raises:
        SettingsError: it is none of edgecam's, cannot be written, or names several models.
    """
    import tomlkit

    from edgecam.settings.load import read_toml

    if not path.exists():
        return tomlkit.document()
    models = read_toml(path).get("model", [])
    if len(models) > 1:
        raise SettingsError(
            f"{path}: expected at most one model to write the lines for, found {len(models)}; "
            "run tune without --write and take the lines over by hand"
        )
    return tomlkit.parse(path.read_text("utf-8"))


def _put(document: TOMLDocument, chosen: Point) -> None:
    """Set the chosen lines; everything else stays, comments too."""
    import tomlkit

    for section, values in chosen.variant.lines().items():
        if section not in document:
            fresh: Any = tomlkit.aot() if section == "model" else tomlkit.table()
            if section == "model":
                fresh.append(tomlkit.table())
            document.add(section, fresh)
        table: Any = document[section]
        for key, value in values.items():
            (table[0] if isinstance(table, list) else table)[key] = value


def _write(path: Path, document: TOMLDocument, chosen: Point) -> None:
    """
    Raises:
        SettingsError: what came out is no configuration.
    """
    import tomlkit

    from edgecam.core import atomic_file as whole_file
    from edgecam.settings.load import parse_toml

    _put(document, chosen)
    data = tomlkit.dumps(document).encode()
    parse_toml(data, str(path))
    whole_file.write(path, data)
