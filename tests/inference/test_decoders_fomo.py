"""FOMO's grid, on tensors made by the rules of Edge Impulse's library."""

from __future__ import annotations

import numpy as np
import pytest

from edgecam.core.errors import ModelError
from edgecam.core.protocols import DecodeOptions, Decoder
from edgecam.core.tensors import TensorInfo
from edgecam.inference import decoders
from edgecam.inference.decoders.family import FamilyContext

OPTIONS = DecodeOptions(score_threshold=0.5)
BYTES = np.dtype(np.int8)
# A softmax in int8: 256 steps of 0..1.
PROBABILITIES = (1 / 256, -128)


def recognised(
    shape: tuple[int, ...], names: tuple[str, ...] | None = None, side: int = 96
) -> Decoder:
    image = TensorInfo(0, "x", (1, side, side, 3), BYTES, 1 / 255, -128)
    output = TensorInfo(1, "StatefulPartitionedCall:0", shape, BYTES, *PROBABILITIES)
    return decoders.recognise([image], [output], FamilyContext(labels=names))


def cells(*found: tuple[int, int, int, float]) -> np.ndarray:
    grid = np.zeros((1, 12, 12, 3), np.float32)
    grid[..., 0] = 1.0
    for row, column, place, score in found:
        grid[0, row, column, place] = score
        grid[0, row, column, 0] = 1.0 - score
    return grid


def test_neighbouring_cells_of_a_class_are_one_thing() -> None:
    decoder = recognised((1, 12, 12, 3), ("cup", "ball"))
    assert (decoder.family, decoder.finds) == ("fomo", "boxes")
    assert decoder.why == "background and 2 classes for each of 12x12 cells"
    # Three cells in a corner that touch, one of another class beside them, one apart, one unsure.
    grid = cells((1, 1, 1, 0.6), (1, 2, 1, 0.9), (2, 3, 1, 0.7), (1, 3, 2, 0.8), (8, 8, 1, 0.55))
    grid[0, 10, 2] = (0.6, 0.4, 0.0)
    found = decoder([grid], OPTIONS).detections
    assert [(d.label, d.class_id) for d in found] == [("cup", 0), ("ball", 1), ("cup", 0)]
    assert [d.score for d in found] == pytest.approx([0.9, 0.8, 0.55])
    edges = [(d.box.x_min, d.box.y_min, d.box.x_max, d.box.y_max) for d in found]
    assert edges == [(8, 8, 32, 24), (24, 8, 32, 16), (64, 64, 72, 72)]
    assert len(decoder([grid], DecodeOptions(score_threshold=0.3)).detections) == 4
    assert len(decoder([grid], DecodeOptions(max_detections=1)).detections) == 1
    assert decoder([cells()], OPTIONS).detections == ()


@pytest.mark.parametrize(("side", "stride"), [(96, 8), (160, 8), (192, 16), (48, 4)])
def test_the_grid_says_the_stride(side: int, stride: int) -> None:
    decoder = recognised((1, side // stride, side // stride, 3), side=side)
    grid = np.zeros((1, side // stride, side // stride, 3), np.float32)
    grid[0, 1, 2, 1] = 0.9
    (found,) = decoder([grid], OPTIONS).detections
    assert (found.label, found.box.x_min, found.box.y_max) == ("class_0", 2 * stride, 2 * stride)


def test_labels_may_have_the_background_in_front() -> None:
    assert recognised((1, 12, 12, 2), ("background", "face")).labels == ("face",)
    with pytest.raises(ModelError, match="the label list has 4 entries but FOMO has 2 classes"):
        recognised((1, 12, 12, 3), ("a", "b", "c", "d"))


def test_a_grid_of_raw_values_is_no_fomo() -> None:
    image = TensorInfo(0, "x", (1, 192, 192, 3), np.dtype(np.uint8), 1 / 255, 0)
    output = TensorInfo(1, "Identity", (1, 12, 12, 30), np.dtype(np.float32))
    context = FamilyContext(output_ops=("CONV_2D",))
    with pytest.raises(ModelError, match="the model is of no known family"):
        decoders.recognise([image], [output], context)
