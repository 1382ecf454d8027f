"""``edgecam inspect`` on real models: counts held to what is published and to the runtime."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecam.cli.commands.inspect import command
from edgecam.core.errors import ModelError
from edgecam.inference import catalog as bundled
from edgecam.inference import runtime
from edgecam.inference.delegates import delegated_nodes
from edgecam.tools import inspect_model as inspection

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
