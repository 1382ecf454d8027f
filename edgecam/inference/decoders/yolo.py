"""YOLO exports of Ultralytics and what has their layout: boxes, or people with keypoints.

One output for N places of an input of H x W, strides 8, 16 and 32 together:
[1, 4 + C, N] (v8, 11): centre x, centre y, width, height, then C class probabilities;
[1, 56, N]: the same with one score and 17 x (x, y, visibility), a person each;
[1, N, 5 + C] (v5, three anchors a cell or one): with the probability of any object after the box;
[1, 300, 6] (end to end: v10 and later): x, y, x, y, score, class; nothing is left to suppress.
Positions are fractions of the input in .tflite exports, pixels in others; their values tell, for
boxes and for keypoints each, since exports of 2023 mix them. Only the first form was seen in files;
the others are by their documentation. Input 0..1, letterboxed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import ModelError
from edgecam.core.keypoints import COCO, COUNT
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded, Pose
from edgecam.core.tensors import Normalization, Tensor, TensorInfo
from edgecam.inference.decoders.boxes import best_of_classes, detections
from edgecam.inference.decoders.coco_labels import NAMES
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, image_size

LAYOUT = """\
YOLO: [1, 4 + C, N] or [1, N, 5 + C] for C classes at N places, [1, 56, N] for people with
  keypoints, [1, 300, 6] end to end"""

Array = NDArray[Any]
Form = Literal["v8", "v5", "end to end"]

_STRIDES = (8, 16, 32)
_ANCHORS = 3
_POSE_ROWS = 5 + 3 * COUNT
_END_TO_END = (300, 6)
_ZERO_TO_ONE = Normalization((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
# No box of a network reaches so many inputs beyond its own; no box of a pixel or two is found.
_MOST_FRACTION = 4.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Yolo(FamilyDecoder):
    """Bound to an input of ``height_px`` x ``width_px``."""

    height_px: int
    width_px: int
    form: Form
    family: str = "yolo"
    finds: Finds = "boxes"
    normalization: Normalization = _ZERO_TO_ONE

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the boxes or people that remain after suppression, the best first."""
        values = np.asarray(tensors[0][0], np.float32)
        if self.form == "v8":
            values = values.T
        values = values[np.isfinite(values).all(axis=1)]
        if self.form == "end to end":
            corners, best, classes = values[:, :4], values[:, 4], values[:, 5].astype(np.intp)
        else:
            corners, best, classes = self._candidates(values)
        corners = self._fractions(corners)
        rows = np.flatnonzero(best >= np.float32(options.score_threshold))
        if self.form == "end to end":
            rows = rows[np.argsort(-best[rows], kind="stable")][: options.max_detections]
        else:
            boxes = corners[rows][:, [1, 0, 3, 2]]
            limit = options.max_poses if self.finds == "poses" else options.max_detections
            iou = options.nms_iou
            rows = rows[best_of_classes(boxes, classes[rows], best[rows], iou, limit)]
        if self.finds == "poses":
            return self._people(values, best, rows, options)
        size = (self.height_px, self.width_px)
        found = corners[rows][:, [1, 0, 3, 2]]
        return detections(found, classes[rows], best[rows], self.labels, size)

    def _candidates(self, values: Array) -> tuple[Array, Array, NDArray[np.intp]]:
        """Return corners (x, y, x, y), best scores and their classes."""
        corners = np.concatenate(
            (values[:, :2] - values[:, 2:4] / 2, values[:, :2] + values[:, 2:4] / 2), axis=1
        )
        if self.finds == "poses":
            return corners, values[:, 4], np.zeros(len(values), np.intp)
        scores = values[:, 4:] if self.form == "v8" else values[:, 5:]
        classes = scores.argmax(axis=1)
        best = scores[np.arange(len(scores)), classes]
        return corners, best if self.form == "v8" else best * values[:, 4], classes

    def _fractions(self, positions: Array) -> Array:
        """Return (x, y) in turns as fractions of the input, whichever they are."""
        if not positions.size or np.abs(positions).max() <= _MOST_FRACTION:
            return positions
        sides = np.array((self.width_px, self.height_px), np.float32)
        return (positions.reshape(len(positions), -1, 2) / sides).reshape(positions.shape)

    def _people(
        self, values: Array, best: Array, rows: NDArray[np.intp], options: DecodeOptions
    ) -> Decoded:
        keypoints = values[rows, 5:].reshape(-1, COUNT, 3)
        xy = self._fractions(keypoints[:, :, :2].reshape(-1, 2 * COUNT)).reshape(-1, COUNT, 2)
        sides = np.array((self.width_px, self.height_px), np.float64)
        return Decoded(
            poses=tuple(
                Pose(score, xy[place] * sides, keypoints[place, :, 2].astype(np.float64))
                for place, score in enumerate(best[rows].tolist())
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
    if size is None or len(outputs) != 1 or len(outputs[0].shape) != 3:
        return None
    batch, first, second = outputs[0].shape
    cells = sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in _STRIDES)
    if batch != 1:
        return None
    made = partial(Yolo, height_px=size[0], width_px=size[1])

    def boxes(form: Form, layout: str, labels: tuple[str, ...] | None) -> Yolo:
        return made(form=form, why=_why(layout), labels=labels)

    if (first, second) == _END_TO_END:
        return boxes("end to end", "[1, 300, 6]", context.labels)
    if second == cells and first == _POSE_ROWS and len(context.labels or ()) != first - 4:
        why = _why(f"[1, {_POSE_ROWS}, N], 17 keypoints")
        return made(form="v8", why=why, finds="poses", skeleton=COCO)
    if second == cells and first > 4:
        return boxes("v8", f"[1, 4 + {first - 4}, N]", _names(first - 4, context))
    if first in (cells, _ANCHORS * cells) and second > 5:
        return boxes("v5", f"[1, N, 5 + {second - 5}]", _names(second - 5, context))
    return None


def _why(form: str) -> str:
    return f"one output {form}; pixels or fractions by the values"


def _names(classes: int, context: FamilyContext) -> tuple[str, ...] | None:
    if context.labels is None:
        return NAMES if classes == len(NAMES) else None
    if len(context.labels) != classes:
        raise ModelError(
            f"the label list has {len(context.labels)} entries but the YOLO has {classes} classes; "
            "give the names that it was trained with"
        )
    return context.labels
