"""Object Detection graphs to TFLite: a small SSD, against numpy and TensorFlow."""

from __future__ import annotations

import importlib.util
import random
from typing import Any

import numpy as np
import pytest
import ssd_graphs as small
from graphdefs import Type, const, node, placeholder
from numpy.typing import NDArray
from ssd_graphs import ANCHORS, CELLS, CLASSES, EPSILON, SIDE, F, I, T

from edgecam.core.tensors import MINUS_ONE_TO_ONE, RAW_PIXELS
from edgecam.inference.decoders import anchors as stored_anchors
from edgecam.inference.runtime import find
from edgecam.inference.tflite import file as tflite_file
from edgecam.tools.convert import graphdef, metadata, ssd, ssd_boxes, ssd_graph, writer
from edgecam.tools.convert.graph import ConvertError, Graph
from edgecam.tools.convert.lower import lower

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")

PICTURE = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.uint8)


def graph_of(raw: bytes) -> Graph:
    return graphdef.parse(raw, "small.pb")


def write(detector: ssd.Detector) -> bytes:
    labels = ("cat", "dog")
    if detector.label_kind == metadata.AXIS_LABELS:
        labels = ("background", *labels)
    return writer.write(
        detector.model,
        "small",
        detector.normalization,
        labels,
        detector.label_place,
        detector.label_kind,
        detector.extra,
    )


def run(data: bytes, image: NDArray[Any]) -> list[NDArray[np.float32]]:
    interpreter = find().interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def slid(image: NDArray[Any], kernel: NDArray[Any], *, depthwise: bool) -> NDArray[Any]:
    """A 3x3 window of stride 2 with SAME padding, which for even sides is 0 before, 1 behind."""
    padded = np.pad(image, ((0, 1), (0, 1), (0, 0))).astype(np.float64)
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    terms = "hwc,hwcm->c" if depthwise else "hwi,hwio->o"
    return np.array(
        [
            [
                np.einsum(terms, padded[2 * y : 2 * y + 3, 2 * x : 2 * x + 3], kernel)
                for x in range(columns)
            ]
            for y in range(rows)
        ]
    )


def normed(values: NDArray[Any], statistics: list[NDArray[Any]]) -> NDArray[Any]:
    gamma, beta, mean, variance = (item.astype(np.float64) for item in statistics)
    return np.clip((values - mean) / np.sqrt(variance + EPSILON) * gamma + beta, 0, 6)


def by_definition() -> tuple[NDArray[Any], NDArray[Any]]:
    """Box encodings [A, 4] and scores [A, C + 1] in float64."""
    image = PICTURE[0] / 127.5 - 1
    feature = normed(slid(image, small.FIRST, depthwise=False), small.FIRST_BN)
    feature = normed(slid(feature, small.DEPTH, depthwise=True), small.DEPTH_BN)
    boxes = feature @ small.BOX[0, 0] + small.BOX_BIAS
    logits = feature @ small.CLASS[0, 0] + small.CLASS_BIAS
    return boxes.reshape(ANCHORS, 4), 1 / (1 + np.exp(-logits.reshape(ANCHORS, CLASSES + 1)))


def test_raw_model_computes_what_the_graph_defines() -> None:
    detector = ssd.convert(graph_of(small.detector()), None, postprocess=False)
    assert detector.size_px == (SIDE, SIDE)
    assert (detector.classes, detector.anchors) == (CLASSES, ANCHORS)
    assert detector.normalization == MINUS_ONE_TO_ONE
    data = write(detector)
    encodings, scores = run(data, (PICTURE / 127.5 - 1).astype(F))
    expected = by_definition()
    np.testing.assert_allclose(encodings[0], expected[0], atol=2e-5)
    np.testing.assert_allclose(scores[0], expected[1], atol=2e-6)
    file = tflite_file.read(data)
    found = stored_anchors.of(file)
    assert found is not None
    np.testing.assert_allclose(found, small.anchors(), atol=1e-6)
    assert [info.name for info in file.outputs] == [ssd.ENCODINGS, ssd.SCORES]


def test_norms_and_activations_end_up_in_the_convolutions() -> None:
    detector = ssd.convert(graph_of(small.detector()), None, postprocess=False)
    assert [op.op for op in detector.model.operators] == [
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "CONV_2D",
        "RESHAPE",
        "SQUEEZE",
        "CONV_2D",
        "RESHAPE",
        "LOGISTIC",
    ]


