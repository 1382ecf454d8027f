"""NanoDet's layouts, on tensors made by its code's rules."""

from __future__ import annotations

import numpy as np
import pytest

from edgecam.core.errors import ModelError
from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.tensors import TensorInfo
from edgecam.inference import decoders
from edgecam.inference.decoders.family import FamilyContext

HEIGHT, WIDTH = 64, 96
COUNTS = (96, 24, 6)
FLOAT = np.dtype(np.float32)
OPTIONS = DecodeOptions(score_threshold=0.4, nms_iou=0.6)


def recognised(shapes: list[tuple[int, ...]], names: tuple[str, ...] | None = None) -> Decoder:
    image = TensorInfo(0, "image", (1, HEIGHT, WIDTH, 3), FLOAT)
    outputs = [TensorInfo(n, f"Identity_{n}", shape, FLOAT) for n, shape in enumerate(shapes, 1)]
    return decoders.recognise([image], outputs, FamilyContext(labels=names))


def distances(bins: int, *sides: float) -> np.ndarray:
    """Logits whose mean is each of ``sides``, in strides: the two bins around it."""
    logits = np.full((4, bins), -50.0, np.float32)
    for row, side in zip(logits, sides, strict=True):
        low = int(side)
        share = side - low
        row[low] = np.log(max(1.0 - share, 1e-9))
        if share:
            row[low + 1] = np.log(share)
    return logits.reshape(-1)


def tensors(counts: tuple[int, ...], classes: int, bins: int) -> list[np.ndarray]:
    scores = [np.zeros((1, count, classes), np.float32) for count in counts]
    return scores + [np.zeros((1, count, 4 * bins), np.float32) for count in counts]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 2, 0, 4, 1, 3)])
def test_a_box_reaches_from_its_cell_by_the_mean_of_each_sides_bins(order: tuple[int, ...]) -> None:
    made = tensors(COUNTS, 80, 11)
    # Row 1, column 2 of stride 16: its middle is (40, 24).
    made[1][0, 1 * 6 + 2, 16] = 0.9
    made[4][0, 1 * 6 + 2] = distances(11, 1.5, 1.0, 2.0, 1.25)
    shuffled = [made[place] for place in order]
    decoder = recognised([tensor.shape for tensor in shuffled])
    assert (decoder.family, decoder.finds, decoder.fit) == ("nanodet", "boxes", "letterbox")
    assert decoder.why == "80 classes and 11 bins for each side of a box at 126 places"
    (found,) = decoder([shuffled[place] for place in decoder.outputs], OPTIONS).detections
    assert (found.label, found.class_id, found.score) == ("dog", 16, pytest.approx(0.9))
    box = found.box
    edges = (box.x_min, box.y_min, box.x_max, box.y_max)
    assert edges == pytest.approx((16.0, 8.0, 72.0, 44.0), abs=1e-3)


@pytest.mark.parametrize(("strides", "middle"), [(3, 4.0), (4, 0.0)], ids=["nanodet", "plus"])
def test_all_strides_in_one_output(strides: int, middle: float) -> None:
    counts = (*COUNTS, 2)[:strides]
    decoder = recognised([(1, sum(counts), 80 + 32)])
    rows = np.zeros((1, sum(counts), 112), np.float32)
    # Row 2, column 3 of stride 8.
    rows[0, 2 * 12 + 3, 0] = 0.5
    rows[0, 2 * 12 + 3, 80:] = distances(8, 1.0, 1.0, 2.0, 2.0)
    (found,) = decoder([rows], OPTIONS).detections
    assert found.label == "person"
    box = found.box
    edges = (box.x_min, box.y_min, box.x_max, box.y_max)
    x, y = 24.0 + middle, 16.0 + middle
    assert edges == pytest.approx((x - 8, y - 8, x + 16, y + 16), abs=1e-3)


def test_boxes_suppress_each_other_within_a_class_and_end_at_the_picture() -> None:
    made = tensors(COUNTS, 2, 11)
    for cell, score, class_ in ((0, 0.8, 0), (1, 0.9, 0), (6, 0.7, 1)):
        made[1][0, cell, class_] = score
        made[4][0, cell] = distances(11, 9.0, 9.0, 9.0, 9.0)
    decoder = recognised([tensor.shape for tensor in made], ("cat", "dog"))
    found = decoder(made, OPTIONS).detections
    assert [d.label for d in found] == ["cat", "dog"]
    assert [d.score for d in found] == pytest.approx([0.9, 0.7])
    for detection in found:
        box = detection.box
        assert (box.x_min, box.y_min, box.x_max, box.y_max) == (0.0, 0.0, WIDTH, HEIGHT)
    lower = DecodeOptions(score_threshold=0.75)
    assert len(decoder(made, lower).detections) == 1
    assert decoder(tensors(COUNTS, 2, 11), OPTIONS).detections == ()


def test_what_is_not_finite_is_no_box() -> None:
    made = tensors(COUNTS, 80, 11)
    made[0][0, :3, 0] = (0.9, np.nan, np.inf)
    made[3][0, 0, 5] = np.nan
    decoder = recognised([tensor.shape for tensor in made])
    assert all(np.isfinite(d.score) for d in decoder(made, OPTIONS).detections)


def test_labels_of_another_number_of_classes() -> None:
    shapes = [tensor.shape for tensor in tensors(COUNTS, 80, 11)]
    with pytest.raises(ModelError, match="the label list has 2 entries but the NanoDet has 80"):
        recognised(shapes, ("cat", "dog"))
