"""The converted PoseNet scores on COCO pictures as TensorFlow.js' own run of the original does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflowjs import TensorFlowJs, published_posenet

from edgecam.core.frame import Frame
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.sources.picture import decode_image
from edgecam.tools.convert.conversion import Options, convert
from edgecam.tools.evaluate import accuracy as bench
from edgecam.tools.evaluate import coco

# TensorFlow.js takes some five seconds a picture on its plain backend.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
pytest.importorskip("pycocotools", reason="the extra [eval] is not installed")

MINI = Path(__file__).resolve().parents[3] / "shared" / "coco-mini"
OUTPUTS = ["heatmap_2", "offset_2", "displacement_fwd_2", "displacement_bwd_2"]
SIZES = [(257, 257), (353, 481)]
MAX_POINTS = 0.1


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_converted_model_scores_as_the_original(tmp_path: Path, size: tuple[int, int]) -> None:
    if not MINI.is_dir():
        pytest.skip(f"no pictures at {MINI}")
    tensorflow_js = TensorFlowJs.install(tmp_path / "tfjs")
    source = published_posenet(tmp_path / "published")
    truth = coco.load(MINI / "annotations" / "person_keypoints_train2017.json", MINI / "images")
    path = tmp_path / "posenet.tflite"
    path.write_bytes(convert(source, Options(size)).data)
    model = Model(ModelSettings(path=str(path)), InferenceSettings(probe=False))
    names = [f"MobilenetV1/{name}/BiasAdd" for name in OUTPUTS]
    results: dict[str, list[dict[str, Any]]] = {"converted": [], "original": []}
    staged = []
    for number, picture in enumerate(truth.pictures):
        frame = Frame(decode_image(picture.path.read_bytes()), number, 0.0, 0.0)
        staged.append((picture, frame, model.preprocess(frame, model.buffer())))
    images = []
    for picture, frame, buffer in staged:
        tensors = model.invoke(buffer)
        found = model.decode(tensors, buffer, frame, bench.OPTIONS)
        results["converted"] += coco.entries(picture, found, "keypoints", truth.categories)
        images.append((buffer.image[None].astype(np.float32) / 127.5) - 1.0)
    # The decoder takes heatmaps, offsets, forward and backward displacements in this order.
    for place, tensors in enumerate(tensorflow_js.run(source, images, names, tmp_path / "work")):
        picture, frame, buffer = staged[place]
        found = model.decode(tensors, buffer, frame, bench.OPTIONS)
        results["original"] += coco.entries(picture, found, "keypoints", truth.categories)
    points = {
        which: 100 * coco.score(truth, "keypoints", found, [1]).ap
        for which, found in results.items()
    }
    print(f"\nAP {points}")
    assert points["original"] > 5
    assert abs(points["converted"] - points["original"]) <= MAX_POINTS
