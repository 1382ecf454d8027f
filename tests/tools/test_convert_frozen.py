"""``edgecam convert`` of frozen graphs as a person runs it, and one line where it cannot."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ssd_graphs as small
from click.testing import CliRunner, Result
from graphdefs import const, node, placeholder
from ssd_graphs import F, T

from edgecam.cli.main import cli
from edgecam.core.tensors import MINUS_ONE_TO_ONE
from edgecam.inference import catalog as bundled
from edgecam.inference import labels
from edgecam.inference.decoders import anchors
from edgecam.inference.tflite.file import read
from edgecam.inference.tflite.metadata import metadata

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    path = tmp_path / "frozen_inference_graph.pb"
    path.write_bytes(small.detector())
    return path


def convert(source: Path, output: Path, *arguments: str) -> Result:
    command = ["convert", str(source), "-o", str(output), *arguments]
    return CliRunner().invoke(cli, command, catch_exceptions=False)


def label_file(folder: Path, *names: str) -> str:
    path = folder / "labels.txt"
    path.write_text("\n".join(names) + "\n", "utf-8")
    return str(path)


def test_an_ssd_carries_labels_and_normalisation(frozen: Path, tmp_path: Path) -> None:
    target = tmp_path / "ssd.tflite"
    result = convert(frozen, target, "--labels", label_file(tmp_path, "cat", "dog"))
    assert result.exit_code == 0, result.stderr
    assert f"SSD of 2 classes for 16x16, {small.ANCHORS} anchors" in result.stderr
    file = read(target)
    found = metadata(file)
    stated = found.inputs[0]
    assert (stated.mean, stated.std) == (MINUS_ONE_TO_ONE.mean, MINUS_ONE_TO_ONE.std)
    assert labels.resolve(None, None, None, found) == ("cat", "dog")
    assert len(file.outputs) == 4


def test_a_raw_ssd_keeps_its_anchors_also_in_float16(frozen: Path, tmp_path: Path) -> None:
    target = tmp_path / "ssd.tflite"
    names = label_file(tmp_path, "cat", "dog")
    result = convert(frozen, target, "--raw", "--quantize", "fp16", "--labels", names)
    assert result.exit_code == 0, result.stderr
    file = read(target)
    found = anchors.of(file)
    assert found is not None
    np.testing.assert_allclose(found, small.anchors(), atol=1e-6)
    assert labels.resolve(None, None, None, metadata(file)) == ("background", "cat", "dog")
    assert {info.shape for info in file.outputs} == {(1, small.ANCHORS, 4), (1, small.ANCHORS, 3)}


def test_an_ssd_goes_to_tensorflowjs_raw_unless_asked_otherwise(
    frozen: Path, tmp_path: Path
) -> None:
    result = convert(frozen, tmp_path / "web", "--to", "tfjs", "--weights", "uint16")
    assert result.exit_code == 0, result.stderr
    assert "its outputs are raw" in result.stderr
    document = json.loads((tmp_path / "web" / "model.json").read_text("utf-8"))
    shapes = [
        tuple(int(side["size"]) for side in output["tensorShape"]["dim"])
        for output in document["signature"]["outputs"].values()
    ]
    assert sorted(shapes) == [(1, small.ANCHORS, 3), (1, small.ANCHORS, 4)]
    result = convert(frozen, tmp_path / "no", "--to", "tfjs", "--postprocess")
    assert result.exit_code == 1
    assert "convert the detector with --raw" in result.stderr
    assert not (tmp_path / "no").exists()


def test_a_converted_model_has_a_card_with_its_normalisation(frozen: Path, tmp_path: Path) -> None:
    target = tmp_path / "my ssd.tflite"
    for arguments in ((), ("--quantize", "fp16")):  # the second replaces model and card
        result = convert(frozen, target, *arguments)
        assert result.exit_code == 0, result.stderr
        card = bundled.card_of(target)
        assert card is not None
        bundled.verify(card, target.read_bytes())
    assert card.fields["mean"] == list(MINUS_ONE_TO_ONE.mean)
    assert card.fields["std"] == list(MINUS_ONE_TO_ONE.std)
    assert card.fields["input"] == "16x16"
    assert card.fields["origin"] == frozen.name
    assert card.fields["origin_sha256"] == hashlib.sha256(frozen.read_bytes()).hexdigest()
    assert card.fields["command"] == (
        f"edgecam convert {frozen} --output '{target}' --quantize fp16"
    )


def test_a_file_of_the_users_own_is_not_taken_for_a_card(frozen: Path, tmp_path: Path) -> None:
    own = tmp_path / "front.toml"
    own.write_text('[[model]]\npath = "front.tflite"\n', "utf-8")
    result = convert(frozen, tmp_path / "front.tflite")
    assert result.exit_code == 0, result.stderr
    assert "front.toml is no card and stays as it is" in result.stderr
    assert own.read_text("utf-8").startswith("[[model]]")


def test_missing_labels_are_said(frozen: Path, tmp_path: Path) -> None:
    assert "--labels FILE" in convert(frozen, tmp_path / "ssd.tflite").stderr


def test_a_frozen_graph_that_is_no_detector_converts_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "net.pb"
    raw = placeholder("image", (-1, 4, 4, 3)) + node("Relu6", "out", ["image"], **T)
    source.write_bytes(raw)
    result = convert(source, tmp_path / "net.tflite")
    assert result.exit_code == 0, result.stderr
    assert [info.name for info in read(tmp_path / "net.tflite").outputs] == ["out"]


NO_DETECTOR = (
    placeholder("image", (-1, 4, 4, 3))
    + const("k", np.ones((1, 1, 3, 1), F))
    + node("Relu6", "mask", ["image"], **T)
)
UNKNOWN = node("Foo", "f", ["mask"]) + node("Bar", "b", ["f"])


@pytest.mark.parametrize(
    ("raw", "arguments", "words"),
    [
        (small.detector()[:-7], [], "damaged"),
        (b"\x00" * 99, [], "no frozen graph"),
        (NO_DETECTOR, ["--raw"], "Postprocessor/convert_scores"),
        (NO_DETECTOR, ["--raw"], "its outputs are mask"),
        (small.detector(), ["--size", "32x32"], "give --size as trained"),
        (small.detector(), ["--labels", "nowhere.txt"], "nowhere.txt"),
        (small.detector((8.0, 9.0, 4.0, 3.0)), ["--raw"], "--postprocess"),
        (
            NO_DETECTOR + UNKNOWN,
            [],
            "Bar (1), Foo (1)",
        ),
        (node("Relu", "a", ["b"]) + node("Relu", "b", ["a"]) + NO_DETECTOR, [], None),
    ],
)
def test_what_cannot_be_converted_is_one_line_and_no_file(
    raw: bytes, arguments: list[str], words: str | None, tmp_path: Path
) -> None:
    source, folder = tmp_path / "bad.pb", tmp_path / "out"
    source.write_bytes(raw)
    folder.mkdir()
    result = convert(source, folder / "x.tflite", *arguments)
    if words is None:  # a loop that nothing needs does no harm
        assert result.exit_code == 0, result.stderr
        return
    assert result.exit_code == 1
    assert result.stderr.startswith("edgecam: error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert list(folder.iterdir()) == []


def inspected(path: Path, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["inspect", str(path), "--json", *arguments])
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_inspect_lists_nodes_with_shapes_and_types_and_proposes_the_cut(frozen: Path) -> None:
    found = inspected(frozen)
    assert found["inputs"] == ["Preprocessor/sub"]
    assert found["outputs"] == ["Squeeze", "Postprocessor/convert_scores"]
    assert "Object Detection API" in found["why"]
    assert found["unknown"] == {}
    rows = {row["name"]: row for row in found["nodes"]}
    assert rows["image_tensor"]["shape"] == [1, small.SIDE, small.SIDE, 3]
    assert rows["image_tensor"]["dtype"] == "uint8"
    assert not rows["image_tensor"]["needed"]
    # Shapes are those of each node, also where a conversion merges several.
    assert rows["c1"]["shape"] == [1, 8, 8, 4]
    assert rows["n2"]["shape"] == [1, small.CELLS, small.CELLS, 4]
    assert rows["Box/shape"]["shape"] == [4]
    assert rows["Box/shape"]["dtype"] == "int32"
    assert rows["Squeeze"]["shape"] == [1, small.ANCHORS, 4]
    assert rows["Postprocessor/convert_scores"]["shape"] == [1, small.ANCHORS, 3]


def test_inspect_names_what_would_not_convert(tmp_path: Path) -> None:
    path = tmp_path / "net.pb"
    path.write_bytes(NO_DETECTOR + UNKNOWN)
    found = inspected(path)
    assert found["inputs"] == ["image"]
    assert found["outputs"] == ["b"]
    assert found["unknown"] == {"Foo": 1, "Bar": 1}
    shown = CliRunner().invoke(cli, ["inspect", str(path)], env={"COLUMNS": "120"}).stdout
    assert "1 Foo, 1 Bar" in shown
    assert "1x4x4x3" in shown


def test_inspect_refuses_damage_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.pb"
    path.write_bytes(b"\x00" * 99)
    result = CliRunner().invoke(cli, ["inspect", str(path)])
    assert result.exit_code == 1
    assert result.stderr.startswith("edgecam: error: bad.pb")
    assert result.stderr.count("\n") == 1
