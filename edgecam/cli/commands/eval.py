"""``edgecam eval``: models side by side on annotated pictures."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from edgecam.cli.option_types import Number
from edgecam.core.errors import SettingsError
from edgecam.core.printable import say_json

if TYPE_CHECKING:
    from rich.progress import TaskID
    from rich.table import Table

    from edgecam.core.protocols import DecodeOptions
    from edgecam.settings.schema import InferenceSettings, ModelSettings, Settings
    from edgecam.tools.evaluate.accuracy import Row, Tick
    from edgecam.tools.evaluate.coco import Truth

    Job = Callable[[Tick], Row]

_BOTH = {"fit": ("letterbox", "stretch"), "decoder": ("tfjs", "coral")}

_SIZE = re.compile(r"[1-9][0-9]{1,3}x[1-9][0-9]{1,3}")


def _sizes(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    for text in given:
        if not _SIZE.fullmatch(text):
            raise click.BadParameter(f"expected HEIGHTxWIDTH such as 257x257, found {text!r}")
    return given


@click.command("eval")
@click.option("-m", "--model", "models", multiple=True, help="File or bundled name.")
@click.option("--refine", help="Run all models together, and this one on each person found.")
@click.option(
    "--accuracy",
    "levels",
    multiple=True,
    type=click.Choice(["fast", "balanced", "best"]),
    help="Score the whole run of this setting; repeatable.",
)
@click.option("--images", required=True, type=click.Path(path_type=Path), help="Their directory.")
@click.option(
    "--annotations",
    required=True,
    type=click.Path(path_type=Path),
    help="COCO's person_keypoints_*.json or instances_*.json.",
)
@click.option(
    "--fit",
    type=click.Choice(["auto", "letterbox", "stretch", "crop", "both"]),
    default="auto",
    show_default=True,
    help="How a picture fills the input.",
)
@click.option(
    "--decoder",
    type=click.Choice(["auto", "tfjs", "coral", "both"]),
    default="auto",
    show_default=True,
    help="PoseNet decoding rules.",
)
@click.option(
    "--input-size",
    "sizes",
    multiple=True,
    callback=_sizes,
    help="HEIGHTxWIDTH of PoseNets; repeatable.",
)
@click.option(
    "--turn",
    type=click.Choice(["0", "90", "180", "270"]),
    default="0",
    show_default=True,
    help="Degrees clockwise by which pictures and annotations are turned.",
)
@click.option("--turned-looks", is_flag=True, help="Look for people who lie too, as turned_look_s.")
@click.option("--labels", help="Label file for detectors that carry none.")
@click.option("--max-images", type=click.IntRange(1), help="Use only the first ones.")
@click.option("--score-threshold", type=Number(0, 1), default=0.05, show_default=True, help="0..1.")
@click.option("--delegate", default="auto", show_default=True, help="As for edgecam itself.")
@click.option("--threads", type=click.IntRange(1, 64), help="Inference threads.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def command(
    models: tuple[str, ...],
    refine: str | None,
    levels: tuple[str, ...],
    images: Path,
    annotations: Path,
    fit: str,
    decoder: str,
    sizes: tuple[str, ...],
    turn: str,
    turned_looks: bool,
    labels: str | None,
    max_images: int | None,
    score_threshold: float,
    delegate: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Score models on annotated pictures: COCO's AP and AR of keypoints (OKS) or boxes (IoU).

    Pose models need person_keypoints_*.json; a detector is scored on the categories that it has
    a label for. Repeat --model to compare; "both" makes a row for each way. The score threshold
    is far below the one for a screen: AP is measured over the whole precision-recall curve.

    With --accuracy, or --refine, the whole run is scored: who is found, then refined. Every
    person is refined, as in a recording.
    """
    from edgecam.settings.schema import InferenceSettings, ModelSettings
    from edgecam.tools.evaluate import accuracy as bench
    from edgecam.tools.evaluate import coco

    if not models and not levels:
        raise SettingsError("eval: expected --model or --accuracy, found neither; name what to run")
    truth = coco.load(annotations, images, max_images)
    inference = InferenceSettings(delegate=delegate, threads=threads)
    options = dataclasses.replace(bench.OPTIONS, score_threshold=score_threshold)
    from edgecam.tools.evaluate.turned_truth import turned

    truth = dataclasses.replace(turned(truth, int(turn)), turned_looks=turned_looks)
    planned = [
        variant
        for model in models
        for variant in bench.variants(
            ModelSettings(path=model, labels=labels),
            inference,
            _BOTH["fit"] if fit == "both" else (fit,),
            _BOTH["decoder"] if decoder == "both" else (decoder,),
            sizes or (None,),
        )
    ]
    runs = _whole_runs(inference, levels, refine, models, planned)
    if refine is not None:
        planned = []
    rows = _with_progress(_jobs(planned, inference, runs, truth, options), len(truth.pictures))
    if as_json:
        say_json(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        _show(rows)


def _whole_runs(
    inference: InferenceSettings,
    levels: Sequence[str],
    refine: str | None,
    models: Sequence[str],
    planned: Sequence[ModelSettings],
) -> dict[str, Settings]:
    """The settings of each whole run, by its name: of each level, and of what is refined."""
    from edgecam.settings.schema import Settings

    plain = Settings(inference=inference)
    runs = {level: msgspec.structs.replace(plain, accuracy=level) for level in levels}
    if refine is not None:
        names = "+".join(dict.fromkeys(models))
        runs[f"{names}, {refine}"] = msgspec.structs.replace(
            plain, model=tuple(planned), refine=refine
        )
    return runs


def _jobs(
    planned: Sequence[ModelSettings],
    inference: InferenceSettings,
    runs: Mapping[str, Settings],
    truth: Truth,
    options: DecodeOptions,
) -> list[Job]:
    """What to score: each model by itself, then each whole run by its name."""
    from edgecam.tools.evaluate.accuracy import evaluate
    from edgecam.tools.evaluate.whole_run import evaluate_run

    return [
        *(partial(evaluate, variant, inference, truth, options) for variant in planned),
        *(partial(evaluate_run, name, settings, truth, options) for name, settings in runs.items()),
    ]


def _with_progress(jobs: Sequence[Job], pictures: int) -> list[Row]:
    from edgecam.core.progress import Progress

    rows = []
    with Progress(*Progress.get_default_columns(), transient=True) as progress:
        for number, job in enumerate(jobs, 1):
            task = progress.add_task("loading", total=pictures)

            def tick(name: str, done: int, number: int = number, task: TaskID = task) -> None:
                about = f"{name} ({number} of {len(jobs)})"
                progress.update(task, description=about, completed=done)

            rows.append(job(tick))
            progress.remove_task(task)
    return rows


def score(models: Sequence[str], annotations: Path, images: Path) -> None:
    """Score models on annotated pictures as the command does, and print them side by side.

    Raises:
        EdgecamError: a model does not load, or the annotations do not fit.
    """
    from edgecam.settings.schema import InferenceSettings, ModelSettings
    from edgecam.tools.evaluate import accuracy as bench
    from edgecam.tools.evaluate import coco

    truth = coco.load(annotations, images)
    planned = [ModelSettings(path=model) for model in models]
    jobs = _jobs(planned, InferenceSettings(), {}, truth, bench.OPTIONS)
    _show(_with_progress(jobs, len(truth.pictures)))


def _show(rows: Sequence[Row]) -> None:
    from edgecam.core.console import Console

    console = Console()
    for metric in dict.fromkeys(row.metric for row in rows):
        console.print(_table(metric, [row for row in rows if row.metric == metric]))
    console.print(
        f"{rows[0].pictures} pictures; AP and AR of 100, over OKS or IoU 0.50 to 0.95; "
        "ms: median of filling, invoking and reading",
    )


def _table(metric: str, rows: Sequence[Row]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Column, Table

    names = ["model", "input", "fit", *(("rules",) if metric == "keypoints" else ("classes",))]
    columns = [Column(name, overflow="fold") for name in names]
    columns += [Column(name, justify="right") for name in ("AP", "AP50", "AR", "ms", "MB")]
    table = Table(*columns, title=metric, title_justify="left", box=SIMPLE, padding=0)
    for row in rows:
        table.add_row(
            row.model,
            row.input,
            row.fit,
            str(row.categories) if metric == "boxes" else row.decoder or "-",
            *(f"{100 * value:.1f}" for value in (row.ap, row.ap50, row.ar)),
            f"{row.invoke_ms:.1f}",
            f"{row.size_bytes / 1e6:.2f}",
        )
    return table
