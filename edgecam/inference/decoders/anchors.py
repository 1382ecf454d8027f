"""The anchors of an SSD: out of the model, or those of the published 300x300 MobileNets.

Anchors are float32[A, 4]: y centre, x centre, height, width, fractions of the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import ModelError
from edgecam.inference.tflite.file import ModelFile
from edgecam.inference.tflite.metadata import ANCHORS_NAME

Anchors = NDArray[np.float32]

# ``ssd_anchor_generator`` of the TensorFlow Object Detection API as its MobileNet V1 and V2
# configurations for 300x300 set it (``num_layers: 6, min_scale: 0.2, max_scale: 0.95,
# reduce_boxes_in_lowest_layer``), and the sides of its six feature maps.
_SIDES = (19, 10, 5, 3, 2, 1)
_MIN_SCALE, _MAX_SCALE = 0.2, 0.95
_RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)
MOBILENET_300_COUNT = 3 * 19 * 19 + 6 * sum(side * side for side in _SIDES[1:])


def of(model: ModelFile) -> Anchors | None:
    """Return the anchors that ``edgecam convert --raw`` keeps in a model, None without.

    Raises:
        ModelError: they are not rows of four finite numbers.
    """
    raw = model.metadata.get(ANCHORS_NAME)
    if raw is None:
        return None
    if len(raw) % 16 == 0:
        found = np.frombuffer(raw, "<f4").reshape(-1, 4)
        if np.isfinite(found).all():
            return found
    raise ModelError(
        f"the anchors in {model.name} are damaged: expected rows of 4 float32, found {len(raw)}"
        " bytes; convert the model again"
    )


def mobilenet_300() -> Anchors:
    """Return the 1,917 anchors of SSD MobileNet V1 and V2 at 300x300."""
    return grid([(side, side) for side in _SIDES])


def grid(sides: Sequence[tuple[int, int]]) -> Anchors:
    """Return the anchors of feature maps of those (height, width), from the finest on.

    3 in each cell of the first one, 6 of the others.

    Source: ``multiple_grid_anchor_generator.create_ssd_anchors``, Object Detection API.
    """
    step = (_MAX_SCALE - _MIN_SCALE) / (len(sides) - 1)
    scales = [_MIN_SCALE + step * layer for layer in range(len(sides))] + [1.0]
    rows: list[tuple[float, float, float, float]] = []
    for layer, (height, width) in enumerate(sides):
        boxes = [(scales[layer], ratio) for ratio in _RATIOS]
        boxes.append((math.sqrt(scales[layer] * scales[layer + 1]), 1.0))
        if layer == 0:
            boxes = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
        for y in range(height):
            for x in range(width):
                rows += [
                    (
                        (y + 0.5) / height,
                        (x + 0.5) / width,
                        scale / math.sqrt(ratio),
                        scale * math.sqrt(ratio),
                    )
                    for scale, ratio in boxes
                ]
    return np.array(rows, np.float32)
