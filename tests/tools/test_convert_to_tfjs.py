"""The way back to TensorFlow.js: what is written reads as the network that it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflowjs
from browsers import browser
from click.testing import CliRunner
from tfjs_graphs import every_op
from tiny_models import colour_classifier, write

from edgecam.cli.main import cli
from edgecam.core.errors import EdgecamError
from edgecam.inference import catalog as bundled
from edgecam.inference.runtime import find
from edgecam.inference.tflite.file import read
from edgecam.tools.convert import tfjs_folder
from edgecam.tools.convert.conversion import Options, convert
from edgecam.tools.convert.tfjs_folder import SHARD_BYTES

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")

PAGE_VERSION = "4.22.0"
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


def test_a_network_in_integers_becomes_the_float_one_that_its_numbers_stand_for(
    tmp_path: Path,
) -> None:
    name = "posenet_mobilenet_v1_075_353_481_quant.tflite"
    if not (CORAL / name).is_file():
        pytest.skip(f"{name} is not at hand")
    whole = (CORAL / name).read_bytes()
    tfjs_folder.write(whole, name, "float32", tmp_path / "web")
    document = json.loads((tmp_path / "web" / "model.json").read_text())
    said = document["userDefinedMetadata"]
    assert (said["mean"], said["std"]) == ([128.0] * 3, [128.0] * 3)
    again = convert(tmp_path / "web" / "model.json", Options(size=(353, 481))).data
    pixels = cv2.resize(cv2.imread(str(CORAL.parent / "media/images/couple.jpg")), (481, 353))
    found = {
        tuple(out.shape): out for out in run(again, (pixels[None].astype(np.float32) - 128) / 128)
    }
    file = read(whole)
    for info, values in zip(file.outputs, run(whole, pixels[None]), strict=True):
        expected = (values.astype(np.float32) - info.zero_point) * info.scale
        shown = np.clip(found[tuple(values.shape)], expected.min(), expected.max())
        share = np.sqrt(np.square(shown - expected).mean() / np.square(expected).mean())
        assert share < 0.25


def test_what_an_ssd_ends_in_has_no_form(tmp_path: Path) -> None:
    name = "ssd_mobilenet_v1_coco_quant_postprocess.tflite"
    if not (CORAL / name).is_file():
        pytest.skip(f"{name} is not at hand")
    assert "TFLite_Detection_PostProcess" in refused(tmp_path / "web", CORAL / name)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_says_labels_and_normalisation(tmp_path: Path) -> None:
    model = write(tmp_path / "colours.tflite", colour_classifier(labels=("red", "green", "blue")))
    tfjs_folder.write(model.read_bytes(), str(model), "float32", tmp_path / "web")
    said = json.loads((tmp_path / "web" / "model.json").read_text())["userDefinedMetadata"]
    assert said["labels"] == ["red", "green", "blue"]
    assert (said["mean"], said["std"], said["fit"]) == ([0.0] * 3, [255.0] * 3, "crop")
    assert said["input"] == {"height": 8, "width": 8, "channels": 3}


def _red_camera(path: Path) -> Path:
    """A clip of ten red pictures, as Chromium's camera of a file takes it."""
    planes = bytes([81]) * (320 * 240) + bytes([90]) * (160 * 120) + bytes([240]) * (160 * 120)
    path.write_bytes(b"YUV4MPEG2 W320 H240 F30:1 Ip C420\n" + (b"FRAME\n" + planes) * 10)
    return path


def test_a_browser_opens_the_page_and_names_what_its_camera_sees(tmp_path: Path) -> None:
    library = tensorflowjs.package(f"@tensorflow/tfjs@{PAGE_VERSION}", tmp_path / "npm")
    model = write(tmp_path / "colours.tflite", colour_classifier(labels=("red", "green", "blue")))
    command = ["convert", str(model), "--to", "tfjs", "-o", str(tmp_path / "web"), "--page"]
    command += ["--page-library", str(library / "dist" / "tf.min.js")]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    camera = _red_camera(tmp_path / "red.y4m")
    flags = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    )
    with browser(tmp_path, 900, 600, False, *flags) as driver:
        driver.get((tmp_path / "web" / "index.html").as_uri())
        from selenium.webdriver.support.ui import WebDriverWait

        def text(css: str) -> str:
            return str(
                driver.execute_script(f"return document.querySelector('{css}')?.textContent")
            )

        WebDriverWait(driver, 120).until(
            lambda _: "frames a second" in text("#rate") or text("#said"), text("#said")
        )
        assert text("#said") == ""
        assert text("#labels li b") == "red"


def test_the_page_goes_with_a_folder_for_the_browser(tmp_path: Path) -> None:
    source = str(bundled.resolve("posenet_mobilenet_v1_075_fp16"))
    result = CliRunner().invoke(
        cli, ["convert", source, "--page", "-o", str(tmp_path / "x.tflite")]
    )
    assert result.exit_code == 2
    assert "--page and --page-library go with --to tfjs" in result.stderr


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
