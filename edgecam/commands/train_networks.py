"""``edgecam train classifier``, ``pose`` and ``ssd``: MobileNets on small sets of one's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgecam.commands.convert import parse_size

if TYPE_CHECKING:
    from edgecam.zoo.detector import Ssd
    from edgecam.zoo.training import Course, Progress, Tell

_PATH = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def _course(steps: int, rate: float | None) -> Callable[[F], F]:
    """The options of every training, with defaults of its own; None leaves one to the command."""
    positive = click.FloatRange(0.0, min_open=True)
    return _options(
        click.option("-o", "--output", type=_PATH, required=True, help="NAME.tflite."),
        click.option("--steps", type=click.IntRange(1), default=steps, show_default=True),
        click.option("--batch", type=click.IntRange(1), default=16, show_default=True),
        click.option(
            "--rate", type=positive, default=rate, show_default=rate is not None, help="Learning."
        ),
        click.option("--seed", type=int, default=0, show_default=True),
    )


def _network(alpha: float, size: str) -> Callable[[F], F]:
    widths = click.FloatRange(0.1, 2.0)
    return _options(
        click.option("--alpha", type=widths, default=alpha, show_default=True, help="Width."),
        click.option("--size", default=size, show_default=True, help="HEIGHTxWIDTH."),
    )


def _annotated() -> Callable[[F], F]:
    return _options(
        click.option("--images", type=_PATH, required=True, help="Folder of the pictures."),
        click.option("--annotations", type=_PATH, required=True, help="COCO's JSON of them."),
        click.option("--max-images", type=click.IntRange(1), help="Use only the first ones."),
        click.option("--weights", type=_PATH, help="A .keras file to begin with, where it fits."),
    )


@click.command("classifier")
@click.argument("directory", type=_PATH)
@click.option("--labels", help="As in wave,point,none.  [all folders]")
@click.option(
    "--network", type=click.Choice(["v1", "v2"]), default="v1", show_default=True, help="MobileNet."
)
@click.option(
    "--fine-tune",
    metavar="[MODEL]",
    is_flag=False,
    flag_value="posenet-fp16",
    help="Begin with a PoseNet's layers; alone: the bundled one.",
)
@click.option(
    "--frozen-steps",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="--fine-tune: first steps, with these layers frozen.",
)
@_network(0.75, "161x161")
@_course(steps=400, rate=None)
def classifier(
    directory: Path,
    labels: str | None,
    network: str,
    fine_tune: str | None,
    frozen_steps: int,
    alpha: float,
    size: str,
    output: Path,
    steps: int,
    batch: int,
    rate: float | None,
    seed: int,
) -> None:
    """Train a classifier on DIRECTORY, a folder for each label.

    With --fine-tune it begins with the layers of a PoseNet: first these are frozen, as in edgecam
    teach, then all of them learn, at a --rate of 0.0001 and not 0.001. The last fifth of each
    label's pictures is held out.

    \b
    edgecam train classifier pictures/ --fine-tune -o gestures.tflite
    edgecam train classifier pictures/ --network v2 --alpha 0.35 -o gestures.tflite
    """
    from edgecam import bundled
    from edgecam.convert.conversion import check_folder
    from edgecam.teach import pictures
    from edgecam.teach.lesson import held_out
    from edgecam.zoo import classes

    check_folder(output)
    names = [name.strip() for name in labels.split(",")] if labels else None
    files = pictures.folders(_folder(directory), names)
    height_width = _size(size)
    begin = bundled.resolve(fine_tune) if fine_tune else None
    model, kept = classes.build(network, alpha, height_width, len(files), begin)
    if begin is not None:
        click.echo(f"edgecam: {kept} layers begin with the weights of {begin.name}", err=True)
    data = classes.load(list(files.values()), height_width, held_out)
    # What is there already is soon forgotten at the rate at which nothing becomes something.
    course, tell = _of(steps, batch, rate or (1e-3 if begin is None else 1e-4), seed)
    classes.train(model, data, course, tell, frozen_steps if begin is not None else 0)
    found = classes.confusion(model, data)
    made = classes.to_tflite(model, height_width, tuple(files), f"MobileNet {network} {alpha:g}")
    from edgecam.commands.teach import show_confusion

    show_confusion(tuple(files), found.tolist())
    model.save(str(output.with_suffix(".keras")))
    _write(output, made, begin or directory)


@click.command("pose")
@click.option(
    "--network", type=click.Choice(["v1", "v2"]), default="v1", show_default=True, help="MobileNet."
)
@click.option(
    "--stride",
    type=click.Choice(["8", "16"]),
    default="16",
    show_default=True,
    help="Output stride, in pixels.",
)
@_annotated()
@_network(0.5, "161x161")
@_course(steps=2000, rate=1e-3)
def pose(
    network: str,
    stride: str,
    images: Path,
    annotations: Path,
    max_images: int | None,
    weights: Path | None,
    alpha: float,
    size: str,
    output: Path,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> None:
    """Train a PoseNet on annotated keypoints: person_keypoints_*.json.

    \b
    edgecam train pose --images DIR --annotations person_keypoints.json -o posenet.tflite
    """
    from edgecam.convert.conversion import check_folder
    from edgecam.zoo import coco, posenet

    check_folder(output)
    height_width = _size(size)
    fit = "letterbox" if min(height_width) >= _LETTERBOX_FROM_PX else "stretch"
    built = posenet.build(network, alpha, height_width, int(stride))
    examples = coco.load(annotations, images, height_width, fit, max_images)
    if weights is not None:
        click.echo(f"edgecam: {posenet.keep(built, weights)}", err=True)
    posenet.train(built, examples, *_of(steps, batch, rate, seed))
    _report(posenet.write(built, output.with_suffix("")), annotations)


@click.command("ssd")
@_annotated()
@_network(1.0, "160x160")
@_course(steps=2000, rate=2e-3)
@click.option("--test-images", type=_PATH, help="Folder of pictures to score it on.")
@click.option("--test-annotations", type=_PATH, help="COCO's JSON of those.")
@click.option("--compare", multiple=True, help="Another model to score beside it.")
def ssd(
    images: Path,
    annotations: Path,
    max_images: int | None,
    weights: Path | None,
    alpha: float,
    size: str,
    output: Path,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    test_images: Path | None,
    test_annotations: Path | None,
    compare: tuple[str, ...],
) -> None:
    """Train an SSDLite MobileNet V2 of any width on annotated boxes: instances_*.json.

    Beside NAME.tflite it writes NAME_raw.tflite without post-processing, the frozen graph NAME.pb
    and NAME.keras to go on from.

    \b
    edgecam train ssd --alpha 0.25 --images DIR --annotations instances.json -o slim.tflite
    edgecam train ssd --alpha 0.25 ... --test-images T --test-annotations t.json --compare a.tflite
    """
    from edgecam.convert.conversion import check_folder
    from edgecam.zoo import coco, detector

    check_folder(output)
    if (test_images is None) != (test_annotations is None):
        raise click.UsageError("--test-images and --test-annotations go together")
    if compare and test_images is None:
        raise click.UsageError("--compare goes with --test-images and --test-annotations")
    height_width = _size(size)
    examples = coco.load(annotations, images, height_width, "stretch", max_images)
    built = detector.build(alpha, height_width, examples.labels)
    if weights is not None:
        click.echo(f"edgecam: {detector.keep(built, weights)}", err=True)
    course, tell = _of(steps, batch, rate, seed)
    check = None
    if test_images is not None and test_annotations is not None:
        check = partial(_check, built, test_annotations, test_images)
    detector.train(built, examples, course, tell, check, course.every * 8)
    _report(detector.write(built, output.with_suffix("")), annotations)
    if test_images is not None and test_annotations is not None:
        from edgecam.commands.eval import score

        raw = str(output.with_name(f"{output.stem}_raw.tflite"))
        score((str(output), raw, *compare), test_annotations, test_images)


# From this shorter side on a PoseNet finds more in letterboxed pictures; below, in stretched ones.
_LETTERBOX_FROM_PX = 353


def _folder(directory: Path) -> Path:
    from edgecam.types import EdgecamError

    if not directory.is_dir():
        raise EdgecamError(f"{directory}: expected a folder with one folder for each label")
    return directory


def _size(text: str) -> tuple[int, int]:
    found = parse_size(text)
    assert found is not None  # only for no text at all
    return found


def _of(steps: int, batch: int, rate: float, seed: int) -> tuple[Course, Tell]:
    from edgecam.zoo.training import Course

    return Course(steps, batch, rate, seed, every=max(1, steps // 40)), _tell


def _tell(progress: Progress) -> None:
    share = progress.step / progress.steps
    bar = "#" * round(20 * share)
    click.echo(
        f"{progress.step:6} of {progress.steps} [{bar:20}] loss {progress.loss:8.4f}, "
        f"{progress.left_s:.0f} s left",
        err=True,
    )


def _check(built: Ssd, annotations: Path, images: Path, step: int) -> None:
    """Score an SSD in the middle of its training."""
    from edgecam.evaluate import bench, coco
    from edgecam.settings import InferenceSettings, ModelSettings
    from edgecam.zoo import detector

    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        stem = Path(folder) / "now"
        detector.write(built, stem)
        truth = coco.load(annotations, images)
        settings = ModelSettings(path=str(stem.with_suffix(".tflite")))
        inference = InferenceSettings(probe=False)
        row = bench.evaluate(settings, inference, truth, bench.OPTIONS, lambda _name, _done: None)
    click.echo(f"step {step}: AP {100 * row.ap:.1f}, AP50 {100 * row.ap50:.1f}", err=True)


def _write(output: Path, data: bytes, source: Path) -> None:
    from edgecam.convert.conversion import write_whole

    write_whole(output, data)
    _report([output, output.with_suffix(".keras")], source)


def _report(files: list[Path], source: Path) -> None:
    """Say what was written, and give each .tflite its card."""
    from edgecam.commands.quantize import command_line
    from edgecam.convert import card

    for path in files:
        click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB", err=True)
        if path.suffix == ".tflite":
            note = card.write(path, source, command_line())
            if note is not None:
                click.echo(f"edgecam: {note}", err=True)


@click.command("sizes")
def sizes() -> None:
    """Print what a classifier's head costs: megabytes and milliseconds in every form.

    Needs the extra [quantize] too.
    """
    from rich.console import Console
    from rich.table import Table

    from edgecam.zoo.sizes import rows

    table = Table("head", "form", "MB", "ms", box=None, padding=(0, 2, 0, 0))
    for row in rows():
        time_ms = f"{row.invoke_ms:.1f}" if row.invoke_ms is not None else ""
        table.add_row(row.head, row.form, f"{row.size_bytes / 1e6:.2f}", time_ms)
    console = Console(highlight=False, markup=False)
    console.print("MobileNet V1, width 0.25, 224x224, three classes; one thread")
    console.print(table)
