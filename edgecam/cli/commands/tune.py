"""``edgecam tune``: what suits this board, measured, and written into the configuration."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
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

_MODELS, _REFERENCE = ("posenet", "posenet-fp16"), "posenet-fp16"


@click.command("tune")
@click.argument("tried", metavar="[MODEL]...", nargs=-1, shell_complete=a_model)
@CONFIG_OPTION
@click.option("--fps", type=Number(0.1, 1000), help="Choose the best at this rate or more.")
@click.option(
    "--lying", is_flag=True, help="People who lie count too: pictures are turned as well."
)
@click.option("-s", "--source", help="A recording with people.  [default: the bundled clip]")
@click.option("--size", "sizes", multiple=True, help="HEIGHTxWIDTH, sides 16n+1; repeatable.")
@click.option(
    "--reference",
    help="The float PoseNet that PoseNets are held against, at the recording's own size.  "
    "[default: posenet-fp16]",
)
@click.option(
    "--keep",
    type=Number(0, 1),
    default=0.9,
    show_default=True,
    help="Choose the fastest that has this share of the best AP or OKS.",
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
    fps: float | None,
    lying: bool,
    source: str | None,
    sizes: tuple[str, ...],
    reference: str | None,
    keep: float,
    budget_s: float,
    write: Path | None,
    as_json: bool,
) -> None:
    """Measure on this board what finds people, and choose.

    What runs now is measured first, then bundled models, input sizes, refining and, with --lying,
    turned looks: frames a second on the recording, AP on the pictures that ship, in which people
    were marked by eye, and which points are on the Pareto front. Exits 1, and writes nothing, where
    there was no time for most of them, or none makes --fps.

    With a MODEL, which is a PoseNet, --size or --reference: PoseNets alone, their delegates,
    threads and crops too, held against the float model's poses (mean OKS).

    \b
    edgecam tune --fps 10
    edgecam tune --fps 5 --lying --write /etc/edgecam/front.toml
    edgecam tune my_posenet.tflite --source hall.mp4
    """
    from edgecam.cli import log
    from edgecam.inference import catalog as bundled
    from edgecam.settings.load import load, parse

    of_posenets = bool(tried or sizes or reference)
    if of_posenets and (fps is not None or lying):
        raise SettingsError(
            "tune: expected --fps and --lying without MODEL, --size and --reference, which compare "
            "PoseNets alone; drop the ones or the others"
        )
    wanted = [parse("model.input_size", size, "--size") for size in sizes]
    document = _document(write) if write is not None else None
    flags = {"source.url": source or str(bundled.clip())}
    if config is None and write is not None and write.exists():
        config = write
    settings = load(config, os.environ, flags, {"source.url": "--source"})
    log.set_up(verbose=False)
    logging.getLogger("edgecam").setLevel(logging.ERROR)
    if of_posenets:
        asked = _Asked(tried or _MODELS, reference or _REFERENCE, wanted, keep, budget_s)
        _tune_posenets(settings, asked, write, document, as_json)
        return
    from edgecam.cli.commands.tune_accuracy import Wanted, tune_ways

    tune_ways(settings, Wanted(fps, keep, lying, budget_s), write, document, as_json)


@dataclass(frozen=True)
class _Asked:
    models: Sequence[str]
    reference: str
    sizes: Sequence[str]
    keep: float
    budget_s: float


def _tune_posenets(
    settings: Settings,
    asked: _Asked,
    write: Path | None,
    document: TOMLDocument | None,
    as_json: bool,
) -> None:
    """Measure PoseNets, print, and write the chosen lines.

    Raises:
        EdgecamError: nothing is chosen, or a model does not load or run.
    """
    import msgspec
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

    from edgecam.cli.commands.tune_accuracy import write_document
    from edgecam.core.progress import Progress
    from edgecam.tools.evaluate.tune import SIZES, tune

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        found = tune(
            settings,
            asked.models,
            asked.reference,
            sizes=asked.sizes or SIZES,
            keep=asked.keep,
            budget_s=asked.budget_s,
            progress=lambda name, share: bar.update(task, description=name, completed=share),
        )
    if as_json:
        say_json(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        _show(found, asked.keep)
    _check_enough(found, asked.budget_s)
    if write is None or document is None:
        if not as_json:
            for line in ("", *_text(found.chosen).splitlines()):
                say(line)
        return
    _put(document, found.chosen)
    write_document(write, document)


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
    # A detector whose boxes serve refine alone is of the model before it.
    models = [each for each in read_toml(path).get("model", []) if each.get("publish", True)]
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
