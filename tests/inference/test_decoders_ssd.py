"""SSD decoding, held to the op of the runtime: order, stale rows, NMS, anchors, time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgecam.core.errors import ModelError
from edgecam.core.opencv import cv2
from edgecam.core.protocols import DecodeOptions
from edgecam.core.tensors import TensorInfo
from edgecam.inference import decoders, labels
from edgecam.inference.decoders import anchors, ssd, ssd_raw
from edgecam.inference.decoders import boxes as boxes_module
from edgecam.inference.decoders.family import FamilyContext, PostProcess
from edgecam.inference.interpreter import dequantised
from edgecam.inference.runtime import find
from edgecam.inference.tflite import file as tflite_file
from edgecam.inference.tflite.cut import cut_custom_op

SHARED = Path(__file__).resolve().parents[3] / "shared"
COCO = SHARED / "models" / "ssd_mobilenet_v1_coco_quant_postprocess.tflite"
COCO_LABELS = SHARED / "models" / "ssd_mobilenet_v1_coco_labels.txt"
needs_shared = pytest.mark.skipif(not COCO.is_file(), reason=f"no model at {COCO}")

IMAGE = TensorInfo(0, "image", (1, 300, 200, 3), np.dtype(np.uint8), 1 / 128, 128)
FLOAT = np.dtype(np.float32)


class Net:
    """A model of the tests' own in the installed runtime, without edgecam's pipeline around it."""

    def __init__(self, data: bytes) -> None:
        self.file = tflite_file.read(data)
        self._interpreter = find().interpreter(model_content=data, num_threads=2)
        self._interpreter.allocate_tensors()
        self.inputs, self.outputs = (
            [
                TensorInfo(
                    d["index"],
                    d["name"],
                    tuple(map(int, d["shape"])),
                    np.dtype(d["dtype"]),
                    *((d["quantization"]) if d["quantization"][0] else (None, None)),
                )
                for d in details
            ]
            for details in (
                self._interpreter.get_input_details(),
                self._interpreter.get_output_details(),
            )
        )

    def __call__(self, picture: Path) -> list[np.ndarray]:
        image = cv2.imread(str(picture))
        _, height, width, _ = self.inputs[0].shape
        image = cv2.cvtColor(cv2.resize(image, (width, height)), cv2.COLOR_BGR2RGB)
        self._interpreter.set_tensor(self.inputs[0].index, image[None])
        self._interpreter.invoke()
        return [dequantised(self._interpreter.get_tensor(o.index), o) for o in self.outputs]


def info(index: int, name: str, *shape: int) -> TensorInfo:
    return TensorInfo(index, name, shape, FLOAT)


def four(names: dict[str, str], order: str) -> list[TensorInfo]:
    shapes = {"b": (1, 10, 4), "c": (1, 10), "s": (1, 10), "n": (1,)}
    return [info(50 + "bcsn".index(key), names[key], *shapes[key]) for key in order]


def values(order: str) -> list[np.ndarray]:
    boxes = np.zeros((1, 10, 4), np.float32)
    boxes[0, 0] = (0.1, 0.2, 0.5, 0.9)
    boxes[0, 1] = (0.2, 0.2, 0.4, 0.4)
    boxes[0, 2:] = 7.0
    classes = np.array([[2, 0, *[5] * 8]], np.float32)
    scores = np.array([[0.9, 0.75, *[0.99] * 8]], np.float32)
    known = {"b": boxes, "c": classes, "s": scores, "n": np.array([2.0], np.float32)}
    return [known[key] for key in order]


TF1 = dict(
    zip("bcsn", ["TFLite_Detection_PostProcess" + s for s in ("", ":1", ":2", ":3")], strict=True)
)
TF2 = dict(zip("bcsn", [f"StatefulPartitionedCall:{n}" for n in (3, 2, 1, 0)], strict=True))
NAMELESS = dict(zip("bcsn", ["a", "b", "c", "d"], strict=True))


@pytest.mark.parametrize("names", [TF1, TF2, NAMELESS], ids=["tf1", "tf2", "nameless"])
@pytest.mark.parametrize("order", ["bcsn", "sbnc", "ncsb", "cnbs"])
def test_outputs_are_found_in_any_order_and_stale_rows_are_ignored(
    names: dict[str, str], order: str
) -> None:
    context = FamilyContext(labels=("person", "bicycle", "car"))
    decoder = decoders.recognise([IMAGE], four(names, order), context)
    tensors = values(order)
    found = decoder([tensors[place] for place in decoder.outputs], DecodeOptions()).detections
    assert [(d.label, d.class_id) for d in found] == [("car", 2), ("person", 0)]
    box = found[0].box
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx((40, 30, 180, 150))


def test_the_op_beats_misleading_names() -> None:
    names = {"b": "a", "c": "scores", "s": "classes", "n": "d"}
    context = FamilyContext(postprocess=PostProcess((50, 51, 52, 53), 90))
    decoder = ssd.recognise([IMAGE], four(names, "sbnc"), context)
    assert decoder is not None
    assert decoder.outputs == (1, 3, 0, 2)


@pytest.mark.parametrize("count", [0.0, -1.0, np.nan])
def test_no_count_no_detection(count: float) -> None:
    decoder = ssd.recognise([IMAGE], four(TF1, "bcsn"), FamilyContext())
    assert decoder is not None
    tensors = values("bcsn")
    tensors[3][0] = count
    assert decoder(tensors, DecodeOptions()).detections == ()


def test_a_count_of_one_is_one_detection() -> None:
    decoder = decoders.recognise([IMAGE], four(TF1, "bcsn"), FamilyContext())
    tensors = values("bcsn")
    tensors[3][0] = 1.0
    found = decoder([tensors[place] for place in decoder.outputs], DecodeOptions()).detections
    assert [detection.class_id for detection in found] == [2]


def test_count_beyond_the_rows_nan_rows_and_threshold() -> None:
    decoder = ssd.recognise([IMAGE], four(TF1, "bcsn"), FamilyContext())
    assert decoder is not None
    tensors = values("bcsn")
    tensors[3][0] = 250.0
    tensors[0][0, 0, 1] = np.nan
    tensors[2][0, 2:] = 0.2
    found = decoder(tensors, DecodeOptions(score_threshold=0.5)).detections
    assert [d.label for d in found] == ["class_0"]
    assert len(decoder(tensors, DecodeOptions(score_threshold=0.1)).detections) == 9
    assert (
        len(decoder(tensors, DecodeOptions(score_threshold=0.1, max_detections=3)).detections) == 2
    )


def test_labels_of_the_wrong_length_are_refused() -> None:
    context = FamilyContext(labels=("a", "b"), postprocess=PostProcess((50, 51, 52, 53), 90))
    with pytest.raises(ModelError, match="2 entries but TFLite_Detection_PostProcess has 90"):
        decoders.recognise([IMAGE], four(TF1, "bcsn"), context)


def test_a_raw_model_without_its_anchors_is_refused() -> None:
    outputs = [info(1, "box", 1, 500, 4), info(2, "class", 1, 500, 5)]
    with pytest.raises(ModelError, match="without its anchors"):
        decoders.recognise([IMAGE], outputs, FamilyContext())
    wrong = FamilyContext(anchors=np.zeros((499, 4), np.float32))
    with pytest.raises(ModelError, match="500 box encodings but 499 anchors"):
        decoders.recognise([IMAGE], outputs, wrong)


def test_four_columns_of_scores_are_known_from_four_of_boxes() -> None:
    given = np.zeros((500, 4), np.float32)
    outputs = [info(1, "x", 1, 500, 4), info(2, "y", 1, 500, 4)]
    context = FamilyContext(anchors=given, output_ops=("LOGISTIC", "CONV_2D"))
    decoder = decoders.recognise([IMAGE], outputs, context)
    assert decoder.outputs == (1, 0)
    named = [info(1, "raw_outputs/class_predictions", 1, 500, 4), info(2, "Squeeze", 1, 500, 4)]
    assert decoders.recognise([IMAGE], named, FamilyContext(anchors=given)).outputs == (1, 0)


def test_raw_labels_with_and_without_background() -> None:
    outputs = [info(1, "box", 1, 500, 4), info(2, "class", 1, 500, 3)]
    given = np.zeros((500, 4), np.float32)
    for names, first in ((("a", "b"), 1), (("???", "a", "b"), 1), (("a", "b", "c"), 0)):
        context = FamilyContext(labels=names, anchors=given)
        decoder = ssd.recognise([IMAGE], outputs, context)
        assert isinstance(decoder, ssd_raw.RawSsd)
        assert decoder.first_class == first
        assert decoder.labels == (names[-2:] if first else names)


def test_logits_and_probabilities_decode_alike() -> None:
    chance = np.random.default_rng(3)
    logits = chance.normal(-4, 2, (1, 1917, 8)).astype(np.float32)
    encodings = chance.normal(0, 2, (1, 1917, 4)).astype(np.float32)
    outputs = [info(1, "box", 1, 1917, 4), info(2, "class", 1, 1917, 8)]
    of_logits = decoders.recognise([IMAGE], outputs, FamilyContext(output_ops=("CONV_2D", "ADD")))
    reported = decoders.recognise([IMAGE], outputs, FamilyContext(output_ops=("ADD", "LOGISTIC")))
    unreported = decoders.recognise([IMAGE], outputs, FamilyContext())
    scores = 1 / (1 + np.exp(-logits))
    expected = reported([encodings, scores], DecodeOptions(score_threshold=0.4)).detections
    assert len(expected) > 20
    for decoder, tensor in ((of_logits, logits), (unreported, logits), (unreported, scores)):
        found = decoder([encodings, tensor], DecodeOptions(score_threshold=0.4)).detections
        assert [d.class_id for d in found] == [d.class_id for d in expected]
        assert [d.score for d in found] == pytest.approx([d.score for d in expected], abs=1e-6)
        assert [d.box.x_min for d in found] == pytest.approx([d.box.x_min for d in expected])


def test_suppression_agrees_with_opencv() -> None:
    chance = np.random.default_rng(5)
    corners = chance.uniform(0, 0.8, (400, 2))
    rows = np.concatenate((corners, corners + chance.uniform(0.05, 0.3, (400, 2))), axis=1)
    scores = np.sort(chance.uniform(0.1, 1, 400))[::-1]
    xywh = np.concatenate((rows[:, 1::-1], (rows[:, 2:] - rows[:, :2])[:, ::-1]), axis=1)
    for threshold in (0.2, 0.45, 0.6):
        expected = cv2.dnn.NMSBoxes((xywh * 10000).tolist(), scores.tolist(), 0.0, threshold)
        found = boxes_module.suppress(rows, threshold, 1000)
        assert found.tolist() == list(np.ravel(expected))
        assert boxes_module.suppress(rows, threshold, 7).tolist() == found[:7].tolist()
    assert len(boxes_module.suppress(rows, 0.5, 0)) == 0
    assert len(boxes_module.suppress(rows[:0], 0.5, 10)) == 0


@pytest.mark.parametrize(("threshold", "kept"), [(0.4375, [0]), (0.5, [0, 1]), (0.5625, [0, 1])])
def test_box_that_shares_exactly_the_threshold_remains(threshold: float, kept: list[int]) -> None:
    """The op of the runtime drops what is above it; all numbers here are exact in binary."""
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 1]], np.float32)
    assert boxes_module.suppress(boxes, threshold, 9).tolist() == kept


@needs_shared
def test_generated_anchors_are_those_of_the_published_model() -> None:
    model = tflite_file.read(COCO)
    tensor = model.main.tensors[model.main.ops[-1].inputs[2]]
    theirs = model.constant(tensor.index).astype(np.float32) * tensor.scales[0]
    ours = anchors.mobilenet_300()
    assert ours.shape == theirs.shape == (anchors.MOBILENET_300_COUNT, 4)
    # The published ones are uint8: half a step, and the clipping of its largest value.
    assert np.abs(ours - theirs).max() < 1.05 * tensor.scales[0] / 2 + 0.01


PICTURES = [
    SHARED / "media" / "images" / name for name in ("cat.png", "grace_hopper.png", "couple.jpg")
] + sorted((SHARED / "coco-mini" / "images").glob("*.jpg"))[:12]


@needs_shared
def test_raw_decoding_equals_the_op_of_the_runtime() -> None:
    whole, cut = (
        Net(COCO.read_bytes()),
        Net(cut_custom_op(COCO.read_bytes(), tflite_file.SSD_POSTPROCESS_OP)),
    )
    names = labels.load(COCO_LABELS)
    with_op = decoders.recognise(
        whole.inputs, whole.outputs, decoders.context_of(whole.file, names)
    )
    anchor = whole.file.main.tensors[whole.file.main.ops[-1].inputs[2]]
    real = whole.file.constant(anchor.index).astype(np.float32) * np.float32(anchor.scales[0])
    context = dataclasses.replace(decoders.context_of(cut.file, names), anchors=real)
    raw = decoders.recognise(cut.inputs, cut.outputs, context)
    assert isinstance(raw, ssd_raw.RawSsd)
    assert raw.probabilities is True
    # The op's own settings: 10 detections, IoU 0.6, any score.
    options = DecodeOptions(score_threshold=1e-8, max_detections=10, nms_iou=0.6)
    compared = 0
    for picture in PICTURES:
        theirs = [whole(picture)[place] for place in with_op.outputs]
        expected = with_op(theirs, options).detections
        tensors = cut(picture)
        found = raw([tensors[place] for place in raw.outputs], options).detections
        assert [d.class_id for d in found] == [d.class_id for d in expected], picture
        assert [d.label for d in found] == [d.label for d in expected]
        for mine, their in zip(found, expected, strict=True):
            assert mine.score == pytest.approx(their.score, abs=1e-6)
            ours, op = dataclasses.astuple(mine.box), dataclasses.astuple(their.box)
            assert ours == pytest.approx(op, abs=300 * 1e-5)
            compared += 1
    assert compared == 10 * len(PICTURES)


@needs_shared
@pytest.mark.parametrize(("picture", "label"), [("cat.png", "cat"), ("grace_hopper.png", "person")])
def test_real_pictures_get_the_right_label_and_box(picture: str, label: str) -> None:
    net = Net(COCO.read_bytes())
    context = decoders.context_of(net.file, labels.load(COCO_LABELS))
    decoder = decoders.recognise(net.inputs, net.outputs, context)
    tensors = net(SHARED / "media" / "images" / picture)
    found = decoder([tensors[place] for place in decoder.outputs], DecodeOptions()).detections
    assert found[0].label == label
    box = found[0].box
    assert (box.x_max - box.x_min) * (box.y_max - box.y_min) > 0.3 * 300 * 300


def test_raw_decoding_finds_sixty_objects_among_all_anchors() -> None:
    """What it costs is a figure of ``scripts/bench --check``."""
    chance = np.random.default_rng(9)
    scores = chance.beta(0.2, 40, (1, 1917, 91)).astype(np.float32)
    hot = chance.integers(0, 1917, 60)
    scores[0, hot, chance.integers(1, 91, 60)] = chance.uniform(0.5, 1, 60)
    encodings = chance.normal(0, 1, (1, 1917, 4)).astype(np.float32)
    outputs = [info(1, "box", 1, 1917, 4), info(2, "class", 1, 1917, 91)]
    decoder = decoders.recognise([IMAGE], outputs, FamilyContext(output_ops=("ADD", "LOGISTIC")))
    assert len(decoder([encodings, scores], DecodeOptions()).detections) > 20
