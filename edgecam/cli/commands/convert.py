"""``edgecam convert``: a published model to a .tflite file."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from edgecam.cli.option_types import Number, OutputFile, Size, SizeRange
from edgecam.core.printable import say

if TYPE_CHECKING:
    from edgecam.core.tensors import Normalization
    from edgecam.tools.convert.conversion import Options
    from edgecam.tools.convert.recipe import Mode


@click.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File, or folder."
)
@click.option(
    "--size", type=SizeRange(), help="Of the input.  [the graph's own; of an open PoseNet 257x257]"
)
@click.option(
    "--quantize",
    type=click.Choice(["none", "fp16", "dynamic", "int8", "int8-mixed"]),
    default="none",
    show_default=True,
    help="As edgecam quantize does; none leaves float32.",
)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    help="For int8: directory, glob or clip of pictures.  [default: the bundled clip]",
)
@click.option(
    "--max-loss",
    type=Number(0.0, 1.0),
    default=0.1,
    show_default=True,
    help="Largest share of its findings that quantising may lose.",
)
@click.option("--force", is_flag=True, help="Write the model whatever it lost.")
@click.option(
    "--postprocess/--raw",
    default=None,
    help="SSD: suppress overlaps inside the model, or leave it to the decoder.  [postprocess]",
)
@click.option("--labels", type=click.Path(path_type=Path), help="SSD: label file to pack.")
@click.option(
    "--to",
    type=click.Choice(["tflite", "tfjs"]),
    default="tflite",
    show_default=True,
    help="tfjs: a folder with a TensorFlow.js graph model.",
)
@click.option(
    "--weights",
    type=click.Choice(["float32", "float16", "uint16", "uint8"]),
    help="How --to tfjs stores kernels.  [float32]",
)
@click.option(
    "--page", is_flag=True, help="--to tfjs: a page beside it with camera, labels and rate."
)
@click.option(
    "--page-library",
    metavar="FILE_OR_URL",
    help="--page: its tf.min.js.  [a public server's]",
)
@click.option(
    "--inputs", metavar="NAME", multiple=True, help="Cut: the tensor that takes the picture."
)
@click.option(
    "--outputs", metavar="NAME,...", multiple=True, help="Cut: the tensors that become outputs."
)
@click.option("--mean", help="What the network subtracts from a 0..255 pixel: one or three values.")
@click.option("--std", help="What it divides by then: one or three values.")
@click.option("--bgr", is_flag=True, help="The network was trained on BGR: let it take RGB.")
def command(
    source: Path,
    output: Path,
    size: Size | None,
    quantize: str,
    calibrate: Path | None,
    max_loss: float,
    force: bool,
    postprocess: bool | None,
    labels: Path | None,
    to: str,
    weights: str | None,
    page: bool,
    page_library: str | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    mean: str | None,
    std: str | None,
    bgr: bool,
) -> None:
    """Make a .tflite of SOURCE.

    SOURCE is a TensorFlow.js model (model.json: of nodes, or of layers as Teachable Machine and
    tf.sequential write them), a frozen graph (.pb: SSDs of the Object Detection API and others),
    or one of Coral's PoseNet files whose decoder op no runtime has (it is cut off). Of a MediaPipe
    bundle (.task) or zip it is the model in it, pose.task/NAME.tflite where there are several.
    With the extra [tensorflow]: a Keras file (.keras, .h5), a SavedModel's folder, a TF1
    checkpoint (NAME.meta).

    --inputs and --outputs convert the part of a graph between named tensors, whose names stay:
    a network without the normalisation in front and the ops behind its heads. The end of a name
    is enough where one tensor alone ends so.

    \b
    edgecam convert model.json --size 353x481 --quantize fp16 -o posenet.tflite
    edgecam convert model.json --quantize int8-mixed --calibrate clip.mp4 -o posenet.tflite
    edgecam convert frozen_inference_graph.pb --labels person.txt -o ssd.tflite
    edgecam convert my_model/model.json -o teachable.tflite
    edgecam convert model.keras --size 224x224 --mean 127.5 --std 127.5 -o classifier.tflite
    edgecam convert movenet.json --inputs sub_1 --outputs A,B,C,D --size 256x256 -o movenet.tflite
    edgecam convert posenet_..._quant_decoder.tflite -o plain.tflite
    edgecam convert posenet.tflite --to tfjs --weights uint8 -o web/
    edgecam convert gestures.tflite --to tfjs --page -o web/
    """
    from edgecam.tools.convert.conversion import Options

    _check_together(to, weights, quantize, calibrate)
    library = _library(to, page, page_library)
    options = Options(
        size,
        quantize == "fp16",
        _normalization(mean, std),
        postprocess,
        labels,
        inputs=_names(inputs, "--inputs"),
        outputs=_names(outputs, "--outputs"),
        bgr=bgr,
    )
    if to == "tfjs":
        _write_tfjs(source, output, options, weights or "float32", library)
    else:
        _write_tflite(source, output, options, quantize, calibrate, max_loss, force)


def _write_tflite(
    source: Path,
    output: Path,
    options: Options,
    quantize: str,
    calibrate: Path | None,
    max_loss: float,
    force: bool,
) -> None:
    from edgecam.cli.commands.quantize import command_line
    from edgecam.core import atomic_file as whole_file
    from edgecam.tools.convert import card
    from edgecam.tools.convert.conversion import convert

    OutputFile(".tflite")(output)
    whole_file.check_other(output, source)
    converted = convert(source, options)
    data, notes = converted.data, [*converted.notes]
    if quantize == "fp16":
        whole = convert(source, dataclasses.replace(options, half=False)).data
        notes += _halved(whole, data, output, max_loss, force)
    elif quantize != "none":
        data = _quantized(data, output, cast("Mode", quantize), calibrate, max_loss, force)
    whole_file.write(output, data)
    note = card.write(output, source, command_line(), converted.notes)
    for line in (*notes, *([note] if note else [])):
        say(f"edgecam: {line}", err=True)
    say(f"{output}: {len(data) / 1e6:.2f} MB", err=True)


def _library(to: str, page: bool, asked: str | None) -> str | None:
    """Return where the page's TensorFlow.js is, None where no page is asked for."""
    if not page and asked is None:
        return None
    if to != "tfjs":
        raise click.UsageError("--page and --page-library go with --to tfjs")
    from edgecam.tools.convert.web_page import LIBRARY

    return asked or LIBRARY


