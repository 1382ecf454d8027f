"""YOLO exports of Ultralytics and what has their layout: boxes, or people with keypoints.

One output for N places of an input of H x W, strides 8, 16 and 32 together, or its transpose:
[1, 4 + C, N] (v8, 11): centre x, centre y, width, height, then C class probabilities;
[1, 56, N]: the same with one score and 17 x (x, y, visibility), a person each;
[1, N, 5 + C] (v5, three anchors a cell; v6, one): with the probability of any object
after the box; [1, K, 6] (end to end: v10 and later; K is 300): x, y, x, y, score, class, nothing is
left to suppress; [1, K, 57]: the same with keypoints behind the class. One row a cell is of v8
unless the number of names, or COCO's 80, says that there is an object's probability too.
Of segmentation, whose second output [1, H / 4, W / 4, M] holds masks and whose rows end in M more
values, the boxes are read and the masks are not.
Positions are fractions of the input in .tflite exports, pixels in others; their values tell, for
boxes and for keypoints each, since exports of 2023 mix them. Only the first form was seen in files;
the others are by their documentation. Input 0..1, letterboxed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import COCO, COUNT
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded, Pose
from edgecam.core.tensors import ZERO_TO_ONE, Normalization, Tensor, TensorInfo
from edgecam.inference.decoders.boxes import best_of_classes, detections
from edgecam.inference.decoders.coco_labels import NAMES, names_for
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, image_size

LAYOUT = """\
YOLO: [1, 4 + C, N] or [1, N, 5 + C] for C classes at N places, [1, 56, N] for people with
  keypoints, [1, 300, 6] end to end, [1, 300, 57] with keypoints; the boxes of segmentation"""

log = logging.getLogger(__name__)

Array = NDArray[Any]
Form = Literal["v8", "v5", "end to end"]

_STRIDES = (8, 16, 32)
_ANCHORS = 3
_POSE_COLUMNS = 5 + 3 * COUNT
# x, y, x, y, score and class of what comes out end to end, and as many rows at most.
_END_COLUMNS, _END_ROWS = 6, 1000
# As many rows at least where they stand as columns.
_END_COLUMNS_LEAST = 100
# Masks are a quarter of the input's sides.
_MASK_STRIDE = 4
# No box of a network reaches so many inputs beyond its own; no box of a pixel or two is found.
_MOST_FRACTION = 4.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Yolo(FamilyDecoder):
    """Bound to an input of ``height_px`` x ``width_px``.

    ``is_columns``: the places are columns of the output. ``keypoints_at``: number of the first
    value of a place's keypoints, where it has any. ``masks``: how many values of a mask end a row.
    """

    height_px: int
    width_px: int
    form: Form
    is_columns: bool
    keypoints_at: int = 5
    masks: int = 0
    family: str = "yolo"
    finds: Finds = "boxes"
    normalization: Normalization = ZERO_TO_ONE
    said: set[str] = field(default_factory=set, repr=False)

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the boxes or people that remain after suppression, the best first."""
        values = np.asarray(tensors[0][0], np.float32)
        if self.is_columns:
            values = values.T
        values = values[:, : values.shape[1] - self.masks]
        in_pixels = self._in_pixels("boxes", values[:, :4])
        rows, best, classes = self._sure(values, np.float32(options.score_threshold))
        is_finite = np.isfinite(values[rows]).all(axis=1)
        rows, best, classes = rows[is_finite], best[is_finite], classes[is_finite]
        boxes = self._corners(values[rows, :4], in_pixels)
        limit = options.max_poses if self.finds == "poses" else options.max_detections
        if self.form == "end to end":
            kept = np.argsort(-best, kind="stable")[:limit]
        else:
            kept = best_of_classes(boxes, classes, best, options.nms_iou, limit)
        if self.finds == "poses":
            return self._people(values[rows[kept], self.keypoints_at :], best[kept], options)
        size = (self.height_px, self.width_px)
        return detections(boxes[kept], classes[kept], best[kept], self.labels, size)

    def _sure(
        self, values: Array, least: np.float32
    ) -> tuple[NDArray[np.intp], Array, NDArray[np.intp]]:
        """Return the places that score ``least`` or more, their scores and their classes."""
        if self.form == "v8" and self.finds == "boxes":
            best = values[:, 4:].max(axis=1)
            rows = np.flatnonzero(best >= least)
            return rows, best[rows], values[rows, 4:].argmax(axis=1)
        # Of v5 the probability of an object, which no class of it exceeds.
        rows = np.flatnonzero(values[:, 4] >= least)
        best = values[rows, 4]
        if self.form == "end to end":
            return rows, best, values[rows, 5].astype(np.intp)
        if self.finds == "poses":
            return rows, best, np.zeros(len(rows), np.intp)
        scores = values[rows, 5:] * best[:, None]
        classes = scores.argmax(axis=1)
        best = scores[np.arange(len(rows)), classes]
        is_sure = best >= least
        return rows[is_sure], best[is_sure], classes[is_sure]

    def _corners(self, boxes: Array, in_pixels: bool) -> Array:
        """Return y min, x min, y max, x max as fractions of the input."""
        first, second = boxes[:, :2], boxes[:, 2:]
        if self.form != "end to end":
            first, second = first - second / 2, first + second / 2
        corners = np.concatenate((first, second), axis=1)[:, [1, 0, 3, 2]]
        sides = (self.height_px, self.width_px) * 2
        return corners / np.array(sides, np.float32) if in_pixels else corners

    def _in_pixels(self, what: str, positions: Array) -> bool:
        """Whether positions are pixels of the input, by their values, which is logged once."""
        known = positions[np.isfinite(positions)]
        is_so = bool(np.abs(known).max(initial=0.0) > _MOST_FRACTION)
        if is_so and what not in self.said:
            self.said.add(what)
            log.info("%s: %s are in pixels of the input, by their values", self.family, what)
        return is_so

    def _people(self, values: Array, best: Array, options: DecodeOptions) -> Decoded:
        keypoints = values.reshape(-1, COUNT, 3)
        in_pixels = self._in_pixels("keypoints", keypoints[:, :, :2])
        sides = np.array((1.0, 1.0) if in_pixels else (self.width_px, self.height_px), np.float64)
        return Decoded(
            poses=tuple(
                Pose(score, rows[:, :2] * sides, rows[:, 2].astype(np.float64))
                for score, rows in zip(best.tolist(), keypoints, strict=True)
                if score >= options.min_pose_score
            )
        )


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder | None:
    """Return the decoder if the one output has a row, or a column, for each place.

    Raises:
        ModelError: it has, and the labels are of another number of classes.
    """
    size = image_size(inputs)
    rows = _rows(outputs, size) if size is not None else None
    if size is None or rows is None:
        return None
    place, masks = rows
    batch, first, second = outputs[place].shape
    cells = sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in _STRIDES)
    if batch != 1:
        return None
    sized = partial(Yolo, height_px=size[0], width_px=size[1], outputs=(place,), masks=masks)
    for places, width, is_columns in ((second, first, True), (first, second, False)):
        made = partial(sized, is_columns=is_columns)
        found = _made(made, places, width - masks, cells, context.labels)
        if found is not None:
            return found
    return None


