"""``edgecam models``: what is installed and what can be had."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecam.cli.completion import a_model
from edgecam.core.errors import EdgecamError, ModelError
from edgecam.core.printable import say, say_json

if TYPE_CHECKING:
    from edgecam.tools.convert.published import Published

# What people look for -> what they write behind ``edgecam --source 0``.
CHOICES = {
    "people, postures, falls": "(nothing: this is the default)",
    "people far away": "--accuracy best",
    "one person near": "--accuracy fast",
    "how many people": "--model ssdlite",
    "everything (80 kinds)": "--model nanodet",
    "a page of paper": "--model documents",
}


@click.group("models", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, show, check and download models."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_(as_json: bool = False) -> None:
    """List models that are bundled, pulled, or can be pulled."""
    rows = _rows()
    if as_json:
        say_json(json.dumps(rows, indent=2))
        return
    import shutil
    import sys

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in _listed(rows, width):
        say(line)
    say("edgecam models pull NAME downloads one that can be had")
    say("")
    for line in choosing():
        say(line)


def choosing() -> Iterator[str]:
    """Which model for what, a line each."""
    width = max(map(len, CHOICES))
    yield from (f"{wanted:{width}}  {flags}" for wanted, flags in CHOICES.items())


def _listed(rows: Sequence[dict[str, Any]], width: int | None) -> Iterator[str]:
    """Each model with its short name first; one line each where the ``width`` is None.

    No name is broken: it has to be copied.
    """
    names = [[*row["aliases"], row["name"]] for row in rows]
    longest = max(len(known[0]) for known in names)
    for row, (name, *others) in zip(rows, names, strict=True):
        size = f"{row['size_bytes'] / 1e6:6.2f} MB" if row["size_bytes"] else " " * 9
        head = f"{name:{longest}}  {row['state']:7}  {size}"
        if width is None:
            also = f" (also {', '.join(others)})" if others else ""
            yield f"{head}  {row['description']}{also}"
            continue
        yield head
        yield from textwrap.wrap(
            row["description"], max(20, width - 1), initial_indent="    ", subsequent_indent="    "
        )
        yield from (f"    also: {other}" for other in others)


def _rows() -> list[dict[str, Any]]:
    from edgecam.inference import catalog as bundled
    from edgecam.tools.convert import published

    rows: list[dict[str, Any]] = []
    pulled = bundled.cards_in(bundled.pulled_directory())
    for state, cards in (("bundled", bundled.cards()), ("pulled", pulled)):
        for card in cards:
            size = card.file.stat().st_size if card.file.exists() else 0
            rows.append(
                _row(card.name, state, card.fields.get("description", ""), card.aliases, size)
            )
    here = {row["name"] for row in rows}
    for model in published.every():
        if model.name not in here:
            rows.append(_row(model.name, "to pull", model.entry.description, (), 0))
    return rows


def _row(
    name: str, state: str, description: str, aliases: Sequence[str], size: int
) -> dict[str, Any]:
    return {
        "name": name,
        "aliases": list(aliases),
        "state": state,
        "size_bytes": size,
        "description": description,
    }


@command.command("show")
@click.argument("name", shell_complete=a_model)
def show(name: str) -> None:
    """Show the card of NAME, a file, a bundled or pulled model, or what a manifest says."""
    from edgecam.inference import catalog as bundled
    from edgecam.tools.convert import published

    known = {model.name: model for model in published.every()}
    try:
        path = bundled.resolve(name)
    except ModelError:
        if name not in known:
            raise
        fields, what = known[name].fields(), f"{name}: can be pulled"
    else:
        card = bundled.card_of(path)
        if card is None:
            raise ModelError(f"{path} has no card; edgecam inspect shows what is inside it")
        fields, what = card.fields, str(path)
    say(what)
    width = max(map(len, fields))
    for key, value in fields.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        say(f"  {key:{width}}  {shown}")


@command.command("verify")
@click.argument("names", nargs=-1, shell_complete=a_model)
def verify(names: tuple[str, ...]) -> None:
    """Check the SHA-256 of NAMES, or of every bundled and pulled model, against their cards."""
    from edgecam.inference import catalog as bundled
    from edgecam.inference.tflite.file import load

    if names:
        paths = [bundled.resolve(name) for name in names]
    else:
        folders = (bundled.directory(), bundled.pulled_directory())
        paths = [card.file for folder in folders for card in bundled.cards_in(folder)]
    faults = 0
    for path in paths:
        try:
            card = bundled.card_of(path)
            if card is None:
                raise ModelError(f"{path} has no card")
            bundled.verify(card, load(path))
        except (EdgecamError, OSError) as error:
            faults += 1
            say(f"FAULT {error}")
        else:
            say(f"ok    {path.name} {card.fields['sha256']}")
    if faults:
        raise ModelError(f"{faults} of {len(paths)} models are not what their cards say")


def _published(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """What a shell offers to pull."""
    del ctx, parameter
    from edgecam.tools.convert import published

    return [model.name for model in published.every() if model.name.startswith(typed)]


@command.command("pull")
@click.argument("names", nargs=-1, required=True, shell_complete=_published)
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="Where to put them.  [default: edgecam/models in the user's data directory]",
)
def pull(names: tuple[str, ...], directory: Path | None) -> None:
    """Download published models by NAMES from their publishers; convert those that need it.

    A transfer that breaks off is resumed. What comes is compared with the first download. Then
    --model NAME runs it.
    """
    from edgecam.inference import catalog as bundled
    from edgecam.tools.convert import published

    folder = directory or bundled.pulled_directory()
    if folder is None:
        raise EdgecamError(
            "expected a directory for the models, for this user has no home; name one with "
            "--directory"
        )
    for model in [published.find(name) for name in names]:
        target = _pull_with_bars(model, folder)
        say(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


def _pull_with_bars(model: Published, folder: Path) -> Path:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TaskID,
        TextColumn,
        TransferSpeedColumn,
    )

    from edgecam.core.progress import Progress
    from edgecam.tools.convert.pull import pull as pull_model

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    bars = Progress(*columns, TransferSpeedColumn())
    tasks: dict[str, TaskID] = {}

    def progress(file: str, done: int, total: int | None) -> None:
        if file not in tasks:
            tasks[file] = bars.add_task(file, total=total)
        bars.update(tasks[file], completed=done, total=total)

    with bars:
        return pull_model(model, folder, progress)
