"""NanoDet, and others with its head: boxes as distributions of distances (GFL).

Two outputs for each stride of 8, 16, 32: class probabilities [1, n, C] and [1, n, 4 x K], K bins
for the distance to each of left, top, right, bottom; or all strides' in one output
[1, N, C + 4 x K], as NanoDet exports them, NanoDet-Plus with stride 64 too. A distance is the mean
of the bins 0 to K - 1, weighted by their softmax, times the stride; it is from the middle of a
cell, NanoDet-Plus's from its top left corner. The paired form was run against the published graph;
the form in one output is by NanoDet's code.

Source: nanodet/model/head/gfl_head.py and nanodet_plus_head.py, github.com/RangiLyu/nanodet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded
from edgecam.core.tensors import Normalization, Tensor, TensorInfo
from edgecam.inference.decoders.boxes import Array, best_of_classes, detections
from edgecam.inference.decoders.coco_labels import NAMES, names_for
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, image_size

LAYOUT = """\
NanoDet: for strides 8, 16, 32 [1, n, C] and [1, n, 4 x K] each, or one [1, N, C + 4 x K]
  (K = 8 or 11)"""

# Of the published configurations: reg_max + 1.
_BINS = (11, 8)
_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
# ImageNet's, in RGB; the published networks take BGR, a .tflite that edgecam made of them RGB.
_IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NanoDet(FamilyDecoder):
    """Bound to an input of ``height_px`` x ``width_px``.

    ``bins``: of a distance. ``cells``: float32[N, 3], x and y from which distances are, and the
    stride, in pixels. ``outputs``: every stride's classes, then every stride's distances; or one.
    """

    height_px: int
    width_px: int
    bins: int
    cells: NDArray[np.float32]
    family: str = "nanodet"
    finds: Finds = "boxes"
    normalization: Normalization = _IMAGENET

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the boxes that remain after suppression, the best first."""
        half = len(tensors) // 2
        if half:
            scores = [tensor[0] for tensor in tensors[:half]]
            distances = [tensor[0] for tensor in tensors[half:]]
        else:
            scores = [tensors[0][0][:, : -4 * self.bins]]
            distances = [tensors[0][0][:, -4 * self.bins :]]
        parts = [_sure(each, np.float32(options.score_threshold)) for each in scores]
        starts = np.cumsum([0, *(len(each) for each in scores)])
        logits = np.concatenate(
            [each[rows] for each, (rows, _, _) in zip(distances, parts, strict=True)]
        )
        places = [rows + start for (rows, _, _), start in zip(parts, starts[:-1], strict=True)]
        classes = np.concatenate([classes for _, classes, _ in parts])
        best = np.concatenate([best for _, _, best in parts])
        boxes = self._boxes(logits, self.cells[np.concatenate(places)])
        finite = np.isfinite(boxes).all(axis=1) & np.isfinite(best)
        boxes, classes, best = boxes[finite], classes[finite], best[finite]
        kept = best_of_classes(boxes, classes, best, options.nms_iou, options.max_detections)
        size = (self.height_px, self.width_px)
        return detections(boxes[kept], classes[kept], best[kept], self.labels, size)

    def _boxes(self, logits: Array, cells: Array) -> Array:
        """Return float32[N, 4], y min, x min, y max, x max, as fractions of the input."""
        # A bin in a row: sums of eleven numbers each are slow, sums of long rows are not.
        weights = np.ascontiguousarray(logits.reshape(-1, self.bins).T)
        with np.errstate(invalid="ignore", over="ignore"):
            weights -= weights.max(axis=0)
            np.exp(weights, out=weights)
            mean = np.arange(self.bins, dtype=np.float32) @ weights / weights.sum(axis=0)
            left, top, right, bottom = mean.reshape(-1, 4).T * cells[:, 2]
        x, y = cells[:, 0], cells[:, 1]
        limits = np.array((self.height_px, self.width_px) * 2, np.float32)
        corners = np.stack((y - top, x - left, y + bottom, x + right), axis=1) / limits
        clipped: Array = corners.clip(0.0, 1.0)
        return clipped


def _sure(scores: Array, least: np.float32) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Return the places that score ``least`` or more, with the class and score that are best."""
    # Several times as fast as their maximum along rows this short.
    classes = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), classes]
    rows = np.flatnonzero(best >= least)
    return rows, classes[rows], best[rows]


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder | None:
    """Return the decoder if the outputs have a row for each cell of the strides' maps.

    Raises:
        ModelError: they have, and the labels are of another number of classes.
    """
    size = image_size(inputs)
    if size is None or any(len(info.shape) != 3 or info.shape[0] != 1 for info in outputs):
        return None
    for strides in _STRIDES:
        counts = [-(-size[0] // stride) * -(-size[1] // stride) for stride in strides]
        for bins in _BINS:
            found = _layout([info.shape[1:] for info in outputs], counts, bins, context)
            if found is None:
                continue
            places, classes = found
            corner = 0.0 if len(strides) > len(_STRIDES[0]) else 0.5
            return NanoDet(
                height_px=size[0],
                width_px=size[1],
                bins=bins,
                cells=_cells(size, strides, corner),
                outputs=places,
                labels=names_for(context.labels, classes, "NanoDet"),
                why=f"{classes} classes and {bins} bins for each side of a box at "
                f"{sum(counts)} places",
            )
    return None


def _layout(
    shapes: Sequence[tuple[int, ...]], counts: Sequence[int], bins: int, context: FamilyContext
) -> tuple[tuple[int, ...], int] | None:
    """Return (outputs in the decoder's order, classes) if the shapes fit."""
    if len(shapes) == 1:
        ((rows, width),) = shapes
        classes = width - 4 * bins
        wanted = len(context.labels) if context.labels is not None else len(NAMES)
        return ((0,), classes) if rows == sum(counts) and classes == wanted else None
    if len(shapes) != 2 * len(counts):
        return None
    widths = {width for _, width in shapes} - {4 * bins}
    if len(widths) != 1:
        return None
    (classes,) = widths
    by_shape: Mapping[tuple[int, ...], int] = {shape: at for at, shape in enumerate(shapes)}
    wanted_shapes = [(count, width) for width in (classes, 4 * bins) for count in counts]
    if set(by_shape) != set(wanted_shapes):
        return None
    return tuple(by_shape[shape] for shape in wanted_shapes), classes


def _cells(size: tuple[int, int], strides: Sequence[int], middle: float) -> NDArray[np.float32]:
    parts = []
    for stride in strides:
        rows, columns = (-(-side // stride) for side in size)
        y, x = np.mgrid[:rows, :columns].reshape(2, -1)
        where = (np.stack((x, y), axis=1) + middle) * stride
        parts.append(np.column_stack((where, np.full(len(where), stride))))
    return np.concatenate(parts).astype(np.float32)
