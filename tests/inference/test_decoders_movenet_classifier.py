"""MoveNet and classification on real models and pictures, and that no model fits two families."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from edgecam.core.errors import ModelError
from edgecam.core.opencv import cv2
from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.tensors import TensorInfo
from edgecam.inference import decoders, labels
from edgecam.inference.decoders import classifier, movenet
from edgecam.inference.decoders.family import FamilyContext
from edgecam.inference.interpreter import dequantised
from edgecam.inference.runtime import find
from edgecam.inference.tflite import file as tflite_file
from edgecam.inference.tflite import metadata as tflite_metadata

SHARED = Path(__file__).resolve().parents[3] / "shared"
MODELS, IMAGES = SHARED / "models", SHARED / "media" / "images"
MOVENET = MODELS / "movenet_single_pose_lightning_ptq.tflite"
MOBILENET = MODELS / "mobilenet_v1_0.25_128_quant.tflite"
needs_shared = pytest.mark.skipif(not MODELS.is_dir(), reason=f"no model files at {MODELS}")
FLOAT = np.dtype(np.float32)
IMAGE = TensorInfo(0, "image", (1, 192, 256, 3), FLOAT)


def run(path: Path, picture: Path) -> tuple[Decoder, list[np.ndarray]]:
    """Return the decoder of a uint8 model and what the model makes of a stretched picture."""
    file = tflite_file.read(path)
    interpreter = find().interpreter(model_path=str(path), num_threads=2)
    interpreter.allocate_tensors()
    height, width = file.inputs[0].shape[1:3]
    image = cv2.cvtColor(cv2.resize(cv2.imread(str(picture)), (width, height)), cv2.COLOR_BGR2RGB)
    interpreter.set_tensor(file.inputs[0].index, image[None])
    interpreter.invoke()
    found = labels.resolve(None, path, None, tflite_metadata.metadata(file))
    decoder = decoders.recognise(file.inputs, file.outputs, decoders.context_of(file, found))
    tensors = [interpreter.get_tensor(file.outputs[place].index) for place in decoder.outputs]
    return decoder, [
        dequantised(tensor, file.outputs[place])
        for tensor, place in zip(tensors, decoder.outputs, strict=True)
    ]


@needs_shared
def test_movenet_agrees_with_the_published_reference() -> None:
    decoder, tensors = run(MOVENET, IMAGES / "squat.png")
    assert decoder.family == "movenet"
    (pose,) = decoder(tensors, DecodeOptions(score_threshold=0.3)).poses
    reference = MOVENET.with_name("movenet_single_pose_lightning_ptq_reference.csv")
    rows = list(csv.DictReader(reference.open()))
    expected = np.array([[float(r["keypoint_x"]), float(r["keypoint_y"])] for r in rows]) * 192
    scores = np.array([float(r["keypoint_score"]) for r in rows])
    # Of 192. The reference was made with another resize and runtime: median 1.8, worst 6.6 here.
    sure = scores > 0.5
    distance = np.linalg.norm(pose.xy - expected, axis=1)
    assert np.median(distance) < 3.0
    assert distance[sure].max() < 8.0
    assert pose.score == pytest.approx(pose.scores.mean())


def test_movenet_scales_each_axis_and_keeps_quiet_without_a_person() -> None:
    decoder = movenet.recognise(
        [IMAGE], [TensorInfo(1, "out", (1, 1, 17, 3), FLOAT)], FamilyContext()
    )
    assert decoder is not None
    rows = np.full((1, 1, 17, 3), 0.2, np.float32)
    rows[0, 0, 0] = (0.5, 0.25, 0.9)
    (pose,) = decoder([rows], DecodeOptions(score_threshold=0.5)).poses
    assert pose.xy[0].tolist() == [64.0, 96.0]
    assert pose.score == pytest.approx((0.9 + 16 * 0.2) / 17)
    assert decoder([rows], DecodeOptions(score_threshold=0.95)).poses == ()
    assert decoder([rows], DecodeOptions(min_pose_score=0.3)).poses == ()
    rows[0, 0, 3, 1] = np.nan
    assert decoder([rows], DecodeOptions()).poses == ()


@needs_shared
@pytest.mark.parametrize(("picture", "word"), [("cat.png", "cat"), ("bird.png", "chickadee")])
def test_classifier_names_what_is_in_the_picture(picture: str, word: str) -> None:
    decoder, tensors = run(MOBILENET, IMAGES / picture)
    assert decoder.family == "classifier"
    assert "probabilities" in decoder.why
    found = decoder(tensors, DecodeOptions(top_k=5)).classes
    assert len(found) == 5
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    assert any(word in c.label for c in found), found
    assert 0.3 < sum(c.score for c in found) <= 1.01


def test_logits_become_probabilities() -> None:
    values = np.array([[1.0, 3.0, -2.0]], np.float32)
    outputs = [TensorInfo(1, "out", (1, 3), FLOAT)]
    expected = np.exp(3.0) / np.exp(values.astype(np.float64)).sum()
    for ops in ((), ("FULLY_CONNECTED",)):
        decoder = classifier.recognise([IMAGE], outputs, FamilyContext(output_ops=ops))
        assert decoder is not None
        best = decoder([values], DecodeOptions(top_k=1)).classes[0]
        assert (best.label, best.class_id) == ("class_1", 1)
        assert best.score == pytest.approx(expected)
    reported = classifier.recognise([IMAGE], outputs, FamilyContext(output_ops=("SOFTMAX",)))
    assert reported is not None
    shares = np.array([[0.2, 0.7, 0.1]], np.float32)
    assert reported([shares], DecodeOptions()).classes[0].score == pytest.approx(0.7)
    unreported = classifier.recognise([IMAGE], outputs, FamilyContext())
    assert unreported is not None
    assert unreported([shares], DecodeOptions()).classes[0].score == pytest.approx(0.7)


def test_classifier_labels_take_a_background_in_front_or_are_refused() -> None:
    outputs = [TensorInfo(1, "out", (1, 1, 1, 3), FLOAT)]
    decoder = classifier.recognise([IMAGE], outputs, FamilyContext(labels=("a", "b")))
    assert decoder is not None
    values = np.array([0.1, 0.2, 0.7], np.float32).reshape(1, 1, 1, 3)
    assert [c.label for c in decoder([values], DecodeOptions()).classes] == ["b", "a", "background"]
    with pytest.raises(ModelError, match="5 entries but output 'out' has 3 classes"):
        classifier.recognise([IMAGE], outputs, FamilyContext(labels=tuple("abcde")))


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 1, 17, 3)],
        [(1, 6, 56)],
        [(1, 1001)],
        [(1, 1, 1, 1001)],
        [(1, 10, 4), (1, 10), (1, 10), (1,)],
        [(1, 1, 4), (1, 1), (1, 1), (1,)],
        [(1, 1917, 4), (1, 1917, 91)],
        [(1, 23, 31, 17), (1, 23, 31, 34), (1, 23, 31, 64)],
        [(1, 23, 31, 17), (1, 23, 31, 34), (1, 23, 31, 32), (1, 23, 31, 32)],
    ],
    ids=str,
)
def test_no_two_families_take_the_same_tensors(shapes: list[tuple[int, ...]]) -> None:
    names = ("heatmap", "offset_2", "displacement_fwd_2", "displacement_bwd_2")
    outputs = [TensorInfo(index, names[index], shape, FLOAT) for index, shape in enumerate(shapes)]
    image = TensorInfo(0, "image", (1, 353, 481, 3), FLOAT)
    takers = [
        f for f in decoders.families() if f.recognise([image], outputs, FamilyContext()) is not None
    ]
    assert len(takers) <= 1


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([IMAGE], [TensorInfo(1, "embedding", (1, 1), FLOAT)]),
        ([IMAGE], [TensorInfo(1, "mask", (1, 64, 64, 21), FLOAT, 0.5, 3)]),
        ([IMAGE], [TensorInfo(1, "multi", (1, 6, 58), FLOAT)]),
        ([TensorInfo(0, "audio", (1, 15600), FLOAT)], [TensorInfo(1, "out", (1, 521), FLOAT)]),
    ],
)
def test_an_unknown_model_is_refused_with_its_tensors(
    inputs: list[TensorInfo], outputs: list[TensorInfo]
) -> None:
    with pytest.raises(ModelError) as caught:
        decoders.recognise(inputs, outputs, FamilyContext())
    message = str(caught.value)
    assert repr(outputs[0].name) in message
    assert str(list(outputs[0].shape)) in message
    assert "MoveNet single pose: [1, 1, 17, 3]" in message
