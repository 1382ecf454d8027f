"""SSD without post-processing: box encodings, class scores and anchors to detections.

Encodings [1, A, 4] are (ty, tx, th, tw) with the scale factors 10, 10, 5, 5; scores [1, A, C] are
sigmoids or logits, column 0 the background; anchors [A, 4] as in ``edgecam.anchors``. The rules
are those of ``TFLite_Detection_PostProcess`` with its default, fast NMS: an anchor's best class
alone stands for it, and boxes suppress each other across classes. Source:
``NonMaxSuppressionMultiClassFastHelper`` in LiteRT's ``detection_postprocess.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import ModelError
from edgecam.core.protocols import DecodeOptions, Finds
from edgecam.core.result import Decoded
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference import labels
from edgecam.inference.decoders import anchors as ssd_anchors
from edgecam.inference.decoders import coco_labels as coco
from edgecam.inference.decoders.boxes import detections, suppress
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, holds_probabilities

Array = NDArray[Any]

# On COCO pictures AP is 20.7 stretched, 18.2 letterboxed (COCO SSD MobileNet V1, 300x300): it was
# trained on stretched pictures.
FIT = "stretch"

_CENTRE_SCALE, _SIZE_SCALE = np.float32(10.0), np.float32(5.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RawSsd(FamilyDecoder):
    """Tensors: encodings, scores and, where ``anchors`` is None, anchors.

    ``first_class``: the column of class 0. ``probabilities``: whether scores are 0..1 already,
    None to tell by their values.
    """

    height_px: int
    width_px: int
    first_class: int
    probabilities: bool | None
    anchors: Array | None
    family: str = "ssd"
    finds: Finds = "boxes"
    fit: str = FIT

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the boxes that remain after suppression, the best first."""
        encodings, scores = np.asarray(tensors[0])[0], np.asarray(tensors[1])[0]
        anchors = np.asarray(tensors[2]) if self.anchors is None else self.anchors
        boxes, classes, best = decode(
            encodings,
            scores[:, self.first_class :],
            anchors.reshape(-1, 4),
            options,
            probabilities=self.probabilities,
        )
        size = (self.height_px, self.width_px)
        return detections(boxes, classes, best, self.labels, size)


def decode(
    encodings: Array,
    scores: Array,
    anchors: Array,
    options: DecodeOptions,
    *,
    probabilities: bool | None = True,
) -> tuple[Array, NDArray[np.intp], Array]:
    """Return boxes [N, 4] (y, x, y, x; fractions), classes and scores [N], the best first.

    ``scores`` [A, C] without the background. Only anchors that have a class above the threshold
    are decoded.
    """
    if probabilities is None:
        probabilities = bool(scores.min() >= 0.0 and scores.max() <= 1.0)
    threshold = options.score_threshold if probabilities else _logit(options.score_threshold)
    above = np.flatnonzero(scores >= np.float32(threshold)) // scores.shape[1]
    rows = above[np.flatnonzero(np.diff(above, prepend=-1))]
    candidates = scores[rows]
    classes = candidates.argmax(axis=1)
    best = candidates[np.arange(len(rows)), classes]
    # Equal scores are common in quantised models; the op keeps them in the anchors' order.
    order = np.argsort(-best, kind="stable")
    boxes = boxes_of(encodings[rows[order]], anchors[rows[order]])
    finite = np.isfinite(boxes).all(axis=1)
    order, boxes = order[finite], boxes[finite]
    kept = suppress(boxes, options.nms_iou, options.max_detections)
    best = best[order[kept]]
    return boxes[kept], classes[order[kept]], best if probabilities else 1.0 / (1.0 + np.exp(-best))


def boxes_of(encodings: Array, anchors: Array) -> Array:
    """Return the boxes [N, 4] (y, x, y, x; fractions) that encodings [N, 4] make of anchors."""
    centres = encodings[:, :2] / _CENTRE_SCALE * anchors[:, 2:] + anchors[:, :2]
    # A box of more than e^20 anchors is as infinite as one of e^88, without the overflow.
    halves = np.exp(np.minimum(encodings[:, 2:] / _SIZE_SCALE, 20.0)) * anchors[:, 2:] / 2
    return np.concatenate((centres - halves, centres + halves), axis=1)


