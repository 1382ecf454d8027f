"""``edgecam tune`` without a model: what finds people best at a rate, and its lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecam.core.errors import EdgecamError
from edgecam.core.printable import say, say_json

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

    from edgecam.settings.schema import ModelSettings, Settings
    from edgecam.tools.evaluate.tune_accuracy import Accuracies, Reached


@dataclass(frozen=True)
class Wanted:
    """What is to be chosen: see ``edgecam.tools.evaluate.tune_accuracy.tune_accuracy``."""

    fps: float | None
    keep: float
    lying: bool
    budget_s: float


def tune_ways(
    settings: Settings,
    wanted: Wanted,
    write: Path | None,
    document: TOMLDocument | None,
    as_json: bool,
) -> None:
    """Measure, print, and write the chosen lines, or print them too.

    Raises:
        EdgecamError: nothing is chosen, or a model does not load or run.
    """
    import msgspec
    import tomlkit
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

    from edgecam.core.progress import Progress
    from edgecam.tools.evaluate.tune_accuracy import tune_accuracy

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        found = tune_accuracy(
            settings,
            fps=wanted.fps,
            keep=wanted.keep,
            lying=wanted.lying,
            budget_s=wanted.budget_s,
            progress=lambda name, share: bar.update(task, description=name, completed=share),
        )
    if as_json:
        say_json(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        _show(found, wanted.fps, wanted.keep)
    document = tomlkit.document() if document is None else document
    put(document, _enough(found, wanted.fps, wanted.budget_s))
    if write is not None:
        write_document(write, document)
    elif not as_json:
        for line in ("", *tomlkit.dumps(document).splitlines()):
            say(line)


def _enough(found: Accuracies, fps: float | None, budget_s: float) -> Reached:
    """The chosen one.

    Raises:
        EdgecamError: too little was measured to choose from, or none is as fast as asked.
    """
    measured = len(found.points)
    if found.skipped >= measured:
        raise EdgecamError(
            f"tune: expected time for most ways, found it for {measured} of "
            f"{measured + found.skipped} in {budget_s:g} s, so nothing is chosen; give a larger "
            "--budget-s"
        )
    if found.chosen is None:
        fastest = found.points[0]
        raise EdgecamError(
            f"tune: expected one that makes {fps:g} frames a second, found {fastest.rate_hz:g} at "
            f"most, with {fastest.way.name} {fastest.input}; ask for fewer with --fps"
        )
    return found.chosen


def _show(found: Accuracies, fps: float | None, keep: float) -> None:
    from rich.table import Table

    from edgecam.core.console import Console

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("models, refine", "input", "turned looks"):
        table.add_column(name)
    for name in ("frames/s", "AP"):
        table.add_column(name, justify="right")
    table.add_column("")
    for point in found.points:
        each_s = point.way.turned_look_s
        words = "front, chosen" if point == found.chosen else "front"
        table.add_row(
            point.way.name,
            point.input,
            "as by default" if each_s is None else f"every {each_s:g} s" if each_s else "none",
            *(f"{point.rate_hz:.1f}", f"{100 * point.ap:.1f}"),
            words if point in found.front else "",
        )
    console = Console()
    console.print(table)
    rule = f"the fastest with {keep:.0%} of the best AP"
    if fps is not None:
        rule = f"the highest AP at {fps:g} frames a second or more"
    console.print(
        f"frames/s: with everybody refined in every frame; AP: of 100, {found.people} people "
        f"marked by eye in {found.pictures} pictures; chosen: {rule}",
        soft_wrap=True,
    )


def put(document: TOMLDocument, chosen: Reached) -> None:
    """Set the chosen lines; everything else stays, comments too."""
    import tomlkit

    way = chosen.way
    before: Any = document.get("model", [])
    if len(before) != len(way.models):
        fresh = tomlkit.aot()
        for _ in way.models:
            fresh.append(tomlkit.table())
        document.pop("model", None)
        document.add("model", fresh)
    tables: Any = document["model"]
    for table, model in zip(tables, way.models, strict=True):
        _put_model(table, model)
    document.pop("accuracy", None)
    for key, value in (("refine", way.refine), ("turned_look_s", way.turned_look_s)):
        if value is not None:
            document[key] = value
        elif key == "refine":
            document.pop(key, None)


def _put_model(table: Any, model: ModelSettings) -> None:
    # Labels and the like are of the model that stood there.
    if table.get("path", model.path) != model.path:
        table.pop("labels", None)
    table["path"] = model.path
    wanted = {"input_size": model.input_size, "publish": None if model.publish else False}
    for key, value in wanted.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value


def write_document(path: Path, document: TOMLDocument) -> None:
    """Write a configuration and say where.

    Raises:
        SettingsError: what came out is no configuration.
    """
    import tomlkit

    from edgecam.core import atomic_file as whole_file
    from edgecam.settings.load import parse_toml

    data = tomlkit.dumps(document).encode()
    parse_toml(data, str(path))
    whole_file.write(path, data)
    say(f"edgecam: {path}: written", err=True)
