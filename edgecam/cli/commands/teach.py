"""``edgecam teach``: new classes for a frozen network, learnt on the board."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecam.cli.option_types import Number, OutputFile, Size, SizeRange, names
from edgecam.core.printable import printable, say, say_json
from edgecam.core.redaction import shown

if TYPE_CHECKING:
    from edgecam.tools.train.head.capture import Plan
    from edgecam.tools.train.head.lesson import Lesson, Outcome

_DEFAULT_BACKBONE, _DEFAULT_SIZE = "posenet", Size(257, 257)
_MOST_UNITS = 10_000
_GUESSING = 1.5  # so many times the accuracy of chance is no knowledge


def _units(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[int, ...]:
    """Read ``100,50``: the units of each dense layer."""
    parts = [part.strip() for part in text.split(",")] if text is not None else []
    if not all(part.isdecimal() and 1 <= int(part) <= _MOST_UNITS for part in parts):
        raise click.BadParameter(
            f"{text!r}: expected numbers of units, each 1 to {_MOST_UNITS}, as in 100,50"
        )
    return tuple(map(int, parts))


@click.command("teach")
@click.argument("where", metavar="DIR_OR_CAMERA")
@click.option("--labels", callback=names, help="As in wave,point,none.  [a folder's: all]")
@click.option(
    "-o",
    "--output",
    required=True,
    type=OutputFile(".tflite"),
    help="The model, NAME.tflite.",
)
@click.option(
    "--backbone", default=_DEFAULT_BACKBONE, show_default=True, help="File or bundled name."
)
@click.option(
    "--layer", help="Layer whose features are taken, as conv_pw_13_relu.  [the one that does best]"
)
@click.option(
    "--hidden",
    callback=_units,
    help="Dense layers before the last one, as in 100,50.  [none]",
)
@click.option(
    "--dropout",
    type=Number(0.0, 0.95),
    default=0.0,
    show_default=True,
    help="Of --hidden: share of the units that each step leaves out.",
)
@click.option(
    "--input-size", type=SizeRange(32, 2049), help="[default: 257x257, another backbone's own]"
)
@click.option(
    "--pictures",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Camera: a label.",
)
@click.option(
    "--rate-hz", type=Number(0.1, 1000.0), default=10.0, show_default=True, help="Camera."
)
@click.option(
    "--countdown-s", type=Number(0.0, 3600.0), default=3.0, show_default=True, help="Camera."
)
@click.option("--keep", type=click.Path(path_type=Path), help="Camera: folder for its pictures.")
@click.option("--threads", type=click.IntRange(1, 64), help="Inference threads.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(
    where: str,
    labels: list[str] | None,
    output: Path,
    backbone: str,
    layer: str | None,
    hidden: tuple[int, ...],
    dropout: float,
    input_size: Size | None,
    pictures: int,
    rate_hz: float,
    countdown_s: float,
    keep: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Teach a network to tell pictures apart: a folder for each label, or a camera.

    The backbone (the bundled PoseNet's) stays as it is, and is cut behind the layer whose
    features tell the labels apart best; a softmax over their averages is fitted with NumPy and
    written behind it. It is judged on the last fifth of each label's pictures, which neither the
    choice nor the fit has seen. No TensorFlow is needed. --layer takes the features of one layer,
    wherever it stands, also of a model that has a head; --hidden fits dense layers with a ReLU
    in front of the softmax.

    \b
    edgecam teach pictures/ -o gestures.tflite              pictures/wave, pictures/none, ...
    edgecam teach 0 --labels wave,point,none -o gestures.tflite
    edgecam teach pictures/ --backbone M.tflite --layer conv_pw_13_relu --hidden 100,50 -o t.tflite
    edgecam --model gestures.tflite --show
    """
    from edgecam.cli import log
    from edgecam.core import atomic_file as whole_file
    from edgecam.inference import catalog as bundled
    from edgecam.inference.tflite.file import read
    from edgecam.settings.schema import InferenceSettings
    from edgecam.tools.train.head.backbone import find
    from edgecam.tools.train.head.capture import Plan
    from edgecam.tools.train.head.lesson import Lesson

    log.set_up(verbose=False)
    is_folder = _is_folder(where)
    origin = bundled.resolve(backbone)
    whole_file.check_other(output, origin)
    _check_together(hidden, dropout)
    taught = find(read(origin), layer)
    default = _DEFAULT_SIZE if backbone == _DEFAULT_BACKBONE else None
    inference = InferenceSettings(delegate="cpu", threads=threads, probe=False)
    lesson = partial(
        Lesson, taught, input_size or default, inference, hidden=hidden, dropout=dropout
    )
    started_s = time.perf_counter()
    unreadable = 0
    if is_folder:
        found, unreadable = _of_folders(Path(where), labels, lesson)
    else:
        found = _of_camera(where, labels, Plan(pictures, rate_hz, countdown_s), keep, lesson)
        started_s = time.perf_counter()
    outcome, made = _fitted(found, where)
    notes = [*_write(output, made, origin), *_doubts(outcome)]
    took_s = time.perf_counter() - started_s
    name = taught.maps[outcome.layer].name
    _report(found.labels, outcome, name, unreadable, notes, as_json=as_json)
    say(f"{output}: {len(made) / 1e6:.2f} MB, taught in {took_s:.1f} s", err=True)


def _check_together(hidden: tuple[int, ...], dropout: float) -> None:
    if dropout and not hidden:
        raise click.UsageError("--dropout goes with --hidden")


