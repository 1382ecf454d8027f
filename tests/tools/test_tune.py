"""Tuning: the Pareto front, the choice, real measurements, and the lines in a configuration."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from programs import edgecam, error_line

from edgecam.settings.load import load
from edgecam.tools.evaluate.tune import Point, Tuning, Variant, choice, front

QUICK = ("tune", "posenet", "--size", "257x257", "--size", "353x481", "--budget-s", "600")
CONFIGURATION = """\
# The camera in the hall.
name = "hall"

[[model]]
path = "posenet-fp16"  # was the best we had
labels = "people.txt"

[mqtt]
url = "mqtt://broker"  # in the cellar
"""


def point(rate_hz: float, oks: float) -> Point:
    return Point(Variant("posenet", "257x257", "cpu", 1, False), rate_hz, oks)


def test_nothing_on_the_front_is_beaten_in_both() -> None:
    points = [
        point(*at) for at in ((10, 0.9), (20, 0.8), (15, 0.7), (20, 0.6), (30, 0.5), (5, 0.9))
    ]
    found = front(points)
    assert [(p.rate_hz, p.oks) for p in found] == [(30, 0.5), (20, 0.8), (10, 0.9)]
    assert choice(found, 0.0).rate_hz == 30
    assert choice(found, 0.85).rate_hz == 20
    assert choice(found, 1.0).rate_hz == 10


def test_measures_chooses_and_writes_into_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "hall.toml"
    path.write_text(CONFIGURATION)
    path.chmod(0o600)
    done = edgecam(*QUICK, "--write", path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    variants = [p["variant"] for p in found["points"]]
    assert {v["input_size"] for v in variants} == {"257x257", "353x481"}
    assert "posenet-fp16" in {v["model"] for v in variants}, "what runs now is not measured"
    assert {(v["input_size"], v["crop"]) for v in variants} >= {("353x481", True)}
    rates = [p["rate_hz"] for p in found["points"]]
    assert rates == sorted(rates, reverse=True)
    by_size = {v["input_size"]: p["oks"] for v, p in zip(variants, found["points"], strict=True)}
    assert 0.1 < by_size["257x257"] < by_size["353x481"] < 1
    assert found["people"] > 50
    assert found["chosen"] in found["front"]
    written = path.read_text()
    for kept in ("# The camera in the hall.", "# was the best we had", "# in the cellar"):
        assert kept in written
    assert path.stat().st_mode & 0o777 == 0o600
    settings = load(path, {}, {})
    chosen = found["chosen"]["variant"]
    (model,) = settings.model
    assert (model.path, model.input_size, model.labels) == (
        *(chosen["model"], chosen["input_size"]),
        "people.txt",
    )
    assert settings.inference.threads == chosen["threads"]
    assert settings.crop.enabled == chosen["crop"]
    assert settings.name == "hall"


def tuning(measured: int, skipped: int) -> Tuning:
    points = tuple(point(10 + n, 0.5) for n in range(measured))
    return Tuning(points, points[:1], points[0], (), "posenet-fp16", 60, skipped)


@pytest.mark.parametrize(
    ("measured", "skipped", "is_enough"),
    [(1, 23, False), (1, 0, False), (12, 12, False), (13, 11, True), (24, 0, True)],
)
def test_one_variant_or_few_of_many_are_no_choice(
    measured: int, skipped: int, is_enough: bool
) -> None:
    assert tuning(measured, skipped).is_enough is is_enough


def test_too_little_time_chooses_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hall.toml"
    path.write_text(CONFIGURATION)
    sizes = ("--size", "257x257", "--size", "257x353")
    done = edgecam("tune", "posenet", *sizes, "--budget-s", "1", "--write", path)
    assert "so nothing is chosen; give a larger --budget-s" in error_line(done)
    # What runs now was measured all the same, at its own size.
    assert re.search(r"^posenet-fp16 +257x257 ", done.stdout, re.MULTILINE), done.stdout
    assert "chosen" not in done.stdout.partition("OKS:")[0]
    assert path.read_text() == CONFIGURATION


def test_prints_a_table_and_lines_that_are_a_configuration(tmp_path: Path) -> None:
    done = edgecam("tune", "posenet", "--size", "257x257", "--budget-s", "600", "--keep", "0")
    assert done.returncode == 0, done.stderr
    table, _, lines = done.stdout.partition("\n\n")
    assert "front, chosen" in table
    assert "left out: edgetpu: " in table
    made = tmp_path / "made.toml"
    made.write_text(lines)
    (model,) = tomllib.loads(lines)["model"]
    assert model["path"] == "posenet"
    assert load(made, {}, {}).model[0].path == "posenet"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ssdlite",), "expected a PoseNet"),
        (("posenet", "--size", "256x256"), "nearest is 257x257"),
        (("posenet", "--size", "big"), "--size: "),
        (("posenet", "--write", "no-folder/x.toml"), "there is no folder"),
        (("posenet", "--source", "http://127.0.0.1:9/"), "refuses connections"),
        (("missing.tflite",), "missing.tflite"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    assert words in error_line(edgecam("tune", *arguments))


def test_a_configuration_of_several_models_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    text = '[[model]]\npath = "posenet"\n[[model]]\npath = "ssdlite"\n'
    path.write_text(text)
    assert "expected at most one model" in error_line(edgecam(*QUICK, "--write", path))
    assert path.read_text() == text


def test_a_recording_without_people_tunes_nothing(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    for number in range(20):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), np.zeros((289, 289, 3), np.uint8))
    line = error_line(edgecam("tune", "posenet", "--source", str(tmp_path)))
    assert "sees no person" in line
