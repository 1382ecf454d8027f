"""``edgecam inspect`` on real models: counts held to what is published and to the runtime."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgecam.cli.commands.inspect import command
from edgecam.cli.main import cli
from edgecam.core.errors import ModelError
from edgecam.core.tensors import MINUS_ONE_TO_ONE
from edgecam.inference import catalog as bundled
from edgecam.inference import runtime
from edgecam.inference.delegates import delegated_nodes
from edgecam.tools import inspect_model as inspection
from edgecam.tools.convert import writer
from edgecam.tools.convert.lite import LiteModel

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no model files at {SHARED}")
COCO = SHARED / "ssd_mobilenet_v1_coco_quant_postprocess.tflite"
MOBILENET = SHARED / "mobilenet_v1_0.25_128_quant.tflite"
DECODER = SHARED / "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
EDGETPU = SHARED / "posenet_mobilenet_v1_075_353_481_quant_decoder_edgetpu.tflite"
litert = runtime.find().name == "ai-edge-litert"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECAM_CACHE_DIR", str(tmp_path))


def delegation(found: inspection.Inspection, name: str) -> inspection.Delegation:
    return next(row for row in found.delegates if row.delegate == name)


@needs_shared
def test_macs_and_parameters_are_those_of_the_mobilenet_paper() -> None:
    found = inspection.inspect(MOBILENET)
    # The model zoo's table for MobileNet_v1_0.25_128: 14 million MACs, 0.47 million parameters.
    assert round(found.macs / 1e6) == 14
    assert round(found.parameters / 1e6, 2) == 0.47
    assert found.layers[0].op == "CONV_2D"
    assert found.layers[0].macs == 64 * 64 * 8 * 3 * 3 * 3
    assert found.layers[1].op == "DEPTHWISE_CONV_2D"
    assert found.layers[1].macs == 64 * 64 * 8 * 3 * 3
    assert found.layers[1].parameters == 8 * 3 * 3 + 8
    assert found.ops["CONV_2D"] == 15
    assert found.family == "classifier"
    assert len(found.labels) == 1001
    assert found.normalization == "raw pixels (uint8 input)"


@needs_shared
@pytest.mark.skipif(not litert, reason="what XNNPACK takes is known for LiteRT")
def test_what_xnnpack_takes_is_read_from_the_runtime() -> None:
    found = inspection.inspect(COCO)
    xnnpack = delegation(found, "xnnpack")
    assert xnnpack.total == 64
    assert xnnpack.nodes + sum(xnnpack.left.values()) == 64
    assert xnnpack.left["TFLite_Detection_PostProcess"] == 1
    assert xnnpack.partitions >= 1
    assert xnnpack.nodes >= 47
    assert delegation(found, "edgetpu").nodes == 0
    assert [row.shape for row in found.outputs] == [(1, 10, 4), (1, 10), (1, 10), (1,)]


def test_delegated_nodes_are_those_between_a_partition_s_ends() -> None:
    ops = [
        {"index": 0, "op_name": "CAST", "inputs": [0], "outputs": [1]},
        {"index": 1, "op_name": "CONV_2D", "inputs": [1, 10], "outputs": [2]},
        {"index": 2, "op_name": "ADD", "inputs": [2, 1], "outputs": [3]},
        {"index": 3, "op_name": "ARG_MAX", "inputs": [3, -1], "outputs": [4]},
        {"index": 4, "op_name": "DELEGATE", "inputs": [1, 10], "outputs": [3]},
    ]
    assert delegated_nodes(ops) == {1, 2}
    assert delegated_nodes(ops[:4]) == frozenset()


@needs_shared
def test_coral_s_decoder_op_is_cut_and_an_edge_tpu_model_is_named() -> None:
    found = inspection.inspect(DECODER)
    assert found.ops["PosenetDecoderOp"] == 1
    assert [row.shape[-1] for row in found.outputs] == [17, 34, 64]
    compiled = inspection.inspect(EDGETPU)
    assert delegation(compiled, "xnnpack").nodes is None
    assert delegation(compiled, "xnnpack").reason == "compiled for the Edge TPU"


@needs_shared
def test_the_command_prints_tables_and_json() -> None:
    labels = SHARED / "ssd_mobilenet_v1_coco_labels.txt"
    arguments = [str(COCO), "--labels", str(labels)]
    shown = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert shown.exit_code == 0
    for expected in ("ssd: TFLite_Detection_PostProcess in the graph", "90: person"):
        assert expected in shown.stdout
    printed = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    document = json.loads(printed.stdout)
    assert document["family"] == "ssd"
    assert document["sha256"] == (
        "e4b118e5e4531945de2e659742c7c590f7536f8d0ed26d135abcfe83b4779d13"
    )
    assert document["inputs"][0]["zero_point"] == [128]
    assert document["macs"] == sum(layer["macs"] for layer in document["layers"])
    assert len(document["tensors"]) == 176


@needs_shared
def test_an_unknown_family_is_said_and_no_error() -> None:
    found = inspection.inspect(SHARED / "invalid_model_invoking_error.tflite")
    assert found.family is None
    assert found.why == "the model is of no known family"
    assert "fake-op-double" in (delegation(found, "xnnpack").reason or "")


def test_a_card_that_does_not_match_is_refused(tmp_path: Path) -> None:
    if not MOBILENET.is_file():
        pytest.skip(f"no model at {MOBILENET}")
    model = tmp_path / "m.tflite"
    model.write_bytes(MOBILENET.read_bytes())
    card = model.with_suffix(".toml")
    card.write_text(f'[model]\nfile = "m.tflite"\nsha256 = "{"0" * 64}"\n')
    with pytest.raises(ModelError, match="does not match its card"):
        inspection.inspect(model)
    sha256 = "cb273c23ee76374b05b9583177e28aa19744858a7679c56a250e83d0333da785"
    card.write_text(f'[model]\nfile = "m.tflite"\nsha256 = "{sha256}"\nlicence = "Apache-2.0"\n')
    found = inspection.inspect(model)
    assert found.card is not None
    assert found.card["licence"] == "Apache-2.0"


def test_a_hash_is_shown_whole_on_a_narrow_screen() -> None:
    found = inspection.inspect(bundled.resolve("ssdlite"))
    shown = CliRunner().invoke(command, ["ssdlite"], env={"COLUMNS": "60"}).stdout
    # It breaks over lines beside the names of the rows, and loses no digit.
    words = [line[len("card description") :].strip() for line in shown.splitlines()]
    assert "".join(words).count(found.sha256) == 2
    assert "…" not in shown.split("┏")[0]


def shown(*arguments: object) -> str:
    result = CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_bundle_says_what_it_holds_and_shows_one_of_it(tmp_path: Path) -> None:
    model = bundled.resolve("documents").read_bytes()
    path = tmp_path / "pose.task"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("detector.tflite", model)
        packed.writestr("landmarks.tflite", b"x" * 70)
        packed.writestr("about.txt", "hello")
    held = json.loads(shown(path, "--json"))["members"]
    assert held == {"detector.tflite": len(model), "landmarks.tflite": 70, "about.txt": 5}
    assert f"edgecam inspect {path}:detector.tflite" in shown(path).splitlines()
    one = json.loads(shown(f"{path}:detector.tflite", "--json"))
    assert (one["family"], one["size_bytes"]) == ("documents", len(model))
    assert one["path"] == f"{path}:detector.tflite"


def _layer(kind: str, name: str, shape: list[int | None], **config: Any) -> dict[str, Any]:
    return {
        "class_name": kind,
        "name": name,
        "config": {"name": name, "trainable": True, **config},
        "build_config": {"input_shape": shape},
    }


def test_a_keras_file_has_a_table_of_its_layers(tmp_path: Path) -> None:
    """The rows are those of a published MobileNet of width 0.25 and its head, by their counts."""
    map_of = [None, 7, 7, 256]
    first = {"filters": 8, "kernel_size": [3, 3], "use_bias": False, "groups": 1}
    pointwise = {"filters": 256, "kernel_size": [1, 1], "use_bias": False, "groups": 1}
    depthwise = {"kernel_size": [3, 3], "depth_multiplier": 1, "use_bias": False}
    layers = [
        _layer("Conv2D", "conv1", [None, 225, 225, 3], **first),
        _layer("BatchNormalization", "conv1_bn", [None, 112, 112, 8], scale=True, center=True),
        _layer("DepthwiseConv2D", "conv_dw_13", map_of, **depthwise),
        _layer("Conv2D", "conv_pw_13", map_of, **pointwise),
        _layer("ReLU", "conv_pw_13_relu", map_of),
        _layer("Dense", "dense", [None, 256], units=100, use_bias=True),
        _layer("Mystery", "mine", [None, 100]),
    ]
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("config.json", json.dumps({"config": {"layers": layers}}))
    found = json.loads(shown(path, "--json"))
    counts = {row["name"]: row["parameters"] for row in found["layers"]}
    assert counts == {
        "conv1": 216,
        "conv1_bn": 32,
        "conv_dw_13": 2304,
        "conv_pw_13": 65536,
        "conv_pw_13_relu": 0,
        "dense": 25700,
        "mine": None,
    }
    assert (found["parameters"], found["fixed"]) == (93788, 16)
    assert "those of 1 layers of classes that are not known here" in shown(path)
    path.write_bytes(b"no zip")
    result = CliRunner().invoke(cli, ["inspect", str(path)])
    assert result.exit_code == 1
    assert "expected a zip with config.json" in result.stderr


def test_a_guessed_normalisation_stays_marked_without_the_card(tmp_path: Path) -> None:
    model = LiteModel()
    picture = model.tensor("picture", (1, 8, 8, 3))
    model.inputs, model.outputs = [picture], [model.add("RELU", (picture,), "out", (1, 8, 8, 3))]
    path = tmp_path / "model.tflite"
    path.write_bytes(writer.write(model, "x", MINUS_ONE_TO_ONE, guessed=True))
    found = json.loads(shown(path, "--json"))
    assert found["normalization"] == "mean 127.5, std 127.5 (guessed)"
    assert any("does not say how its input is normalised" in line for line in found["warnings"])
    path.write_bytes(writer.write(model, "x", MINUS_ONE_TO_ONE))
    found = json.loads(shown(path, "--json"))
    assert (found["normalization"], found["warnings"]) == ("mean 127.5, std 127.5 (metadata)", [])


def test_inspect_proposes_where_to_cut() -> None:
    text = " ".join(shown(bundled.resolve("posenet")).split())
    assert "--inputs image --outputs" in text