def _is_folder(where: str) -> bool:
    """Whether it is a folder and not a camera, a clip or a glob.

    Raises:
        TeachError: it is nothing that is there.
    """
    from edgecam.settings.schema import SourceSettings
    from edgecam.sources import is_recording
    from edgecam.sources.kinds import expected
    from edgecam.sources.local_path import is_pattern
    from edgecam.tools.train.labelled_images import TeachError

    if is_recording(SourceSettings(url=where)) and not (
        where.startswith("file:") or os.path.exists(where) or is_pattern(where)
    ):
        raise TeachError(
            f"{shown(where)}: there is no such folder; expected one with a folder of pictures "
            f"for each label, or {expected()}"
        )
    return os.path.isdir(where)


def _of_folders(
    directory: Path, labels: list[str] | None, lesson: Callable[[Sequence[str]], Lesson]
) -> tuple[Lesson, int]:
    from rich.progress import track

    from edgecam.core.console import Console
    from edgecam.tools.train import labelled_images as labelled

    files = labelled.folders(directory, labels)
    found = lesson(tuple(files))
    every = [(number, path) for number, paths in enumerate(files.values()) for path in paths]
    console = Console(stderr=True)
    quiet = not console.is_terminal
    reader = labelled.Reader()
    for number, path in track(every, "looking", console=console, transient=True, disable=quiet):
        if (frame := reader.read(path)) is not None:
            found.add(number, frame)
    reader.close()
    return found, reader.unreadable


def _of_camera(
    url: str,
    labels: list[str] | None,
    plan: Plan,
    keep: Path | None,
    lesson: Callable[[Sequence[str]], Lesson],
) -> Lesson:
    from edgecam.settings.schema import SourceSettings
    from edgecam.sources import open_source
    from edgecam.tools.train.head.capture import Album, capture
    from edgecam.tools.train.labelled_images import check_count, check_labels

    if labels is None:
        raise click.UsageError("a camera needs --labels, as in --labels wave,point,none")
    check_labels(labels)
    check_count(labels[0], plan.count, "--pictures")
    album = Album(keep, labels) if keep is not None else None
    found = lesson(labels)
    source = open_source(SourceSettings(url=url, realtime=True))
    try:
        for number, frame in capture(source, labels, plan, _say):
            found.add(number, frame)
            if album is not None:
                album.add(number, frame)
    finally:
        source.close()
    return found


def _say(text: str, lasting: bool) -> None:
    """Write a line of a terminal again and again; elsewhere only what is to stay."""
    if sys.stderr.isatty():
        # Back at its beginning, so that a warning does not stand behind it.
        text = printable(text)
        click.echo(f"\x1b[K{text}" if lasting else f"\x1b[K{text}\r", nl=lasting, err=True)
    elif lasting:
        say(text, err=True)


def _fitted(found: Lesson, where: str) -> tuple[Outcome, bytes]:
    _say("fitting the head ...", lasting=False)
    outcome = found.learn(shown(where))
    made = found.model(outcome, f"taught to tell {', '.join(found.labels)}")
    _say("", lasting=False)
    return outcome, made


def _write(output: Path, data: bytes, origin: Path) -> list[str]:
    """Write the model and its card; return what is to be said about them."""
    from edgecam.cli.commands.quantize import command_line
    from edgecam.core import atomic_file as whole_file
    from edgecam.tools.convert import card

    whole_file.write(output, data)
    note = card.write(output, origin, command_line())
    return [note] if note is not None else []


def _doubts(outcome: Outcome) -> Iterator[str]:
    if outcome.accuracy * len(outcome.confusion) < _GUESSING:
        yield ("that is hardly better than guessing; take more pictures, or a larger --input-size")


def _report(
    labels: Sequence[str],
    outcome: Outcome,
    layer: str,
    unreadable: int,
    notes: Sequence[str],
    *,
    as_json: bool,
) -> None:
    if as_json:
        _print_json(labels, outcome, layer, unreadable, notes)
    else:
        _show(labels, outcome, layer)
    for line in notes:
        say(f"edgecam: {line}", err=True)


def _print_json(
    labels: Sequence[str], outcome: Outcome, layer: str, unreadable: int, notes: Sequence[str]
) -> None:
    fields = {
        "labels": list(labels),
        "pictures": outcome.pictures,
        "unreadable": unreadable,
        "held_out": outcome.held_out,
        "accuracy": outcome.accuracy,
        "confusion": outcome.confusion.tolist(),
        "layer": layer,
        "strength": outcome.strength,
        "warnings": list(notes),
    }
    say_json(json.dumps(fields, indent=2))


def _show(labels: Sequence[str], outcome: Outcome, layer: str) -> None:
    show_confusion(labels, outcome.confusion.tolist())
    say(f"the model is fitted to all {outcome.pictures} pictures, on the averages of {layer}")


def show_confusion(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> None:
    """Print how held-out pictures were seen: a row for each true label."""
    from rich.table import Table

    from edgecam.core.console import Console

    table = Table("is, seen as", *labels, box=None, padding=(0, 2, 0, 0))
    for label, row in zip(labels, confusion, strict=True):
        table.add_row(label, *map(str, row))
    console = Console()
    console.print(table)
    right = sum(row[place] for place, row in enumerate(confusion))
    count = sum(map(sum, confusion))
    console.print(f"held out: {right} of {count} right, accuracy {right / count:.3f}")
