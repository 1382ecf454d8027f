"""Document edges: a map of how likely each cell lies on the outline of a page.

One output [1, h, w, 1] (or several, as of an HED with its side outputs; the fused one counts),
of probabilities or logits, at the input's size or a fraction of it. Every set of four lines that
the map suggests, by its contours or by a Hough transform, is a candidate; the one whose sides are
best supported is refined against the map to a fraction of a cell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.quadrilateral import Corners, clockwise
from edgecam.core.result import Decoded, Document
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference.decoders import page_corners as outline
from edgecam.inference.decoders.family import (
    FamilyContext,
    FamilyDecoder,
    holds_probabilities,
    image_size,
)

LAYOUT = "document edges: [1, h, w, 1], called after edges"

_NAME = re.compile(r"edge|hed|fuse|dsn")
_FUSED = re.compile(r"fuse|edges")
_MIN_CELLS = 32


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Documents(FamilyDecoder):
    """``cell_px``: input pixels per cell of the map, (x, y); ``probabilities`` None: by value."""

    cell_px: tuple[float, float]
    probabilities: bool | None
    family: str = "documents"
    finds: Finds = "documents"
    fit: str = "stretch"

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the page whose sides the map supports best, if its score suffices."""
        found = outline.page(self.edges(tensors[0]))
        if found is None or found.score < options.score_threshold:
            return Decoded()
        return Decoded(documents=(self._document(found),))

    def _document(self, found: outline.Outline) -> Document:
        other = self._document(found.runner_up) if found.runner_up is not None else None
        return Document(found.score, self._in_pixels(found.corners), other)

    def edges(self, tensor: Tensor) -> NDArray[np.float32]:
        """The map as probabilities, float32[h, w]; what is no number is no edge."""
        values = np.nan_to_num(np.asarray(tensor, np.float32)[0, :, :, 0])
        known = self.probabilities
        if known is None:
            known = bool(values.min() >= 0.0 and values.max() <= 1.0)
        return values if known else 1.0 / (1.0 + np.exp(-values.clip(-30.0, 30.0)))

    def _in_pixels(self, corners: Corners) -> Corners:
        return clockwise((corners + 0.5) * self.cell_px - 0.5)


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder | None:
    """Return the decoder if all outputs are maps of one channel and one is called after edges."""
    size = image_size(inputs)
    if size is None or not outputs:
        return None
    for info in outputs:
        if len(info.shape) != 4 or info.shape[0] != 1 or info.shape[3] != 1:
            return None
    place = _fused(outputs, context)
    if place is None:
        return None
    height, width = outputs[place].shape[1:3]
    if min(height, width) < _MIN_CELLS or height > size[0] or width > size[1]:
        return None
    return Documents(
        why=f"edge map {list(outputs[place].shape)}",
        outputs=(place,),
        cell_px=(size[1] / width, size[0] / height),
        probabilities=holds_probabilities(outputs[place], context.output_op(place)),
    )


def _fused(outputs: Sequence[TensorInfo], context: FamilyContext) -> int | None:
    """The place of the output that counts: by its name, the last one where none says it is."""
    for names in context.namings(outputs):
        if any(_NAME.search(name) for name in names):
            fused = [place for place, name in enumerate(names) if _FUSED.search(name)]
            return fused[-1] if fused else len(names) - 1
    return None
