"""FOMO of Edge Impulse: what is where, on a coarse grid, without sizes.

One output [1, H / 8, W / 8, 1 + C]: for each cell probabilities of background and C classes
(strides 4 and 16 are known too). Neighbouring cells of a class are one thing; its box is those
cells, so that its middle is what counts, and its score is the best cell's.

Source: edge-impulse-sdk/classifier/ei_fill_result_struct.h. Checked on a published face detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecam.core.opencv import cv2
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded
from edgecam.core.tensors import ZERO_TO_ONE, Normalization, Tensor, TensorInfo
from edgecam.inference import labels
from edgecam.inference.decoders.boxes import Array, detections
from edgecam.inference.decoders.family import (
    FamilyContext,
    FamilyDecoder,
    holds_probabilities,
    image_size,
)

LAYOUT = "FOMO: probabilities of background and C classes for each cell, [1, H / 8, W / 8, 1 + C]"

_STRIDES = (8, 16, 4)
_TOUCHING = 8


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fomo(FamilyDecoder):
    """Bound to an input of ``height_px`` x ``width_px``, a cell for every ``stride_px``."""

    height_px: int
    width_px: int
    stride_px: int
    family: str = "fomo"
    finds: Finds = "boxes"
    normalization: Normalization = ZERO_TO_ONE

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return a box for each group of neighbouring cells of one class."""
        cells = np.asarray(tensors[0][0], np.float32)[:, :, 1:]
        classes = cells.argmax(axis=2)
        best = cells.max(axis=2)
        is_found = best >= np.float32(options.score_threshold)
        found: list[tuple[float, int, tuple[int, int, int, int]]] = []
        for number in np.unique(classes[is_found]).tolist():
            mask = (is_found & (classes == number)).astype(np.uint8)
            _, places, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=_TOUCHING)
            # The first is what the mask leaves out.
            for place, (left, top, width, height, _) in enumerate(stats[1:].tolist(), 1):
                score = float(best[places == place].max())
                found.append((score, number, (top, left, top + height, left + width)))
        found.sort(key=lambda one: -one[0])
        found = found[: options.max_detections]
        sides = np.array((self.height_px, self.width_px) * 2, np.float32)
        boxes: Array = np.array([box for _, _, box in found], np.float32).reshape(-1, 4)
        return detections(
            boxes * self.stride_px / sides,
            np.array([number for _, number, _ in found], np.intp),
            np.array([score for score, _, _ in found], np.float32),
            self.labels,
            (self.height_px, self.width_px),
        )


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder | None:
    """Return the decoder if the one output is a map of probabilities, a cell for every 8 pixels.

    Raises:
        ModelError: it is, and the labels are of another number of classes.
    """
    size = image_size(inputs)
    if size is None or len(outputs) != 1 or len(outputs[0].shape) != 4:
        return None
    batch, rows, columns, channels = outputs[0].shape
    strides = [s for s in _STRIDES if (rows, columns) == (size[0] // s, size[1] // s)]
    if batch != 1 or channels < 2 or not strides:
        return None
    if not holds_probabilities(outputs[0], context.output_op(0)):
        return None
    names = context.labels
    return Fomo(
        height_px=size[0],
        width_px=size[1],
        stride_px=strides[0],
        labels=labels.fit(names, channels - 1, "FOMO") if names is not None else None,
        why=f"background and {channels - 1} classes for each of {rows}x{columns} cells",
    )
