"""Tuning by AP: what is tried, the choice at a rate, real measurements, and the written lines."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from programs import edgecam, error_line

from edgecam.cli.commands.tune_accuracy import put
from edgecam.settings.load import load
from edgecam.settings.schema import ModelSettings, Settings, SourceSettings
from edgecam.tools.evaluate.marked import shipped
from edgecam.tools.evaluate.tune_accuracy import (
    TURNED_S,
    Reached,
    Way,
    choice,
    front,
    tune_accuracy,
    ways,
)

POSENET = ModelSettings(path="posenet")
BOTH = (POSENET, ModelSettings(path="nanodet", publish=False))


def reached(rate_hz: float, ap: float, way: Way | None = None) -> Reached:
    return Reached(way or Way((POSENET,)), "353x481", rate_hz, ap)


def test_at_a_rate_the_highest_ap_is_chosen_and_none_where_none_makes_it() -> None:
    points = [reached(*at) for at in ((10, 0.4), (20, 0.3), (15, 0.2), (30, 0.1), (5, 0.45))]
    best = front(points)
    assert [(p.rate_hz, p.ap) for p in best] == [(30, 0.1), (20, 0.3), (10, 0.4), (5, 0.45)]
    for fps, rate in ((10, 10), (10.5, 20), (1, 5), (30, 30)):
        found = choice(best, fps, 0.9)
        assert found is not None
        assert found.rate_hz == rate
    assert choice(best, 31, 0.9) is None
    for keep, rate in ((1.0, 5), (0.85, 10), (0.0, 30)):
        found = choice(best, None, keep)
        assert found is not None
        assert found.rate_hz == rate


def test_models_sizes_refining_and_turned_looks_are_tried() -> None:
    plain, lying = list(ways(False)), list(ways(True))
    assert {way.refine for way in plain} == {None, "lightning", "thunder"}
    assert {way.models[0].input_size for way in plain} >= {None, "257x257", "481x641"}
    assert {way.turned_look_s for way in plain} == {None}
    assert {way.turned_look_s for way in lying} == {0.0, TURNED_S}
    assert len(set(lying)) == len(lying)


CONFIGURATION = """\
# The camera in the hall.
name = "hall"
refine = "lightning"

[[model]]
path = "posenet-fp16"  # was the best we had
labels = "people.txt"

[mqtt]
url = "mqtt://broker"  # in the cellar
"""


@pytest.mark.parametrize(
    ("way", "models", "refine"),
    [
        (Way((POSENET,)), [{"path": "posenet"}], None),
        (
            Way((ModelSettings(path="posenet-fp16", input_size="257x257"),), "thunder"),
            [{"path": "posenet-fp16", "input_size": "257x257", "labels": "people.txt"}],
            "thunder",
        ),
        (
            Way(BOTH, "thunder", 1.0),
            [{"path": "posenet"}, {"path": "nanodet", "publish": False}],
            "thunder",
        ),
    ],
)
def test_the_chosen_lines_are_written_and_the_others_stay(
    way: Way, models: list[dict[str, Any]], refine: str | None, tmp_path: Path
) -> None:
    document = tomlkit.parse(CONFIGURATION)
    put(document, reached(10, 0.3, way))
    text = tomlkit.dumps(document)
    written = tomllib.loads(text)
    assert written["model"] == models
    assert written.get("refine") == refine
    assert written.get("turned_look_s") == way.turned_look_s
    assert written["mqtt"]["url"] == "mqtt://broker"
    assert "# The camera in the hall." in text
    assert "# in the cellar" in text
    path = tmp_path / "hall.toml"
    path.write_text(text)
    assert load(path, {}, {}).refine == refine


def test_a_new_file_of_the_lines_is_a_configuration() -> None:
    document = tomlkit.document()
    put(document, reached(10, 0.3, Way(BOTH, "thunder", 1.0)))
    written = tomllib.loads(tomlkit.dumps(document))
    assert written["refine"] == "thunder"
    assert len(written["model"]) == 2


def test_measures_what_runs_now_and_what_is_tried() -> None:
    clip = str(shipped().parent.parent / "clips" / "people-walking.mp4")
    small = Way((ModelSettings(path="posenet", input_size="257x257"),))
    settings = Settings(
        source=SourceSettings(url=clip), model=small.models, turned_look_s=0.0, name="test"
    )
    seen: list[str] = []
    found = tune_accuracy(
        settings,
        fps=0.001,
        keep=0.9,
        lying=False,
        budget_s=600.0,
        progress=lambda name, _: seen.append(name),
        tried=[],
    )
    assert seen == ["posenet"]
    (point,) = found.points
    assert point == found.chosen
    assert point.input == "257x257"
    # Most of the people are small.
    assert 0.002 < point.ap < 0.3
    assert found.pictures == 13
    assert found.people == 60


@pytest.mark.long
def test_the_command_prints_a_front_and_chooses_at_a_rate() -> None:
    done = edgecam("tune", "--fps", "0.1", "--budget-s", "3000", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["chosen"] in found["front"]
    assert found["chosen"]["ap"] == max(point["ap"] for point in found["points"])
    ap = {(p["way"]["refine"], len(p["way"]["models"])): p["ap"] for p in found["points"]}
    assert ap["thunder", 1] > ap[None, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("posenet", "--fps", "10"), "without MODEL"),
        (("--size", "257x257", "--lying"), "without MODEL"),
        (("--source", "http://127.0.0.1:9/"), "refuses connections"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    assert words in error_line(edgecam("tune", *arguments))


@pytest.mark.parametrize("rate", ["0", "fast", "nan"])
def test_a_rate_that_is_none_is_a_wrong_use(rate: str) -> None:
    done = edgecam("tune", "--fps", rate)
    assert done.returncode == 2
    assert "--fps" in done.stderr
