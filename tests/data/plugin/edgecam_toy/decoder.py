"""Brightness: one output [1, 4, 4, 3], the mean colour of each of 16 cells; finds the brightest."""

from dataclasses import dataclass

import numpy as np

from edgecam.core.result import Box, Decoded, Detection
from edgecam.core.tensors import RAW_PIXELS

LAYOUT = "brightness: [1, 4, 4, 3]"
CELLS = 4


@dataclass(frozen=True)
class Brightness:
    """Bound to an input of ``height_px`` x ``width_px``."""

    height_px: int
    width_px: int
    family: str = "brightness"
    finds: str = "boxes"
    size_step: int | None = None
    rules: str | None = None
    skeleton: None = None
    fit: str = "stretch"
    labels: tuple[str, ...] | None = ("bright",)
    normalization = RAW_PIXELS
    why: str = "one output [1, 4, 4, 3]"
    outputs: tuple[int, ...] = (0,)

    def __call__(self, tensors, options):
        grey = np.asarray(tensors[0]).reshape(CELLS, CELLS, 3).mean(axis=2)
        row, column = np.unravel_index(grey.argmax(), grey.shape)
        high, wide = self.height_px / CELLS, self.width_px / CELLS
        box = Box(column * wide, row * high, (column + 1) * wide, (row + 1) * high)
        return Decoded(detections=(Detection("bright", 0, 0.9, box),))


def recognise(inputs, outputs, context):
    """Return the decoder if the one output is a grid of 4 x 4 colours."""
    if [info.shape for info in outputs] != [(1, CELLS, CELLS, 3)]:
        return None
    return Brightness(*inputs[0].shape[1:3])
