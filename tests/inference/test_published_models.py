"""Published models of every family, each recognised from its tensors, on real photographs."""

import json
from pathlib import Path
from typing import Any

import pytest
from programs import edgecam, error_line, shared

from edgecam.inference.decoders import coco_labels as coco


def replayed(model: Path, source: Path, *options: object) -> dict[str, Any]:
    done = edgecam("replay", source, "--model", model, *options)
    assert done.returncode == 0, done.stderr
    message: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    return message


@pytest.mark.parametrize(
    "name",
    [
        "posenet_mobilenet_v1_075_353_481_quant",
        "posenet_mobilenet_v1_075_481_641_quant",
        "posenet_mobilenet_v1_075_353_481_16_quant_decoder",
        "posenet_mobilenet_v1_075_481_641_quant_decoder",
    ],
)
@pytest.mark.parametrize("decoder", ["tfjs", "coral"])
def test_coral_posenets_find_the_couple_with_or_without_the_decoder_op(
    name: str, decoder: str
) -> None:
    """Coral's own decoder puts the noses there, in the photograph of 1920 x 1278 pixels."""
    reference = json.loads(shared("conformance", "posenet", "couple.json").read_text())
    result = next(
        entry
        for entry in reference["results"]
        if entry["tensors"] == "coral_481_641_full" and entry["decoder"].startswith("coral")
    )
    noses = sorted(
        (pose["keypoints"][0][1] * 1920 / 641, pose["keypoints"][0][0] * 1278 / 481)
        for pose in result["poses"]
        if pose["score"] > 0.5
    )
    message = replayed(
        shared("models", f"{name}.tflite"),
        shared("media", "images", "couple.jpg"),
        *("--decoder", decoder, "--fit", "stretch"),
    )
    found = sorted(
        (pose["keypoints"]["nose"]["x"], pose["keypoints"]["nose"]["y"])
        for pose in message["poses"]
        if pose["score"] > 0.5
    )
    assert len(found) == len(noses) == 2
    for one, other in zip(found, noses, strict=True):
        # The component networks clip short offsets at 10 px of their input (40 px here).
        assert one == pytest.approx(other, abs=50)


def test_an_edge_tpu_model_without_one_is_refused() -> None:
    model = shared("models", "posenet_mobilenet_v1_075_353_481_quant_decoder_edgetpu.tflite")
    source = shared("media", "images", "couple.jpg")
    for options in ((), ("--delegate", "cpu"), ("--delegate", "edgetpu")):
        line = error_line(edgecam("replay", source, "--model", model, *options))
        assert "compiled for the Edge TPU" in line


def test_a_model_with_an_op_that_no_runtime_has_is_refused_by_its_name() -> None:
    model = shared("models", "invalid_model_invoking_error.tflite")
    line = error_line(edgecam("--model", model, "--source", "0"))
    assert "fake-op-double" in line


def test_movenet_and_classifier_and_ssd_run_side_by_side() -> None:
    message = replayed(
        shared("models", "movenet_single_pose_lightning_ptq.tflite"),
        shared("media", "images", "cat.png"),
        *("--model", shared("models", "mobilenet_v1_0.25_128_quant.tflite")),
        *("--model", shared("models", "ssd_mobilenet_v1_coco_quant_postprocess.tflite")),
        *("--min-pose-score", 0, "--score-threshold", 0.1),
    )
    assert len(message["poses"]) == 1
    assert len(message["classes"]) == 5
    assert message["detections"][0]["class_id"] == 16  # COCO's cat, background not counted
    models = {found["model"] for found in (*message["poses"], *message["classes"])}
    assert models == {"movenet_single_pose_lightning_ptq", "mobilenet_v1_0.25_128_quant"}


def test_a_coco_detector_without_labels_gets_cocos_names() -> None:
    model = shared("models", "ssd_mobilenet_v1_coco_quant_postprocess.tflite")
    message = replayed(model, shared("media", "images", "cat.png"))
    assert message["detections"][0]["label"] == "cat"
    categories = json.loads(
        shared("coco-mini", "annotations", "instances_train2017.json").read_text()
    )
    named = {entry["id"]: entry["name"] for entry in categories["categories"]}
    assert len(named) == 80
    for number, name in enumerate(coco.DETECTION_LABELS, start=1):
        assert name == named.get(number, coco.UNUSED)


def test_labels_come_from_the_file_given_and_must_fit() -> None:
    model = shared("models", "ssd_mobilenet_v1_coco_quant_postprocess.tflite")
    cat = shared("media", "images", "cat.png")
    labels = shared("models", "ssd_mobilenet_v1_coco_labels.txt")
    message = replayed(model, cat, "--labels", labels)
    assert message["detections"][0]["label"] == "cat"
    wrong = shared("models", "imagenet_labels.txt")
    line = error_line(edgecam("replay", cat, "--model", model, "--labels", wrong))
    assert "1001 entries" in line
    assert "90 classes" in line