def _check_together(to: str, weights: str | None, quantize: str, calibrate: Path | None) -> None:
    if weights is not None and to != "tfjs":
        raise click.UsageError("--weights goes with --to tfjs")
    if quantize != "none" and to == "tfjs":
        raise click.UsageError("--quantize makes .tflite files; --to tfjs takes --weights")
    if calibrate is not None and quantize in ("none", "fp16"):
        raise click.UsageError("--calibrate goes with --quantize dynamic, int8 or int8-mixed")


def _quantized(
    data: bytes, output: Path, mode: Mode, calibrate: Path | None, max_loss: float, force: bool
) -> bytes:
    """Return the converted model quantised, if that did not cost too much."""
    from edgecam.cli.commands.quantize import progress, show
    from edgecam.settings.schema import ModelSettings
    from edgecam.tools.convert.shrink import check, shrink

    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        whole = Path(folder) / output.name
        whole.write_bytes(data)
        small, found = shrink(ModelSettings(path=str(whole)), mode, calibrate, track=progress)
    show(found)
    if not force:
        check(found, mode, max_loss, str(output))
    return small


def _halved(whole: bytes, half: bytes, output: Path, max_loss: float, force: bool) -> list[str]:
    """Compare with float32 and refuse what lost too much; notes where it cannot be compared."""
    from edgecam.cli.commands.quantize import progress, show
    from edgecam.core.errors import EdgecamError
    from edgecam.settings.schema import ModelSettings
    from edgecam.tools.convert.shrink import check, compare

    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        path = Path(folder) / output.name
        path.write_bytes(whole)
        try:
            found = compare(ModelSettings(path=str(path)), half, track=progress)
        except EdgecamError as error:
            # A network of no family is no fault.
            return [f"not compared with float32: {str(error).splitlines()[0]}"]
    if not found.things:
        return ["not compared with float32: it finds nothing in the bundled clip"]
    show(found)
    if not force:
        check(found, "fp16", max_loss, str(output))
    return []


def _write_tfjs(
    source: Path, output: Path, options: Options, weights: str, library: str | None
) -> None:
    from edgecam.tools.convert import tfjs_folder
    from edgecam.tools.convert.conversion import float_model

    tfjs_folder.check(output)
    converted = float_model(source, options)
    size_bytes = tfjs_folder.write(converted.data, source.name, weights, output, library=library)
    for note in converted.notes:
        say(f"edgecam: {note}", err=True)
    say(f"{output}: {size_bytes / 1e6:.2f} MB of weights", err=True)
    if library is not None:
        say(f"open {output / 'index.html'} in a browser", err=True)


def _normalization(mean: str | None, std: str | None) -> Normalization | None:
    from edgecam.core.tensors import Normalization

    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise click.UsageError("--mean and --std go together")
    divisors = _three(std, "--std")
    if 0.0 in divisors:
        raise click.BadParameter("expected no zero", param_hint="--std")
    return Normalization(_three(mean, "--mean"), divisors)


def _names(texts: tuple[str, ...], option: str) -> tuple[str, ...]:
    names = tuple(name.strip() for text in texts for name in text.split(","))
    if not all(names):
        raise click.BadParameter("expected names of tensors, found an empty one", param_hint=option)
    return names


def _three(text: str, option: str) -> tuple[float, float, float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise click.BadParameter(f"{text!r}: expected one number or R,G,B", param_hint=option)
    red, green, blue = values * 3 if len(values) == 1 else values
    return red, green, blue