def recognise(
    size: tuple[int, int], outputs: Sequence[TensorInfo], context: FamilyContext
) -> RawSsd | None:
    """Return the decoder for an input of ``size`` if the outputs are those of a raw SSD.

    Raises:
        ModelError: they are, but there are no anchors, or too few, or the labels do not fit.
    """
    found = _places(outputs, context)
    if found is None:
        return None
    encodings, scores, rest = found
    _, count, columns = outputs[scores].shape
    anchors, origin = _anchors(count, rest, context)
    first_class, names = _labels(columns, outputs[scores].name, context)
    probabilities = holds_probabilities(outputs[scores], context.output_op(scores))
    form = {True: "probabilities", False: "logits", None: "by value"}[probabilities]
    return RawSsd(
        why=f"outputs [1, A, 4] and [1, A, C], scores {form}, {origin}",
        outputs=(encodings, scores, *rest),
        height_px=size[0],
        width_px=size[1],
        labels=names,
        first_class=first_class,
        probabilities=probabilities,
        anchors=anchors,
    )


def _places(
    outputs: Sequence[TensorInfo], context: FamilyContext
) -> tuple[int, int, tuple[int, ...]] | None:
    """Return the places of encodings and scores, and that of anchors if they are an output."""
    rows = [place for place, info in enumerate(outputs) if _is_rows(info)]
    if len(rows) != 2 or outputs[rows[0]].shape[1] != outputs[rows[1]].shape[1]:
        return None
    rest = tuple(place for place in range(len(outputs)) if place not in rows)
    count = outputs[rows[0]].shape[1]
    if rest and [outputs[place].shape for place in rest] not in ([(count, 4)], [(1, count, 4)]):
        return None
    boxes = [place for place in rows if outputs[place].shape[2] == 4]
    if len(boxes) == 2:
        boxes = [place for place in boxes if not _says_scores(place, outputs, context)]
    if len(boxes) != 1:
        return None
    scores = rows[1] if boxes[0] == rows[0] else rows[0]
    return (boxes[0], scores, rest) if outputs[scores].shape[2] >= 2 else None


def _is_rows(info: TensorInfo) -> bool:
    return len(info.shape) == 3 and info.shape[0] == 1 and info.shape[1] > 1


def _says_scores(place: int, outputs: Sequence[TensorInfo], context: FamilyContext) -> bool:
    if context.output_op(place) in ("LOGISTIC", "SOFTMAX"):
        return True
    name = context.output_name(place, outputs[place])
    return any(word in name for word in ("score", "class", "conf"))


def _anchors(count: int, rest: tuple[int, ...], context: FamilyContext) -> tuple[Array | None, str]:
    if rest:
        return None, "anchors from the third output"
    if context.anchors is not None:
        if len(context.anchors) != count:
            raise ModelError(
                f"the model has {count} box encodings but {len(context.anchors)} anchors:"
                " convert it again"
            )
        return context.anchors, "anchors from the model file"
    if count == ssd_anchors.MOBILENET_300_COUNT:
        return (
            ssd_anchors.mobilenet_300(),
            "the anchors of SSD MobileNet at 300x300, by their count",
        )
    raise ModelError(
        f"the model is a raw SSD of {count} boxes without its anchors: convert it with"
        " `edgecam convert --raw`, which keeps them in the file, or with --postprocess"
    )


def _labels(columns: int, name: str, context: FamilyContext) -> tuple[int, tuple[str, ...] | None]:
    """Return the column of class 0 and the labels from there on."""
    names = context.labels
    # Without a background row, a list as long as the scores means that there is none.
    if names is not None and len(names) == columns and names[0].lower() not in labels.BACKGROUND:
        return 0, names
    if names is None:
        return 1, coco.names_of(columns - 1)
    return 1, labels.fit(names, columns - 1, f"output {name!r}")


def _logit(probability: float) -> float:
    if probability <= 0.0:
        return -math.inf
    return math.log(probability / (1.0 - probability)) if probability < 1.0 else math.inf