def test_postprocess_gives_the_boxes_of_the_anchors() -> None:
    data = write(ssd.convert(graph_of(small.detector()), None, postprocess=True))
    boxes, classes, scores, count = run(data, (PICTURE / 127.5 - 1).astype(F))
    encodings, probabilities = by_definition()
    best = np.unravel_index(probabilities[:, 1:].argmax(), (ANCHORS, CLASSES))
    y, x, h, w = small.anchors()[best[0]]
    ty, tx, th, tw = encodings[best[0]] / small.SCALES
    centre = np.array([ty * h + y, tx * w + x])
    half = np.array([np.exp(th) * h, np.exp(tw) * w]) / 2
    assert count[0] >= 1
    np.testing.assert_allclose(boxes[0, 0], [*(centre - half), *(centre + half)], atol=1e-5)
    assert classes[0, 0] == best[1]
    assert scores[0, 0] == pytest.approx(probabilities[:, 1:].max(), abs=1e-6)
    options = tflite_file.custom_options(tflite_file.read(data).main.ops[-1])
    assert options["num_classes"] == CLASSES
    assert options["max_detections"] == ssd.MAX_DETECTIONS
    assert [options[f"{name}_scale"] for name in "yxhw"] == list(small.SCALES)
    assert options["use_regular_nms"] is False


def test_other_box_scales_are_read_and_refused_only_raw() -> None:
    graph = graph_of(small.detector((8.0, 9.0, 4.0, 3.0)))
    assert ssd_boxes.box_coder(graph, "Squeeze", ANCHORS).scales == (8.0, 9.0, 4.0, 3.0)
    assert ssd.convert(graph, None, postprocess=True).classes == CLASSES
    with pytest.raises(ConvertError, match="convert with --postprocess"):
        ssd.convert(graph, None, postprocess=False)


def test_the_apis_own_export_gives_the_same() -> None:
    graph = graph_of(small.exported())
    assert ssd_graph.is_detector(graph)
    assert ssd_boxes.suppression(graph) == ssd_boxes.Suppression(0.5, 0.125)
    picture = (PICTURE / 127.5 - 1).astype(F)
    detector = ssd.convert(graph, None, postprocess=False)
    assert detector.normalization == MINUS_ONE_TO_ONE
    frozen = ssd.convert(graph_of(small.detector()), None, postprocess=False)
    for ours, theirs in zip(
        run(write(detector), picture), run(write(frozen), picture), strict=True
    ):
        assert np.array_equal(ours, theirs)
    found = stored_anchors.of(tflite_file.read(write(detector)))
    assert np.array_equal(found, small.anchors())
    with pytest.raises(ConvertError, match=r"anchors of shape \[32, 4\]"):
        ssd.convert(graph, (2 * SIDE, 2 * SIDE), postprocess=True)


def test_weights_and_anchors_that_are_no_numbers_are_refused() -> None:
    raw = small.detector()
    # A negative variance has no root.
    for values, wrong in ((small.DEPTH_BN[3], -1.0), (small.FIRST, np.nan), (small.BOX, np.inf)):
        bad = raw.replace(values.tobytes(), np.full_like(values, wrong).tobytes())
        with pytest.raises(ConvertError, match="NaN or infinity"):
            ssd.convert(graph_of(bad), None, postprocess=True)
    heights = small.anchors()[:, 2].copy()
    bad = raw.replace(heights.tobytes(), np.full_like(heights, np.inf).tobytes())
    with pytest.raises(ConvertError, match="no finite numbers"):
        ssd.convert(graph_of(bad), None, postprocess=True)


def test_damage_anywhere_gives_a_model_or_one_clear_line() -> None:
    chance = random.Random(11)
    whole = small.detector()
    for _ in range(400):
        raw = bytearray(whole)
        for _ in range(chance.choice((1, 2, 5))):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        assert "\n" not in outcome(bytes(raw))


def outcome(raw: bytes) -> str:
    """The error of converting a graph, empty where it converts."""
    try:
        ssd.convert(graph_of(raw), None, postprocess=True)
    except ConvertError as error:
        return str(error)
    return ""


def test_a_size_that_the_anchors_are_not_for_is_refused() -> None:
    with pytest.raises(ConvertError, match="anchors do not fit the 128 boxes") as caught:
        ssd.convert(graph_of(small.detector()), (2 * SIDE, 2 * SIDE), postprocess=True)
    assert "\n" not in str(caught.value)


