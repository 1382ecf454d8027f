"""The way back to TensorFlow.js: what is written reads as the network that it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tfjs_graphs import every_op

from edgecam.cli.main import cli
from edgecam.core.errors import EdgecamError
from edgecam.inference import catalog as bundled
from edgecam.inference.runtime import find
from edgecam.tools.convert import tfjs_folder
from edgecam.tools.convert.conversion import Options, convert
from edgecam.tools.convert.tfjs_folder import SHARD_BYTES

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")

RNG = np.random.default_rng(11)
CORAL = Path(__file__).parents[3] / "shared" / "models"

WEIGHTS = ("float32", "float16", "uint16", "uint8")


def random(*shape: int) -> Any:
    return RNG.normal(0, 0.3, shape).astype(np.float32)


def run(data: bytes, image: Any) -> list[Any]:
    interpreter = find().interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


@pytest.mark.parametrize(
    ("weights", "most"), [("float32", 1e-5), ("float16", 2e-3), ("uint16", 1e-3), ("uint8", 0.1)]
)
def test_every_op_survives_the_way_there_and_back(
    tmp_path: Path, weights: str, most: float
) -> None:
    data = convert(every_op().write(tmp_path / "a"), Options()).data
    tfjs_folder.write(data, "all", weights, tmp_path / "b")
    again = convert(tmp_path / "b" / "model.json", Options()).data
    image = random(1, 17, 17, 3)
    for found, expected in zip(run(again, image), run(data, image), strict=True):
        assert np.abs(expected).max() > 0.2
        np.testing.assert_allclose(found, expected, atol=most)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_bundled_posenet_in_shards(tmp_path: Path, weights: str) -> None:
    """It is a float16 file: its weights are widened first."""
    folder = tmp_path / "web"
    source = bundled.resolve("posenet_mobilenet_v1_075_fp16")
    command = ["convert", str(source), "--to", "tfjs", "--weights", weights, "-o", str(folder)]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    document = json.loads((folder / "model.json").read_text())
    (group,) = document["weightsManifest"]
    sizes = [(folder / name).stat().st_size for name in group["paths"]]
    assert sorted([*group["paths"], "model.json"]) == sorted(p.name for p in folder.iterdir())
    assert all(size == SHARD_BYTES for size in sizes[:-1])
    kernels = [entry for entry in group["weights"] if "quantization" in entry]
    assert len(kernels) == (0 if weights == "float32" else 31)
    assert [p.name for p in tmp_path.iterdir()] == ["web"]


def refused(output: Path, source: Path, *arguments: str) -> str:
    command = ["convert", str(source), "--to", "tfjs", "-o", str(output), *arguments]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "mine.txt").write_text("mine")
    source = bundled.resolve("posenet_mobilenet_v1_075_fp16")
    assert "exists; choose a new or empty folder" in refused(tmp_path / "web", source)
    assert [path.name for path in tmp_path.rglob("*")] == ["web", "mine.txt"]


def test_what_has_no_form_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(bundled.resolve("posenet_mobilenet_v1_075_fp16").read_bytes()[:100_000])
    assert "damaged" in refused(tmp_path / "web", damaged)
    source = bundled.resolve("posenet_mobilenet_v1_075_fp16")
    assert "do not apply" in refused(tmp_path / "web", source, "--size", "257x257")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.tflite"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("posenet_mobilenet_v1_075_353_481_quant.tflite", "computes in UINT8"),
        ("ssd_mobilenet_v1_coco_quant_postprocess.tflite", "computes in UINT8"),
    ],
)
def test_models_that_compute_in_integers_are_refused(
    tmp_path: Path, name: str, expected: str
) -> None:
    if not (CORAL / name).is_file():
        pytest.skip(f"{name} is not at hand")
    assert expected in refused(tmp_path / "web", CORAL / name)
    assert list(tmp_path.iterdir()) == []


def test_options_that_do_not_go_together_are_wrong_usage(tmp_path: Path) -> None:
    source = str(bundled.resolve("posenet_mobilenet_v1_075_fp16"))
    for arguments in (
        ("--weights", "uint8"),
        ("--to", "tfjs", "--quantize", "fp16"),
        ("--calibrate", "clip.mp4"),
        ("--quantize", "fp16", "--calibrate", "clip.mp4"),
    ):
        command = ["convert", source, "-o", str(tmp_path / "x"), *arguments]
        assert CliRunner().invoke(cli, command).exit_code == 2


def test_no_damage_to_a_file_gives_more_than_one_line(tmp_path: Path) -> None:
    data = convert(every_op().write(tmp_path / "a"), Options()).data
    draw = np.random.default_rng(6)
    refusals = []
    for number in range(400):
        damaged = np.frombuffer(data, np.uint8).copy()
        places = draw.integers(0, len(data), 3)
        damaged[places] = draw.choice([0, 255, 1, 127], 3)
        folder = tmp_path / str(number)
        try:
            tfjs_folder.write(damaged.tobytes(), "damaged", "uint8", folder)
        except EdgecamError as error:
            refusals.append(str(error))
            folder.mkdir()  # fails if something was left
    assert len(refusals) > 50
    assert not [message for message in refusals if "\n" in message]
