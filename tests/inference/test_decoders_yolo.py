"""YOLO's layouts, on tensors made by what Ultralytics documents of its exports."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgecam.core.errors import ModelError
from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.tensors import TensorInfo
from edgecam.inference import decoders, labels
from edgecam.inference.decoders.family import FamilyContext
from edgecam.inference.tflite.metadata import Metadata

SIDE = 64
CELLS = 64 + 16 + 4
FLOAT = np.dtype(np.float32)
OPTIONS = DecodeOptions(score_threshold=0.5, nms_iou=0.5)
# Centre x, centre y, width, height as fractions; the same as x, y, x, y in pixels of 64.
ONE, ONE_PX = (0.5, 0.25, 0.25, 0.5), (24.0, 0.0, 40.0, 32.0)


def recognised(shape: tuple[int, ...], names: tuple[str, ...] | None = None) -> Decoder:
    image = TensorInfo(0, "image", (1, SIDE, SIDE, 3), FLOAT)
    context = FamilyContext(labels=names)
    return decoders.recognise([image], [TensorInfo(1, "Identity", shape, FLOAT)], context)


def rows_v8(classes: int, pixels: bool) -> np.ndarray:
    rows = np.zeros((CELLS, 4 + classes), np.float32)
    rows[:, :4] = np.random.default_rng(0).uniform(0.1, 0.9, (CELLS, 4))
    rows[3, :4] = rows[4, :4] = rows[5, :4] = ONE
    rows[3, 4], rows[4, 4], rows[5, 5] = 0.8, 0.9, 0.7
    if pixels:
        rows[:, :4] *= SIDE
    return rows


@pytest.mark.parametrize("pixels", [False, True], ids=["fractions", "pixels"])
def test_boxes_suppress_each_other_within_a_class(pixels: bool) -> None:
    decoder = recognised((1, 6, CELLS), ("cat", "dog"))
    assert (decoder.family, decoder.finds, decoder.fit) == ("yolo", "boxes", "letterbox")
    assert "by the values" in decoder.why
    found = decoder([rows_v8(2, pixels).T[None]], OPTIONS).detections
    assert [d.label for d in found] == ["cat", "dog"]
    assert [d.score for d in found] == pytest.approx([0.9, 0.7])
    for detection in found:
        box = detection.box
        assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx(ONE_PX)


@pytest.mark.parametrize("anchors", [1, 3])
def test_v5_multiplies_by_the_probability_of_an_object(anchors: int) -> None:
    decoder = recognised((1, anchors * CELLS, 85))
    rows = np.zeros((1, anchors * CELLS, 85), np.float32)
    rows[0, 7, :5] = (*ONE, 0.8)
    rows[0, 7, 5 + 16] = 0.75
    (found,) = decoder([rows], OPTIONS).detections
    assert (found.label, found.class_id) == ("dog", 16)
    assert found.score == pytest.approx(0.6)
    assert decoder([rows], DecodeOptions(score_threshold=0.7)).detections == ()


@pytest.mark.parametrize("boxes_px", [False, True])
@pytest.mark.parametrize("keypoints_px", [False, True])
def test_people_have_keypoints_in_pixels_or_fractions_apart_from_boxes(
    boxes_px: bool, keypoints_px: bool
) -> None:
    decoder = recognised((1, 56, CELLS))
    assert decoder.finds == "poses"
    rows = np.zeros((CELLS, 56), np.float32)
    rows[:, :4] = 0.5
    rows[9, :5] = (*ONE, 0.9)
    rows[9, 5:] = np.tile((0.5, 0.25, 0.75), 17)
    if boxes_px:
        rows[:, :4] *= SIDE
    if keypoints_px:
        rows[9, 5::3] *= SIDE
        rows[9, 6::3] *= SIDE
    (pose,) = decoder([rows.T[None]], OPTIONS).poses
    assert pose.score == pytest.approx(0.9)
    assert pose.xy.tolist() == [[32.0, 16.0]] * 17
    assert pose.scores.tolist() == [0.75] * 17


@pytest.mark.parametrize("scale", [1, SIDE])
def test_end_to_end_rows_are_boxes_already(scale: int) -> None:
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0] = (0.375 * scale, 0, 0.625 * scale, 0.5 * scale, 0.9, 1)
    rows[0, 1] = (0.375 * scale, 0, 0.625 * scale, 0.5 * scale, 0.8, 1)
    found = recognised((1, 300, 6), ("cat", "dog"))([rows], OPTIONS).detections
    assert [(d.label, d.box.x_min, d.box.y_max) for d in found] == [("dog", 24.0, 32.0)] * 2


@pytest.mark.parametrize("masks_first", [False, True], ids=["masks last", "masks first"])
@pytest.mark.parametrize("rows_first", [False, True])
def test_boxes_of_segmentation_are_read_without_its_masks(
    masks_first: bool, rows_first: bool
) -> None:
    quarter, depth = SIDE // 4, 32
    masks = (1, depth, quarter, quarter) if masks_first else (1, quarter, quarter, depth)
    shapes = [(1, 6 + depth, CELLS), masks] if rows_first else [masks, (1, 6 + depth, CELLS)]
    image = TensorInfo(0, "image", (1, SIDE, SIDE, 3), FLOAT)
    infos = [TensorInfo(1 + n, f"Identity_{n}", shape, FLOAT) for n, shape in enumerate(shapes)]
    decoder = decoders.recognise([image], infos, FamilyContext(labels=("cat", "dog")))
    assert decoder.outputs == (0 if rows_first else 1,)
    # Far beyond any score: a mask's values are no classes.
    values = np.full((CELLS, depth), 9.0, np.float32)
    rows = np.concatenate((rows_v8(2, pixels=False), values), axis=1)
    found = decoder([rows.T[None]], OPTIONS).detections
    assert [d.label for d in found] == ["cat", "dog"]
    assert [d.score for d in found] == pytest.approx([0.9, 0.7])


def test_end_to_end_rows_of_segmentation_are_boxes_too() -> None:
    image = TensorInfo(0, "image", (1, SIDE, SIDE, 3), FLOAT)
    shapes = [(1, 300, 38), (1, SIDE // 4, SIDE // 4, 32)]
    infos = [TensorInfo(1 + n, f"Identity_{n}", shape, FLOAT) for n, shape in enumerate(shapes)]
    decoder = decoders.recognise([image], infos, FamilyContext())
    rows = np.zeros((1, 300, 38), np.float32)
    rows[0, 0, :6] = (0.375, 0.0, 0.625, 0.5, 0.9, 2)
    (found,) = decoder([rows], OPTIONS).detections
    assert found.class_id == 2
    assert found.box.x_max == pytest.approx(40.0)


@pytest.mark.parametrize(
    "shape", [(1, 8, 8, 32), (1, 15, 16, 32), (2, 16, 16, 32), (1, 16, 16, 40)]
)
def test_a_second_output_of_another_size_is_no_segmentation(shape: tuple[int, ...]) -> None:
    image = TensorInfo(0, "image", (1, SIDE, SIDE, 3), FLOAT)
    infos = [TensorInfo(1, "Identity", (1, 38, CELLS), FLOAT), TensorInfo(2, "p", shape, FLOAT)]
    with pytest.raises(ModelError, match="known"):
        decoders.recognise([image], infos, FamilyContext())


def test_names_of_another_number_are_refused_in_one_line() -> None:
    for shape in ((1, 84, CELLS), (1, 3 * CELLS, 85)):
        with pytest.raises(ModelError, match="2 entries but the YOLO has 80 classes") as raised:
            recognised(shape, ("cat", "dog"))
        assert "\n" not in str(raised.value)


def test_values_that_are_no_numbers_find_nothing() -> None:
    rows = np.full((1, 84, CELLS), np.nan, np.float32)
    assert recognised((1, 84, CELLS))([rows], OPTIONS).detections == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("temp_meta.txt", "{'stride': 32, 'names': {0: 'cat', 1: \"dog's\"}}"),
        ("metadata.json", json.dumps({"names": {"0": "cat", "1": "dog's"}})),
        ("metadata.json", json.dumps({"names": ["cat", "dog's"]})),
    ],
)
def test_names_stand_in_what_the_exporter_packs(name: str, content: str) -> None:
    found = Metadata("", "", (), (), {name: content.encode()})
    assert labels.resolve(None, None, None, found) == ("cat", "dog's")


@pytest.mark.parametrize("content", ["", "{", "[]", "{'names': 3}", "__import__('os')", "\xff"])
def test_a_damaged_list_of_names_is_one_line(content: str) -> None:
    found = Metadata("", "", (), (), {"temp_meta.txt": content.encode("latin-1")})
    with pytest.raises(ModelError, match="holds no names of classes") as raised:
        labels.resolve(None, None, None, found)
    assert "\n" not in str(raised.value)
