"""Annotations that are not COCO's end training in one line, before it has begun."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgecam.cli.main import cli
from edgecam.tools.evaluate.coco import EvaluateError
from edgecam.tools.train import coco
from edgecam.tools.train.coco import TrainError
from edgecam.tools.train.export import beside

pytest.importorskip("pycocotools", reason="the extra [eval] is not installed")

Change = Callable[[dict[str, Any]], object]
PERSON = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 20, 30], "iscrowd": 0}


def written(folder: Path, change: Change) -> Path:
    cv2.imwrite(str(folder / "one.png"), np.full((64, 64, 3), 90, np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "one.png", "width": 64, "height": 64}],
        "annotations": [dict(PERSON)],
        "categories": [{"id": 1, "name": "person"}],
    }
    change(content)
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def annotation(**values: object) -> Change:
    return lambda content: content["annotations"][0].update(values)


def test_what_is_right_is_read(tmp_path: Path) -> None:
    found = coco.load(written(tmp_path, annotation()), tmp_path, (64, 64), "stretch")
    assert found.labels == ("person",)
    assert len(found.examples) == 1


@pytest.mark.parametrize(
    "change",
    [
        annotation(bbox=[]),
        annotation(bbox=None),
        annotation(bbox=[1, 2, 3]),
        annotation(bbox=[1, 2, -3, 4]),
        annotation(bbox=[1, float("nan"), 3, 4]),
        annotation(bbox=["a", 2, 3, 4]),
        annotation(category_id=7),
        lambda content: content["annotations"][0].pop("category_id"),
        annotation(num_keypoints=2),
        annotation(num_keypoints=2, keypoints=[1, 2, 2] * 2),
        annotation(num_keypoints=2, keypoints=[1, 2, 2] * 34),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: Change) -> None:
    path = written(tmp_path, change)
    with pytest.raises((TrainError, EvaluateError)) as found:
        coco.load(path, tmp_path, (64, 64), "stretch")
    assert "annotations.json" in str(found.value)
    assert "\n" not in str(found.value)


def test_names_with_dots_stay_apart(tmp_path: Path) -> None:
    assert beside(tmp_path / "slim_0.25", ".pb") == tmp_path / "slim_0.25.pb"
    assert beside(tmp_path / "slim_0.5", "_raw.tflite") == tmp_path / "slim_0.5_raw.tflite"


@pytest.mark.parametrize("command", ["teach pictures", "train classifier pictures"])
def test_a_model_is_called_tflite(command: str) -> None:
    done = CliRunner().invoke(cli, [*command.split(), "-o", "gestures.keras"])
    assert done.exit_code == 2
    assert "ends in .tflite, found gestures.keras" in done.output
