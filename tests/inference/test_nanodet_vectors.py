"""NanoDet's decoder on what the bundled network makes of a frame of the bundled clip.

``tests/data/nanodet/people.npz`` holds the outputs at the places that score 0.04 or more, as
float16. The expected boxes come from the plain loop here, one place, one side and one bin at a
time, as gfl_head.py of NanoDet writes it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgecam.core.protocols import DecodeOptions
from edgecam.core.tensors import TensorInfo
from edgecam.inference import decoders
from edgecam.inference.decoders.family import FamilyContext

SIDE, CLASSES, BINS = 416, 80, 11
FILE = Path(__file__).resolve().parents[1] / "data" / "nanodet" / "people.npz"
FLOAT = np.dtype(np.float32)
Row = tuple[float, int, list[float]]


def outputs() -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Class scores and distances of each stride, whole."""
    made = {}
    with np.load(FILE) as file:
        for stride in (8, 16, 32):
            count = (SIDE // stride) ** 2
            scores = np.zeros((count, CLASSES), np.float32)
            distances = np.zeros((count, 4 * BINS), np.float32)
            places = file[f"places_{stride}"]
            scores[places] = file[f"scores_{stride}"]
            distances[places] = file[f"distances_{stride}"]
            made[stride] = scores, distances
    return made


def overlap(one: list[float], other: list[float]) -> float:
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    common = max(height, 0.0) * max(width, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


def by_the_paper(threshold: float, iou: float) -> list[Row]:
    """Score, class and box (y min, x min, y max, x max in pixels) of all that remain."""
    candidates: list[Row] = []
    for stride, (scores, distances) in outputs().items():
        columns = SIDE // stride
        for place in np.flatnonzero(scores.max(axis=1) >= threshold).tolist():
            number = int(scores[place].argmax())
            y, x = (place // columns + 0.5) * stride, (place % columns + 0.5) * stride
            sides = []
            for side in range(4):
                logits = distances[place, side * BINS : (side + 1) * BINS].tolist()
                weights = [math.exp(logit - max(logits)) for logit in logits]
                mean = sum(bin_ * weight for bin_, weight in enumerate(weights)) / sum(weights)
                sides.append(mean * stride)
            left, top, right, bottom = sides
            box = [min(max(edge, 0.0), SIDE) for edge in (y - top, x - left, y + bottom, x + right)]
            candidates.append((float(scores[place, number]), number, box))
    candidates.sort(key=lambda row: -row[0])
    kept: list[Row] = []
    for row in candidates:
        if all(row[1] != other[1] or overlap(row[2], other[2]) <= iou for other in kept):
            kept.append(row)
    return kept


@pytest.mark.parametrize("threshold", [0.05, 0.35])
def test_boxes_are_those_of_the_paper(threshold: float) -> None:
    made = outputs()
    tensors = [pair[part][None] for part in (0, 1) for pair in made.values()]
    image = TensorInfo(0, "image", (1, SIDE, SIDE, 3), FLOAT)
    infos = [TensorInfo(n, f"out_{n}", each.shape, FLOAT) for n, each in enumerate(tensors, 1)]
    decoder = decoders.recognise([image], infos, FamilyContext())
    options = DecodeOptions(score_threshold=threshold, nms_iou=0.6, max_detections=100)
    found = decoder([tensors[place] for place in decoder.outputs], options).detections
    expected = by_the_paper(threshold, 0.6)[:100]
    assert len(found) == len(expected) > 5
    assert {one.label for one in found} >= {"person"}
    for one, (score, number, box) in zip(found, expected, strict=True):
        assert (one.class_id, one.score) == (number, pytest.approx(score, abs=1e-6))
        edges = [one.box.y_min, one.box.x_min, one.box.y_max, one.box.x_max]
        assert edges == pytest.approx(box, abs=0.01)
