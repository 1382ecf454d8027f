"""``edgecam train``: networks of edgecam's own, trained here; needs the extra [tensorflow]."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from edgecam.cli.commands import train_networks
from edgecam.cli.option_types import Number, OutputFile, Size, SizeRange
from edgecam.core import atomic_file as whole_file
from edgecam.core.printable import say


@click.group("train")
def command() -> None:
    """Train a network of edgecam's own; wants the extra [tensorflow]."""
    from edgecam.cli import log

    log.set_up(verbose=False)


for _command in (
    train_networks.classifier,
    train_networks.pose,
    train_networks.sizes,
    train_networks.ssd,
):
    command.add_command(_command)


@command.command("documents")
@click.option("-o", "--output", required=True, type=OutputFile(".keras"), help="NAME.keras.")
@click.option(
    "--minutes",
    type=Number(0.01, 43200.0),
    default=60.0,
    show_default=True,
    help="Wall time of training, without rendering.",
)
@click.option(
    "--scenes",
    type=click.IntRange(64, 200_000),
    default=8000,
    show_default=True,
    help="Pages to render; 230 KB of disk each.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="To render."
)
@click.option(
    "--threads", type=click.IntRange(1, 64), default=2, show_default=True, help="To train with."
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    help="Folder for the rendered pages and the weights so far; a second run goes on from there.",
)
def documents(
    output: Path, minutes: float, scenes: int, workers: int, threads: int, keep: Path | None
) -> None:
    """Train the document edge network on rendered pages.

    \b
    edgecam train documents --minutes 60 --keep work/ -o documents.keras
    edgecam train pages --count 100 pages/
    edgecam convert documents.keras --quantize int8 --calibrate pages/ -o documents.tflite
    """
    from edgecam.tools.convert.tensorflow_load import open_tensorflow

    open_tensorflow()
    if keep is not None:
        whole_file.check_folder(keep)
    with tempfile.TemporaryDirectory(prefix="edgecam-") as scratch:
        from edgecam.tools.train.documents.training import make

        made = make(
            keep or Path(scratch),
            scenes=scenes,
            minutes=minutes,
            workers=workers,
            threads=threads,
            say=lambda line: say(line, err=True),
        )
        saved = Path(scratch) / "model.keras"
        made.save(saved)
        whole_file.write(output, saved.read_bytes())


@command.command("pages")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option(
    "--first-seed",
    type=click.IntRange(0, 1_000_000_000),
    default=2_000_000,
    show_default=True,
    help="Each page has the next one; training uses 0 to --scenes and 900000 to 900095.",
)
@click.option(
    "--size", type=SizeRange(64, 2048), default="480x640", show_default=True, help="In pixels."
)
def pages(folder: Path, count: int, first_seed: int, size: Size) -> None:
    """Render photographs of pages into FOLDER, and their corners into FOLDER/corners.json.

    They calibrate and score the document edge network; no TensorFlow is needed.
    """
    from edgecam.tools.train.documents.files import write

    write(folder, range(first_seed, first_seed + count), size.width, size.height)
