"""``edgecam quantize``: a float model made smaller and compared with what it was."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from edgecam.cli.completion import a_model
from edgecam.cli.option_types import Number, OutputFile
from edgecam.cli.options import FLAG_NAMES
from edgecam.core.printable import say, say_json
from edgecam.core.redaction import shown

if TYPE_CHECKING:
    from edgecam.core.frame import Frame
    from edgecam.tools.convert.agreement import Agreement
    from edgecam.tools.convert.recipe import Mode


@click.command("quantize")
@click.argument("model", shell_complete=a_model)
@click.option(
    "--mode",
    type=click.Choice(["fp16", "dynamic", "int8", "int8-mixed"]),
    default="int8-mixed",
    show_default=True,
    help="What becomes of weights and layers.",
)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    help="Directory, glob or clip of pictures.  [default: the bundled clip]",
)
@click.option("-o", "--output", required=True, type=OutputFile(".tflite"), help="The file.")
@click.option("--input-size", help="HEIGHTxWIDTH at which a PoseNet is calibrated and compared.")
@click.option("--fit", help="How a picture fills the input: auto, letterbox, stretch or crop.")
@click.option("--labels", help="Label file of a detector that carries none.")
@click.option("--pictures", type=click.IntRange(1), default=50, show_default=True, help="At least.")
@click.option(
    "--max-loss",
    type=Number(0.0, 1.0),
    default=0.1,
    show_default=True,
    help="Largest share of the float model's findings that may be lost.",
)
@click.option("--force", is_flag=True, help="Write the model whatever it lost.")
@click.option("--threads", type=click.IntRange(1, 64), help="Inference threads.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def command(
    model: str,
    mode: Mode,
    calibrate: Path | None,
    output: Path,
    input_size: str | None,
    fit: str | None,
    labels: str | None,
    pictures: int,
    max_loss: float,
    force: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Quantise MODEL, a float32 .tflite, without TensorFlow.

    fp16 halves the file and changes nothing else; dynamic has int8 weights and float sums; int8
    computes in int8 but for the outputs; int8-mixed leaves the first layers in float too, which
    is what a PoseNet needs. Inputs and outputs stay float. The result is compared with the
    float model on the calibration pictures and refused if it lost more than --max-loss: of the
    similarity (OKS) of poses, of the boxes or of the labels. fp16 takes a model of any kind.
    """
    from edgecam.core import atomic_file as whole_file
    from edgecam.core.errors import ModelError
    from edgecam.inference import catalog as bundled
    from edgecam.settings.load import load
    from edgecam.tools.convert import card
    from edgecam.tools.convert.shrink import check, halved, shrink

    whole_file.check_other(output, bundled.resolve(model))
    flags = {"model.input_size": input_size, "model.fit": fit, "model.labels": labels}
    given = {"model.path": [model], **{key: value for key, value in flags.items() if value}}
    settings = load(None, {}, given, FLAG_NAMES).model[0]
    try:
        data, found = shrink(
            settings, mode, calibrate, count=pictures, threads=threads, track=progress
        )
    except ModelError as error:
        if mode != "fp16":
            raise
        # No family is needed to round weights.
        data = halved(settings)
        say(f"edgecam: not compared with float32: {str(error).splitlines()[0]}", err=True)
    else:
        if as_json:
            say_json(json.dumps({**dataclasses.asdict(found), "loss": found.loss}, indent=2))
        else:
            show(found)
        if not force:
            check(found, mode, max_loss, str(output))
    whole_file.write(output, data)
    note = card.write(output, bundled.resolve(model), command_line())
    if note is not None:
        say(f"edgecam: {note}", err=True)


def progress(frames: Sequence[Frame], what: str) -> Iterator[Frame]:
    """Yield the frames and show on standard error how many of them are done."""
    from rich.progress import track

    from edgecam.core.console import Console

    # Bound to the stream of now: while the quantiser works its own is turned off.
    console = Console(file=sys.stderr)
    quiet = not console.is_terminal
    yield from track(frames, what, console=console, transient=True, disable=quiet)


def show(found: Agreement) -> None:
    """Print how a quantised model compares with its float model."""
    from rich.table import Table

    from edgecam.core.console import Console
    from edgecam.tools.convert.shrink import shows_nothing

    table = Table("", "float", "quantised", box=None, padding=(0, 2, 0, 0))
    table.add_row("MB", f"{found.float_bytes / 1e6:.2f}", f"{found.quantized_bytes / 1e6:.2f}")
    table.add_row("ms, median", f"{found.float_ms:.1f}", f"{found.quantized_ms:.1f}")
    for output in found.outputs:
        table.add_row(f"error of {output.output}", "", f"{output.error:.2%}")
    measure = {
        "poses": "mean OKS",
        "boxes": "matched",
        "pages": "mean IoU",
        "labels": "equal",
    }[found.kind]
    table.add_row(f"{measure} of {found.things} {found.kind}", "", f"{found.kept:.3f}")
    if found.shift_px is not None:
        table.add_row("median shift, px of the input", "", f"{found.shift_px:.2f}")
    console = Console()
    console.print(table)
    console.print(f"over {found.pictures} pictures")
    if (empty := shows_nothing(found)) is not None:
        say(f"edgecam: {empty}", err=True)


def command_line() -> str:
    """Return the command so that people can give it again."""
    context = click.get_current_context()
    words = context.command_path.split()
    words[0] = "edgecam"
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        if isinstance(parameter, click.Option):
            flag = parameter.opts[-1] if value is not False else parameter.secondary_opts[-1]
            words.append(flag)
        if not isinstance(value, bool):
            is_list = isinstance(parameter, click.Option) and parameter.multiple
            text = ",".join(value) if is_list else str(value)
            # Into a file for all to read: a camera without its password.
            words.append(shown(text))
    return shlex.join(words)