def test_means_of_channels_are_read_from_the_preprocessor() -> None:
    raw = (
        placeholder("picture", (1, 4, 4, 3))
        + const("means", np.array([[[123.68, 116.78, 103.94]]], F))
        + node("Sub", "Preprocessor/sub", ["picture", "means"], **T)
    )
    found = ssd_graph.normalization(graph_of(raw))
    assert found.mean == pytest.approx((123.68, 116.78, 103.94))
    assert found.std == (1, 1, 1)


def test_thresholds_of_the_graphs_own_suppression_are_kept() -> None:
    raw = small.detector() + b"".join(
        (
            const("nms/most", I(10)),
            const("nms/iou", F(0.45)),
            const("nms/score", F(0.25)),
            node("NonMaxSuppressionV3", "nms", ["b", "s", "nms/most", "nms/iou", "nms/score"]),
        )
    )
    found = ssd_boxes.suppression(graph_of(raw))
    assert (found.iou, found.score) == (pytest.approx(0.45), pytest.approx(0.25))


@pytest.mark.parametrize("form", ["stacked", "multiplied"])
def test_upsampling_of_feature_pyramids_is_one_resize(form: str) -> None:
    raw = placeholder("x", (1, 2, 3, 4)) + const("to", np.array([1, 4, 6, 4], I))
    if form == "stacked":
        raw += node("Pack", "wide", ["x", "x"], **T, N=2, axis=3)
        raw += node("Pack", "spread", ["wide", "wide"], **T, N=2, axis=2)
    else:
        raw += const("from", np.array([1, 2, 1, 3, 1, 4], I))
        raw += const("ones", np.ones((1, 1, 2, 1, 2, 1), F))
        raw += node("Reshape", "narrow", ["x", "from"], **T, Tshape=Type("int32"))
        raw += node("Mul", "spread", ["narrow", "ones"], **T)
    raw += node("Reshape", "out", ["spread", "to"], **T, Tshape=Type("int32"))
    image = np.random.default_rng(1).normal(size=(1, 2, 3, 4)).astype(F)
    model = lower(graph_of(raw), {"x": image.shape})
    assert [op.op for op in model.operators] == ["RESIZE_NEAREST_NEIGHBOR"]
    (found,) = run(writer.write(model, "up", RAW_PIXELS), image)
    assert np.array_equal(found, image.repeat(2, axis=1).repeat(2, axis=2))


def test_a_graph_without_the_nodes_says_which_and_what_it_has() -> None:
    raw = placeholder("x", (1, 4, 4, 3)) + node("Relu", "mask", ["x"], **T)
    with pytest.raises(ConvertError, match="Postprocessor/convert_scores") as caught:
        ssd.convert(graph_of(raw), (4, 4), postprocess=True)
    assert "its outputs are mask" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not ssd_graph.is_detector(graph_of(raw))
    assert ssd_graph.is_detector(graph_of(small.detector()))


def test_all_ops_that_do_not_convert_are_named_in_one_line() -> None:
    raw = small.detector().replace(b"Relu6", b"Reluu").replace(b"Squeeze", b"Squeezy")
    raw = raw.replace(b"\x0a\x07Squeezy", b"\x0a\x07Squeeze")  # the node's name stays
    raw = raw.replace(b"\x1a\x07Squeezy", b"\x1a\x07Squeeze")  # and that of those who take it
    with pytest.raises(ConvertError, match=r"Reluu \(2\), Squeezy \(1\)") as caught:
        ssd.convert(graph_of(raw), None, postprocess=True)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)
def test_tensorflow_gives_the_same() -> None:
    import tensorflow as tf  # type: ignore[import-not-found]

    raw = small.detector()
    with tf.Graph().as_default() as loaded:
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(raw), name="")
        with tf.compat.v1.Session(graph=loaded) as session:
            wanted = [f"{name}:0" for name in ("Squeeze", ssd_graph.SCORES, ssd_graph.BOXES)]
            encodings, scores, boxes = session.run(wanted, {"image_tensor:0": PICTURE})
    mine, probabilities = by_definition()
    np.testing.assert_allclose(encodings[0], mine, atol=2e-5)
    np.testing.assert_allclose(scores[0], probabilities, atol=2e-6)
    coder = ssd_boxes.box_coder(graph_of(raw), "Squeeze", CELLS * CELLS * 2)
    np.testing.assert_allclose(ssd_boxes.centred(boxes), ssd_boxes.decoded(coder, mine), atol=1e-5)
