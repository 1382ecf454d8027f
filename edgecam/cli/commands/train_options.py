"""What the commands of ``edgecam train`` share: options, progress, and what they report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from edgecam.cli.option_types import Number, OutputFile, Size, SizeRange
from edgecam.core.printable import say

if TYPE_CHECKING:
    from edgecam.tools.train.training import Course, Progress, Tell

PATH = click.Path(path_type=Path)
_SIDES = SizeRange(32, 1025)  # beyond it a batch fills any memory
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class CourseOptions:
    """How long and how a network is trained; ``rate`` None leaves it to the command."""

    output: Path
    steps: int
    batch: int
    rate: float | None
    seed: int


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """``alpha``: the width of all layers. ``size`` is that of the input."""

    alpha: float
    size: Size


@dataclass(frozen=True, slots=True)
class AnnotatedOptions:
    """Pictures with COCO's annotations, and a .keras file to begin with."""

    images: Path
    annotations: Path
    max_images: int | None
    weights: Path | None


def _gathered(name: str, kind: type, *options: Callable[[F], F]) -> Callable[[F], F]:
    """Add options, and hand their values to the command as one argument ``name``."""

    def add(function: F) -> F:
        @wraps(function)
        def command(**given: Any) -> Any:
            mine = {field.name: given.pop(field.name) for field in fields(kind)}
            return function(**{name: kind(**mine)}, **given)

        wrapped: Any = command
        for option in reversed(options):
            wrapped = option(wrapped)
        return cast("F", wrapped)

    return add


def course_options(steps: int, rate: float | None, *beside: str) -> Callable[[F], F]:
    """The options of every training as ``course``, with defaults of the command's own.

    ``beside``: what else is written, see ``OutputFile``; the .keras file always is.
    """
    return _gathered(
        "course",
        CourseOptions,
        click.option(
            "-o",
            "--output",
            type=OutputFile(".tflite", beside=(".keras", *beside)),
            required=True,
            help="NAME.tflite.",
        ),
        click.option(
            "--steps", type=click.IntRange(1, 10_000_000), default=steps, show_default=True
        ),
        click.option("--batch", type=click.IntRange(1, 1024), default=16, show_default=True),
        click.option(
            "--rate",
            type=Number(0.0, 1.0, min_open=True),
            default=rate,
            show_default=rate is not None,
            help="Highest learning rate.",
        ),
        click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True),
    )


def network_options(alpha: float, size: str) -> Callable[[F], F]:
    """The options of every network as ``shape``."""
    widths = Number(0.1, 2.0)
    return _gathered(
        "shape",
        NetworkOptions,
        click.option(
            "--alpha", type=widths, default=alpha, show_default=True, help="Width of all layers."
        ),
        click.option("--size", type=_SIDES, default=size, show_default=True, help="Of the input."),
    )


def annotated_options() -> Callable[[F], F]:
    """The options of what is trained on COCO's annotations as ``data``."""
    return _gathered(
        "data",
        AnnotatedOptions,
        click.option("--images", type=PATH, required=True, help="Folder of the pictures."),
        click.option("--annotations", type=PATH, required=True, help="COCO's JSON of them."),
        click.option(
            "--max-images", type=click.IntRange(1, 1_000_000), help="Use only the first ones."
        ),
        click.option("--weights", type=PATH, help="A .keras file to begin with, where it fits."),
    )


def folder_of(directory: Path) -> Path:
    """Return a data set's folder, or refuse with one line where it is missing."""
    from edgecam.core.errors import EdgecamError

    if not directory.is_dir():
        raise EdgecamError(f"{directory}: expected a folder with one folder for each label")
    return directory


def course_of(asked: CourseOptions, rate: float) -> tuple[Course, Tell]:
    """The course as it is taken, at ``rate`` where none was asked for, and what tells of it."""
    from edgecam.tools.train.training import Course

    every = max(1, asked.steps // 40)
    return Course(asked.steps, asked.batch, asked.rate or rate, asked.seed, every), _tell


def _tell(progress: Progress) -> None:
    share = progress.step / progress.steps
    bar = "#" * round(20 * share)
    say(
        f"{progress.step:6} of {progress.steps} [{bar:20}] loss {progress.loss:8.4f}, "
        f"{progress.left_s:.0f} s left",
        err=True,
    )


def report(files: list[Path], source: Path) -> None:
    """Say what was written, and give each .tflite its card."""
    from edgecam.cli.commands.quantize import command_line
    from edgecam.tools.convert import card

    for path in files:
        say(f"{path}: {path.stat().st_size / 1e6:.2f} MB", err=True)
        if path.suffix == ".tflite":
            note = card.write(path, source, command_line())
            if note is not None:
                say(f"edgecam: {note}", err=True)
