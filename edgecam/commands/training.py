"""What the commands of ``edgecam train`` share: options, progress, and what they report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgecam.commands.convert import parse_size
from edgecam.options import OutputFile

if TYPE_CHECKING:
    from edgecam.zoo.training import Course, Progress, Tell

PATH = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def course_options(steps: int, rate: float | None) -> Callable[[F], F]:
    """The options of every training, with defaults of its own; None leaves one to the command."""
    positive = click.FloatRange(0.0, min_open=True)
    return _options(
        click.option(
            "-o", "--output", type=OutputFile(".tflite"), required=True, help="NAME.tflite."
        ),
        click.option("--steps", type=click.IntRange(1), default=steps, show_default=True),
        click.option("--batch", type=click.IntRange(1), default=16, show_default=True),
        click.option(
            "--rate",
            type=positive,
            default=rate,
            show_default=rate is not None,
            help="Highest learning rate.",
        ),
        click.option("--seed", type=int, default=0, show_default=True),
    )


def network_options(alpha: float, size: str) -> Callable[[F], F]:
    widths = click.FloatRange(0.1, 2.0)
    return _options(
        click.option(
            "--alpha", type=widths, default=alpha, show_default=True, help="Width of all layers."
        ),
        click.option("--size", default=size, show_default=True, help="HEIGHTxWIDTH."),
    )


def annotated_options() -> Callable[[F], F]:
    return _options(
        click.option("--images", type=PATH, required=True, help="Folder of the pictures."),
        click.option("--annotations", type=PATH, required=True, help="COCO's JSON of them."),
        click.option("--max-images", type=click.IntRange(1), help="Use only the first ones."),
        click.option("--weights", type=PATH, help="A .keras file to begin with, where it fits."),
    )


def folder_of(directory: Path) -> Path:
    from edgecam.types import EdgecamError

    if not directory.is_dir():
        raise EdgecamError(f"{directory}: expected a folder with one folder for each label")
    return directory


def size_of(text: str) -> tuple[int, int]:
    found = parse_size(text)
    assert found is not None  # only for no text at all
    return found


def course_of(steps: int, batch: int, rate: float, seed: int) -> tuple[Course, Tell]:
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


def report(files: list[Path], source: Path) -> None:
    """Say what was written, and give each .tflite its card."""
    from edgecam.commands.quantize import command_line
    from edgecam.convert import card

    for path in files:
        click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB", err=True)
        if path.suffix == ".tflite":
            note = card.write(path, source, command_line())
            if note is not None:
                click.echo(f"edgecam: {note}", err=True)
