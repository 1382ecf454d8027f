"""``edgecam train classifier``, ``pose`` and ``ssd``: MobileNets on small sets of one's own."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecam.cli.commands.train_options import (
    PATH,
    AnnotatedOptions,
    CourseOptions,
    NetworkOptions,
    annotated_options,
    course_of,
    course_options,
    folder_of,
    network_options,
    report,
)
from edgecam.cli.option_types import names
from edgecam.core.printable import say

if TYPE_CHECKING:
    from edgecam.tools.train.detector import Ssd

# From this shorter side on a PoseNet finds more in letterboxed pictures; below, in stretched ones.
_LETTERBOX_FROM_PX = 353
_RATE, _FINE_TUNING_RATE, _SSD_RATE = 1e-3, 1e-4, 2e-3
_CHECK_EVERY = 8  # reports, of which there are forty


@click.command("classifier")
@click.argument("directory", type=PATH)
@click.option("--labels", callback=names, help="As in wave,point,none.  [all folders]")
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
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    help="--fine-tune: first steps, with these layers frozen.",
)
@network_options(0.75, "161x161")
@course_options(steps=400, rate=None)
def classifier(
    directory: Path,
    labels: list[str] | None,
    network: str,
    fine_tune: str | None,
    frozen_steps: int,
    shape: NetworkOptions,
    course: CourseOptions,
) -> None:
    """Train a classifier on DIRECTORY, a folder for each label.

    With --fine-tune it begins with the layers of a PoseNet: first these are frozen, as in edgecam
    teach, then all of them learn, at a --rate of 0.0001 and not 0.001. The last fifth of each
    label's pictures is held out.

    \b
    edgecam train classifier pictures/ --fine-tune -o gestures.tflite
    edgecam train classifier pictures/ --network v2 --alpha 0.35 -o gestures.tflite
    """
    from edgecam.inference import catalog as bundled
    from edgecam.tools.train import classes, export
    from edgecam.tools.train import labelled_images as labelled

    files = labelled.folders(folder_of(directory), labels)
    size = shape.size
    begin = bundled.resolve(fine_tune) if fine_tune else None
    model, kept = classes.build(network, shape.alpha, size, len(files), begin)
    if begin is not None:
        say(f"edgecam: {kept} layers begin with the weights of {begin.name}", err=True)
    data = classes.load(files, size)
    # What is there already is soon forgotten at the rate at which nothing becomes something.
    plan, tell = course_of(course, _RATE if begin is None else _FINE_TUNING_RATE)
    classes.train(model, data, plan, tell, frozen_steps if begin is not None else 0)
    found = classes.confusion(model, data)
    made = classes.to_tflite(model, size, tuple(files), f"MobileNet {network} {shape.alpha:g}")
    from edgecam.cli.commands.teach import show_confusion

    show_confusion(tuple(files), found.tolist())
    stem = course.output.with_suffix("")
    report(export.write(model, stem, {course.output: made}), begin or directory)


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
@annotated_options()
@network_options(0.5, "161x161")
@course_options(2000, _RATE, ".pb")
def pose(
    network: str,
    stride: str,
    data: AnnotatedOptions,
    shape: NetworkOptions,
    course: CourseOptions,
) -> None:
    """Train a PoseNet on annotated keypoints: person_keypoints_*.json.

    \b
    edgecam train pose --images DIR --annotations person_keypoints.json -o posenet.tflite
    """
    from edgecam.tools.train import coco, posenet

    size = shape.size
    fit = "letterbox" if min(size) >= _LETTERBOX_FROM_PX else "stretch"
    built = posenet.build(network, shape.alpha, size, int(stride))
    examples = coco.load(data.annotations, data.images, size, fit, data.max_images)
    if data.weights is not None:
        say(f"edgecam: {posenet.keep(built, data.weights)}", err=True)
    posenet.train(built, examples, *course_of(course, _RATE))
    report(posenet.write(built, course.output.with_suffix("")), data.annotations)


@click.command("ssd")
@click.option(
    "--heads",
    type=click.Choice(["ssdlite", "ssd"]),
    default="ssdlite",
    show_default=True,
    help="ssdlite: separable convolutions, smaller.",
)
@annotated_options()
@network_options(1.0, "160x160")
@course_options(2000, _SSD_RATE, ".pb", "_raw.tflite", "_labels.txt")
@click.option("--test-images", type=PATH, help="Folder of pictures to score it on.")
@click.option("--test-annotations", type=PATH, help="COCO's JSON of those.")
@click.option("--compare", multiple=True, help="Another model to score beside it.")
def ssd(
    heads: str,
    data: AnnotatedOptions,
    shape: NetworkOptions,
    course: CourseOptions,
    test_images: Path | None,
    test_annotations: Path | None,
    compare: tuple[str, ...],
) -> None:
    """Train an SSDLite or SSD MobileNet V2 of any width on annotated boxes: instances_*.json.

    Beside NAME.tflite it writes NAME_raw.tflite without post-processing, the frozen graph NAME.pb
    and NAME.keras to go on from.

    \b
    edgecam train ssd --alpha 0.25 --images DIR --annotations instances.json -o slim.tflite
    edgecam train ssd --alpha 0.25 ... --test-images T --test-annotations t.json --compare a.tflite
    """
    from edgecam.inference import catalog as bundled
    from edgecam.inference.tflite.file import load
    from edgecam.tools.convert.tensorflow_load import open_tensorflow
    from edgecam.tools.evaluate import coco as truth
    from edgecam.tools.train import coco, detector

    if (test_images is None) != (test_annotations is None):
        raise click.UsageError("--test-images and --test-annotations go together")
    if compare and test_images is None:
        raise click.UsageError("--compare goes with --test-images and --test-annotations")
    # What is wanted at the end is looked at before the work.
    for name in compare:
        load(bundled.resolve(name))
    if test_images is not None and test_annotations is not None:
        truth.load(test_annotations, test_images)
    size = shape.size
    open_tensorflow()  # missing it is said before all pictures are read
    examples = coco.load(data.annotations, data.images, size, "stretch", data.max_images)
    built = detector.build(shape.alpha, size, examples.labels, lite=heads == "ssdlite")
    if data.weights is not None:
        say(f"edgecam: {detector.keep(built, data.weights)}", err=True)
    plan, tell = course_of(course, _SSD_RATE)
    check = None
    if test_images is not None and test_annotations is not None:
        check = partial(_check, built, test_annotations, test_images)
    detector.train(built, examples, plan, tell, check, plan.every * _CHECK_EVERY)
    report(detector.write(built, course.output.with_suffix("")), data.annotations)
    if test_images is not None and test_annotations is not None:
        from edgecam.cli.commands.eval import score

        raw = str(course.output.with_name(f"{course.output.stem}_raw.tflite"))
        score((str(course.output), raw, *compare), test_annotations, test_images)


def _check(built: Ssd, annotations: Path, images: Path, step: int) -> None:
    """Score an SSD in the middle of its training."""
    from edgecam.settings.schema import InferenceSettings, ModelSettings
    from edgecam.tools.evaluate import accuracy as bench
    from edgecam.tools.evaluate import coco
    from edgecam.tools.train import detector

    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        path = Path(folder) / "now.tflite"
        path.write_bytes(detector.to_tflite(built, path.stem))
        truth = coco.load(annotations, images)
        settings = ModelSettings(path=str(path))
        inference = InferenceSettings(probe=False)
        row = bench.evaluate(settings, inference, truth, bench.OPTIONS, lambda _name, _done: None)
    say(f"step {step}: AP {100 * row.ap:.1f}, AP50 {100 * row.ap50:.1f}", err=True)


@click.command("sizes")
def sizes() -> None:
    """Print what a classifier's head costs: megabytes and milliseconds in every form.

    Needs the extra [quantize] too.
    """
    from rich.table import Table

    from edgecam.core.console import Console
    from edgecam.tools.train.sizes import rows

    table = Table("head", "form", "MB", "ms", box=None, padding=(0, 2, 0, 0))
    for row in rows():
        time_ms = f"{row.invoke_ms:.1f}" if row.invoke_ms is not None else ""
        table.add_row(row.head, row.form, f"{row.size_bytes / 1e6:.2f}", time_ms)
    console = Console()
    console.print("MobileNet V1, width 0.25, 224x224, three classes; one thread")
    console.print(table)
