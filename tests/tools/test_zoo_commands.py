"""``edgecam train`` to the end: what it prints is measured, what it writes is used."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import shapes
from click.testing import CliRunner, Result
from programs import ROOT

from edgecam.cli.main import cli
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.convert import graphdef

if not all(map(importlib.util.find_spec, ("tensorflow", "pycocotools", "litert_quantizer"))):
    pytest.skip("needs the extras [tensorflow], [eval] and [quantize]", allow_module_level=True)

pytestmark = pytest.mark.long


def train(*arguments: object) -> Result:
    done = CliRunner().invoke(cli, ["train", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def benchmark_of_heads() -> str:
    command = [sys.executable, "-c", "import benchmark_heads; benchmark_heads.heads()"]
    where = os.pathsep.join((str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")))
    variables = {**os.environ, "PYTHONPATH": where}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return done.stdout


def command_sizes() -> str:
    return train("sizes").stdout


@pytest.mark.parametrize("source", [command_sizes, benchmark_of_heads])
def test_sizes_are_those_of_the_three_heads(source: Callable[[], str]) -> None:
    """Flatten + dense(100), pooling + dense(100), pooling alone, in megabytes."""
    rows = {}
    for line in source().splitlines():
        cells = re.split(r" {2,}", line.strip())
        if len(cells) >= 3 and re.fullmatch(r"\d+\.\d\d", cells[2]):
            rows[cells[0], cells[1]] = [float(text) for text in cells[2:]]
    assert len(rows) == 12
    flat, hidden, alone = "flatten, dense(100)", "pooling, dense(100)", "pooling alone"
    expected = {flat: 5.9, hidden: 0.95, alone: 0.85}
    for head, megabytes in expected.items():
        assert rows[head, "float32"][0] == pytest.approx(megabytes, rel=0.03)
        assert rows[head, "float16"][0] == pytest.approx(megabytes / 2, rel=0.08)
        assert rows[head, "TensorFlow.js, uint8"][0] < 0.36 * megabytes
        assert len(rows[head, "TensorFlow.js, uint8"]) == 1
        assert all(rows[head, form][1] > 0.0 for form in ("float32", "float16", "int8"))
    assert rows[hidden, "int8"][0] == pytest.approx(0.32, rel=0.05)
    assert rows[alone, "int8"][0] == pytest.approx(0.29, rel=0.05)


def test_average_precision_rises_and_models_are_compared(tmp_path: Path) -> None:
    """A slim SSDLite on pictures that it learns by heart, beside a wider SSD of a few steps."""
    annotations = shapes.write(tmp_path, 24, seed=1)
    images = ("--images", tmp_path / "images", "--annotations", annotations, "--size", "96x96")
    few = ("--steps", 4, "--batch", 2, "-o", tmp_path / "wide.tflite")
    train("ssd", "--heads", "ssd", "--alpha", 1.0, *images, *few)
    tested = ("--test-images", tmp_path / "images", "--test-annotations", annotations)
    course = ("--steps", 400, "--batch", 8, "--rate", 0.003, "-o", tmp_path / "slim.tflite")
    compared = ("--compare", tmp_path / "wide.tflite")
    done = train("ssd", "--alpha", 0.25, *images, *course, *tested, *compared)
    on_the_way = [float(text) for text in re.findall(r"step \d+: AP ([0-9.]+)", done.stderr)]
    table = {}
    for line in done.stdout.splitlines():
        found = re.match(r" *(slim|slim_raw|wide) .* ([0-9.]+)((?: +[0-9.]+){4}) *$", line)
        if found is not None:
            ap50_ar_ms_mb = [float(text) for text in found[3].split()]
            table[found[1]] = (float(found[2]), *ap50_ar_ms_mb)
    assert set(table) == {"slim", "slim_raw", "wide"}, done.stdout
    ap, _, _, ms, megabytes = table["slim"]
    assert len(on_the_way) == 4
    assert ap > on_the_way[0] + 5.0
    assert max(on_the_way[2:]) > on_the_way[0] + 2.0
    assert table["slim_raw"][0] == pytest.approx(ap, abs=1.5)
    assert table["wide"][0] < ap
    for row in table.values():
        assert row[3] > 0.0
    assert megabytes == pytest.approx((tmp_path / "slim.tflite").stat().st_size / 1e6, abs=0.01)
    assert table["wide"][4] > 6 * megabytes
    assert table["wide"][3] > 1.5 * ms


def test_plain_heads_are_larger_and_run_too(tmp_path: Path) -> None:
    annotations = shapes.write(tmp_path, 12, seed=2)
    images = ("--images", tmp_path / "images", "--annotations", annotations, "--size", "96x96")
    sizes = {}
    for heads in ("ssd", "ssdlite"):
        path = tmp_path / f"{heads}.tflite"
        train("ssd", "--heads", heads, *images, "--alpha", 0.25, "--steps", 2, "-o", path)
        sizes[heads] = path.stat().st_size
        kinds = [node.op for node in graphdef.read(path.with_suffix(".pb")).nodes]
        # 17 of the backbone; ssdlite has one in each of 12 predictors and 4 further layers too.
        expected = 17 if heads == "ssd" else 17 + 12 + 4
        assert kinds.count("DepthwiseConv2dNative") == expected
        model = Model(ModelSettings(path=str(path)), InferenceSettings(probe=False))
        assert model.decoder.family == "ssd"
        assert model.decoder.labels == shapes.LABELS
    assert sizes["ssd"] > 1.5 * sizes["ssdlite"]