def _rows(outputs: Sequence[TensorInfo], size: tuple[int, int]) -> tuple[int, int] | None:
    """Return which output has the rows, and how many values of a mask end each of them."""
    by_rank = {len(info.shape): place for place, info in enumerate(outputs)}
    if len(outputs) == 1 and set(by_rank) == {3}:
        return 0, 0
    if len(outputs) != 2 or set(by_rank) != {3, 4}:
        return None
    sides = tuple(side // _MASK_STRIDE for side in size)
    batch, *shape = outputs[by_rank[4]].shape
    # Channels stand last in a .tflite, first where it came by way of ONNX.
    for masks, where in ((shape[-1], shape[:-1]), (shape[0], shape[1:])):
        if batch == 1 and tuple(where) == sides:
            return by_rank[3], masks
    return None


def _made(
    made: partial[Yolo],
    places: int,
    width: int,
    cells: int,
    labels: tuple[str, ...] | None,
) -> Yolo | None:
    """Return the decoder of ``places`` of ``width`` values each, None where they are no YOLO's."""
    # A place has never many more values than there are places: [1, 84, 8400] is no 64x64's.
    if places in (cells, _ANCHORS * cells) and width < 2 * places:
        if places == cells and width == _POSE_COLUMNS and len(labels or ()) != width - 4:
            why = _why(f"[1, {width}, N], 17 keypoints")
            return made(form="v8", why=why, finds="poses", skeleton=COCO)
        has_object = _has_object(made.keywords["is_columns"], places == cells, width, labels)
        form, extra = ("v5", 5) if has_object else ("v8", 4)
        if width <= extra:
            return None
        return made(
            form=form,
            why=_why(f"[1, N, 5 + {width - 5}]" if has_object else f"[1, 4 + {width - 4}, N]"),
            labels=names_for(labels, width - extra, "YOLO"),
        )
    if places > _END_ROWS or width not in (_END_COLUMNS, _END_COLUMNS + 3 * COUNT):
        return None
    # Few columns are the people of MoveNet MultiPose, [1, 6, 56], or nothing known.
    if made.keywords["is_columns"] and places < _END_COLUMNS_LEAST:
        return None
    why = _why(f"[1, {places}, {width}]")
    if width == _END_COLUMNS:
        return made(form="end to end", why=why, labels=labels)
    return made(form="end to end", why=why, finds="poses", skeleton=COCO, keypoints_at=_END_COLUMNS)


def _has_object(
    is_columns: bool, is_one_a_cell: bool, width: int, labels: tuple[str, ...] | None
) -> bool:
    """Whether the probability of any object stands before the classes'."""
    if not is_one_a_cell:
        return True
    if labels is not None and len(labels) in (width - 4, width - 5):
        return len(labels) == width - 5
    return not is_columns and width == 5 + len(NAMES)


def _why(form: str) -> str:
    return f"one output {form}; pixels or fractions by the values"
