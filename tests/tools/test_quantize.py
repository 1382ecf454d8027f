"""Quantising: what stays float, what is kept beside the weights, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgecam.cli.main import cli
from edgecam.core.errors import SourceError
from edgecam.core.result import Box, Decoded, Detection, Pose
from edgecam.core.tensors import MINUS_ONE_TO_ONE
from edgecam.inference import catalog as bundled
from edgecam.inference.model import Model
from edgecam.inference.tflite import metadata as tflite_metadata
from edgecam.inference.tflite.file import ModelFile, read
from edgecam.settings.schema import DecodeSettings, InferenceSettings, ModelSettings
from edgecam.tools.convert import agreement, calibration, recipe, shrink, writer
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.lite import LiteModel, LiteOperator
from edgecam.tools.convert.metadata import AXIS_LABELS
from edgecam.tools.convert.quantize import quantize

pytest.importorskip("litert_quantizer", reason="the extra [quantize] is not installed")

SIDE, CLASSES, LAYERS = 33, 5, 9
RELU6 = 3  # the schema's ActivationFunctionType


def tiny(seed: int = 0) -> bytes:
    """A classifier of nine small convolutions, average, dense and softmax; float32."""
    rng = np.random.default_rng(seed)
    model = LiteModel()
    here = model.tensor("picture", (1, SIDE, SIDE, 3))
    model.inputs.append(here)
    channels, side = 3, SIDE
    for layer in range(LAYERS):
        stride = 2 if layer in (0, 4) else 1
        side = -(-side // stride)
        spread = 1.5 / np.sqrt(9 * channels)
        weights = model.constant(
            f"layer{layer}/weights", rng.normal(0, spread, (16, 3, 3, channels)).astype(np.float32)
        )
        bias = model.constant(f"layer{layer}/bias", rng.normal(0, 0.1, 16).astype(np.float32))
        there = model.tensor(f"layer{layer}", (1, side, side, 16))
        options = {
            "padding": 0,
            "strideH": stride,
            "strideW": stride,
            "dilationHFactor": 1,
            "dilationWFactor": 1,
            "fusedActivationFunction": RELU6,
        }
        model.operators.append(LiteOperator("CONV_2D", (here, weights, bias), (there,), options))
        here, channels = there, 16
    axes = model.constant("axes", np.array([1, 2], np.int32))
    mean = model.tensor("mean", (1, channels))
    model.operators.append(LiteOperator("MEAN", (here, axes), (mean,), {"keepDims": False}))
    dense = model.constant("dense", rng.normal(0, 4, (CLASSES, channels)).astype(np.float32))
    zeros = model.constant("zeros", np.zeros(CLASSES, np.float32))
    logits = model.tensor("logits", (1, CLASSES))
    model.operators.append(LiteOperator("FULLY_CONNECTED", (mean, dense, zeros), (logits,)))
    probabilities = model.tensor("probabilities", (1, CLASSES))
    model.operators.append(LiteOperator("SOFTMAX", (logits,), (probabilities,), {"beta": 1.0}))
    model.outputs.append(probabilities)
    labels = [f"label{number}" for number in range(CLASSES)]
    return writer.write(model, "tiny", MINUS_ONE_TO_ONE, labels, 0, AXIS_LABELS)


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("float") / "tiny.tflite"
    path.write_bytes(tiny())
    return path


def command(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["quantize", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def inputs(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.uniform(-1, 1, (1, SIDE, SIDE, 3)).astype(np.float32) for _ in range(count)]


def types_of_weights(model: ModelFile) -> dict[str, str]:
    return {t.name: t.type for t in model.main.tensors if t.is_constant and len(t.shape) == 4}


@pytest.mark.parametrize("mode", get_args(recipe.Mode))
def test_keeps_interface_metadata_and_labels(float_model: Path, mode: recipe.Mode) -> None:
    before = read(float_model)
    after = read(quantize(before, mode, inputs()), "after")
    for one, other in ((before.inputs, after.inputs), (before.outputs, after.outputs)):
        assert [(t.shape, t.dtype) for t in one] == [(t.shape, t.dtype) for t in other]
    assert tflite_metadata.metadata(after) == tflite_metadata.metadata(before)
    assert after.metadata.keys() >= before.metadata.keys()
    assert [s.key for s in after.signatures] == [s.key for s in before.signatures]
    assert len(after.data) < 0.9 * len(before.data)
    # Constants lie inside the flatbuffer, where every runtime looks for them.
    assert all(len(after.buffers[t.buffer]) for t in after.main.tensors if t.is_constant)


@pytest.mark.parametrize("mode", get_args(recipe.Mode))
def test_makes_the_same_bytes_every_time(float_model: Path, mode: recipe.Mode) -> None:
    model = read(float_model)
    assert quantize(model, mode, inputs()) == quantize(model, mode, inputs())


def test_int8_mixed_leaves_the_first_layers_float_and_int8_does_not(float_model: Path) -> None:
    model = read(float_model)
    whole = types_of_weights(read(quantize(model, "int8", inputs())))
    mixed = types_of_weights(read(quantize(model, "int8-mixed", inputs())))
    assert set(whole.values()) == {"INT8"}
    assert [mixed[f"layer{n}/weights"] for n in range(LAYERS)] == ["FLOAT32"] * 7 + ["INT8"] * 2


def test_weights_are_quantised_per_channel_and_outputs_not_at_all(float_model: Path) -> None:
    after = read(quantize(read(float_model), "int8", inputs()))
    weights = [t for t in after.main.tensors if t.is_constant and len(t.shape) == 4]
    assert all(len(tensor.scales) == 16 for tensor in weights)
    dense = next(t for t in after.main.tensors if t.name == "dense")
    assert dense.type == "FLOAT32"


def test_ranges_hold_the_least_and_largest_values_seen(float_model: Path) -> None:
    model = read(float_model)
    quiet = [tensor * 0.2 for tensor in inputs()]
    loud_last = quantize(model, "int8", [*quiet, *inputs(1)])
    alone = quantize(model, "int8", inputs(1))
    tail = quantize(model, "int8", quiet)

    def scale(data: bytes) -> float:
        return next(t.scales[0] for t in read(data).main.tensors if t.name == "layer0")

    # A moving average of 0.95 would stay near the quiet ones.
    assert scale(loud_last) == pytest.approx(scale(alone), rel=0.02)
    assert scale(tail) < 0.8 * scale(alone)


def test_the_command_prints_and_writes(float_model: Path, tmp_path: Path) -> None:
    code, out, err = command(
        float_model, "--mode", "int8", "-o", tmp_path / "small.tflite", "--json", "--pictures", "5"
    )
    assert code == 0, err
    found = json.loads(out)
    assert found["kind"] == "labels"
    assert found["things"] == found["pictures"] >= 5
    assert found["loss"] == pytest.approx(1 - found["kept"])
    assert 0 < found["outputs"][0]["error"] < 0.2
    assert found["quantized_bytes"] == (tmp_path / "small.tflite").stat().st_size
    code, out, err = command(
        float_model, "--mode", "fp16", "-o", tmp_path / "half.tflite", "--pictures", "5"
    )
    assert code == 0, err
    assert "equal of" in out
    assert "ms, median" in out


def test_refuses_a_model_that_lost_too_much(float_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "small.tflite"
    code, _, err = command(float_model, "--mode", "fp16", "-o", target, "--pictures", "2")
    assert code == 0, err
    target.unlink()
    target.with_suffix(".toml").unlink()
    found = agreement.Agreement("poses", 5, 40, 0.8, 1.0, (), 1.0, 1.0, 1, 1)
    for mode, milder in (("int8", "int8-mixed"), ("int8-mixed", "fp16"), ("dynamic", "fp16")):
        says = rf"lost 0\.200 .* \(40 poses\), more than --max-loss .* try {milder}, or"
        with pytest.raises(ConvertError, match=says):
            shrink.check(found, mode, 0.1, str(target))
    shrink.check(found, "int8", 0.2, str(target))
    assert not list(tmp_path.iterdir())


def test_quantises_the_bundled_posenet_and_refuses_what_is_destroyed(tmp_path: Path) -> None:
    arguments = ("posenet_mobilenet_v1_075_fp16", "--pictures", "6", "--json")
    target = tmp_path / "mixed.tflite"
    code, out, err = command(*arguments, "-o", target)
    assert code == 0, err
    found = json.loads(out)
    assert found["kind"] == "poses"
    assert found["kept"] > 0.9
    assert found["shift_px"] < 0.7
    assert target.stat().st_size < 1_700_000
    code, _, err = command(
        *arguments, "-o", tmp_path / "no.tflite", "--mode", "dynamic", "--max-loss", "0.01"
    )
    assert code == 1
    assert "is not written: it lost" in err
    assert {path.name for path in tmp_path.iterdir()} == {"mixed.tflite", "mixed.toml"}
    card = bundled.card_of(target)
    assert card is not None
    bundled.verify(card, target.read_bytes())
    assert card.fields["licence"] == "Apache-2.0"
    assert card.fields["command"] == (
        f"edgecam quantize posenet_mobilenet_v1_075_fp16 --output {target} --pictures 6 --json"
    )
    code, _, err = command(
        *arguments,
        "-o",
        tmp_path / "yes.tflite",
        "--mode",
        "dynamic",
        "--max-loss",
        "0.01",
        "--force",
    )
    assert code == 0, err


def test_refuses_what_is_quantised_already(float_model: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.tflite"
    small.write_bytes(quantize(read(float_model), "int8", inputs()))
    code, _, err = command(small, "-o", tmp_path / "smaller.tflite")
    assert code == 1
    assert "expected a float model" in err
    assert err.count("\n") == 1


def test_refuses_an_empty_calibration_folder(float_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no pictures in this directory"):
        shrink.shrink(ModelSettings(path=str(float_model)), "int8", tmp_path / "empty")


def test_names_the_extra_where_the_quantiser_is_missing(
    float_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "litert_quantizer", None)
    with pytest.raises(ConvertError, match=r"edgecam\[quantize\]"):
        quantize(read(float_model), "fp16", [])


def test_pictures_are_spread_over_the_whole_clip() -> None:
    frames = calibration.pictures(None, 10)
    places = [frame.sequence for frame in frames]
    assert 10 <= len(places) < 20
    assert places[0] == 0
    assert places[-1] > 80
    assert len(set(np.diff(places))) == 1


def test_agreement_of_poses_and_boxes() -> None:
    xy = np.random.default_rng(0).uniform(0, 100, (17, 2))
    near, far = xy + np.array((3.0, 4.0)), xy + 500.0

    def pose(place: np.ndarray) -> Pose:
        return Pose(0.9, place, np.full(17, 0.9))

    one = Decoded(poses=(pose(xy),))
    (same,) = agreement._matches("poses", one, one)
    assert same.kept == pytest.approx(1.0)
    shifted, lost = agreement._matches(
        "poses", Decoded(poses=(pose(xy), pose(far))), Decoded(poses=(pose(near),))
    )
    assert 0.5 < shifted.kept < 1.0
    assert shifted.shifts_px == pytest.approx([5.0] * 17)
    assert lost.kept == 0.0

    def box(left: float, label: int = 0) -> Detection:
        return Detection(str(label), label, 0.9, Box(left, 0, left + 10, 10))

    wanted = Decoded(detections=(box(0), box(100), box(200)))
    given = Decoded(detections=(box(1), box(100, label=1), box(209)))
    matches = agreement._matches("boxes", wanted, given)
    assert [match.kept for match in matches] == [1.0, 0.0, 0.0]


def float_named(name: str, size: str | None = None) -> Model:
    settings = ModelSettings(path=name, input_size=size)
    return Model(settings, InferenceSettings(delegate="cpu", probe=False))


def test_a_detector_is_compared_by_boxes_though_the_last_picture_has_none() -> None:
    model = float_named("ssdlite")
    people = calibration.pictures(None, 1)[0]
    no_people = dataclasses.replace(people, image=np.zeros_like(people.image))
    found = agreement.compare(model, model, [people, no_people])
    assert (found.kind, found.kept) == ("boxes", 1.0)
    assert found.things > 0
    empty = agreement.compare(model, model, [no_people])
    assert (empty.things, empty.kept) == (0, 0.0)
    with pytest.raises(ConvertError, match="finds nothing in 1 pictures"):
        shrink.check(empty, "int8", 1.0, "x.tflite")


def test_force_writes_what_cannot_be_compared(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "black.png"), np.zeros((257, 257, 3), np.uint8))
    target = tmp_path / "x.tflite"
    arguments = ("posenet_mobilenet_v1_075_fp16", "--mode", "dynamic", "-o", target)
    arguments += ("--calibrate", pictures, "--pictures", "1")
    code, _, err = command(*arguments)
    assert (code, target.exists()) == (1, False)
    assert "finds nothing in 1 pictures" in err
    assert "--force" in err
    code, _, err = command(*arguments, "--force")
    assert (code, target.exists()) == (0, True), err


def test_float16_needs_no_known_family(tmp_path: Path) -> None:
    model = LiteModel()
    taken = model.tensor("in", (1, 2, 2, 3))
    weights = model.constant("weights", np.ones((5, 1, 1, 3), np.float32))
    bias = model.constant("bias", np.zeros(5, np.float32))
    options = {"padding": 1, "strideH": 1, "strideW": 1}
    options |= {"dilationHFactor": 1, "dilationWFactor": 1}
    model.inputs.append(taken)
    model.outputs.append(model.add("CONV_2D", (taken, weights, bias), "o", (1, 2, 2, 5), options))
    source, target = tmp_path / "none.tflite", tmp_path / "half.tflite"
    source.write_bytes(writer.write(model, "of no family", MINUS_ONE_TO_ONE))
    code, _, err = command(source, "--mode", "fp16", "-o", target)
    assert code == 0, err
    assert "not compared with float32: " in err
    assert types_of_weights(read(target)) == {"weights": "FLOAT16"}
    code, _, err = command(source, "--mode", "dynamic", "-o", tmp_path / "no.tflite")
    assert (code, "of no known family" in err) == (1, True)


def test_one_label_for_all_pictures_shows_nothing() -> None:
    found = agreement.Agreement("labels", 50, 50, 1.0, None, (), 1.0, 1.0, 1, 1, distinct=1)
    assert "all 50 pictures give one label" in (shrink.shows_nothing(found) or "")
    assert shrink.shows_nothing(dataclasses.replace(found, distinct=2)) is None
    assert shrink.shows_nothing(dataclasses.replace(found, kind="poses", distinct=0)) is None


def test_ghosts_are_no_loss() -> None:
    model = float_named("posenet_mobilenet_v1_075_fp16", "353x481")
    frame = calibration.pictures(None, 6)[1]
    tensors = model.invoke(model.preprocess(frame, model.buffer()))
    every = dataclasses.replace(agreement._WANTED, min_pose_score=0.0)
    scores = [pose.score for pose in model.decoder(tensors, every).poses]
    real = [score for score in scores if score >= DecodeSettings().min_pose_score]
    assert 0 < len(real) < len(scores)
    assert agreement.compare(model, model, [frame]).things == len(real)


def test_the_folder_is_looked_for_before_the_work(float_model: Path, tmp_path: Path) -> None:
    code, out, err = command(float_model, "--mode", "int8", "-o", tmp_path / "none" / "x.tflite")
    assert (code, out) == (1, "")
    assert f"there is no folder {tmp_path / 'none'}; make it first" in err


def test_the_bundled_model_is_widened_to_what_the_runtime_computes(tmp_path: Path) -> None:
    from edgecam.tools.convert.rewrite import widen

    path = bundled.resolve("posenet_mobilenet_v1_075_fp16")
    wide = tmp_path / "wide.tflite"
    wide.write_bytes(widen(path.read_bytes(), {}))
    assert {t.type for t in read(wide).main.tensors} <= {"FLOAT32", "INT32"}
    frame = calibration.pictures(None, 1)[0]
    both = []
    for file in (path, wide):
        model = Model(ModelSettings(path=str(file)), InferenceSettings(threads=1, probe=False))
        both.append(model.invoke(model.preprocess(frame, model.buffer())))
    for one, other in zip(*both, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
