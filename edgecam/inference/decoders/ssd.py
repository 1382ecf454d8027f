"""SSD detectors, with ``TFLite_Detection_PostProcess`` inside or raw.

With it: boxes [1, N, 4] (y min, x min, y max, x max, fractions of the input), classes [1, N],
scores [1, N] (0..1) and count [1], all float32, in any order. ``class_id`` counts from 0 without
background, as the op emits it: COCO's person is 0. Rows from count on are left over from earlier
frames. Boxes may reach beyond the input; they are clipped to the frame where they leave.

Raw: box encodings [1, A, 4] (ty, tx, th, tw) and class scores [1, A, C], see ``ssd_raw``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference import labels
from edgecam.inference.decoders import coco_labels as coco
from edgecam.inference.decoders import ssd_raw
from edgecam.inference.decoders.boxes import detections
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, image_size

LAYOUT = """\
SSD with TFLite_Detection_PostProcess: boxes [1, N, 4], classes [1, N], scores [1, N], count [1]
SSD without it: box encodings [1, A, 4] and class scores [1, A, C], and anchors"""

# What exporters call classes and scores: TensorFlow 1 numbers the op's outputs, TensorFlow 2
# the reversed list (:3 boxes, :2 classes, :1 scores, :0 count).
_NAMES: dict[str, tuple[str, ...]] = {
    "classes": (
        "tflite_detection_postprocess:1",
        "statefulpartitionedcall:2",
        "class",
        "categor",
    ),
    "scores": ("tflite_detection_postprocess:2", "statefulpartitionedcall:1", "score", "probab"),
}


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder | None:
    """Return the decoder if the outputs are those of an SSD."""
    size = image_size(inputs)
    if size is None:
        return None
    return _postprocessed(size, outputs, context) or ssd_raw.recognise(size, outputs, context)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PostProcessedSsd(FamilyDecoder):
    """Reads what the op found; ``is_stated``: not only values tell classes and scores."""

    height_px: int
    width_px: int
    is_stated: bool
    family: str = "ssd"
    finds: Finds = "boxes"
    fit: str = ssd_raw.FIT

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the boxes whose scores suffice, as the op orders them."""
        boxes, classes, scores = (np.asarray(tensor)[0] for tensor in tensors[:3])
        count = float(np.asarray(tensors[3]).ravel()[0])
        if not count >= 1.0:  # NaN too
            return Decoded()
        rows = min(round(min(count, len(scores))), options.max_detections)
        boxes, classes, scores = boxes[:rows], classes[:rows], scores[:rows]
        if not self.is_stated and _are_scores(classes, scores):
            classes, scores = scores, classes
        keep = (scores >= options.score_threshold) & np.isfinite(classes)
        keep &= np.isfinite(boxes).all(axis=1)
        return detections(
            boxes[keep],
            np.rint(classes[keep]).astype(np.intp),
            scores[keep],
            self.labels,
            (self.height_px, self.width_px),
        )


def _postprocessed(
    size: tuple[int, int], outputs: Sequence[TensorInfo], context: FamilyContext
) -> PostProcessedSsd | None:
    if len(outputs) != 4:
        return None
    places, why = _by_op(outputs, context), "TFLite_Detection_PostProcess in the graph"
    is_stated = True
    if places is None:
        shaped = _by_shape(outputs)
        if shaped is None:
            return None
        box, first, second, count = shaped
        why = "outputs [1, N, 4], [1, N], [1, N], [1]"
        named = _by_name(first, second, outputs, context)
        is_stated = named is not None
        classes, scores = named or (first, second)
        why += ", classes and scores by " + ("their names" if is_stated else "their values")
        places = (box, classes, scores, count)
    height_px, width_px = size
    return PostProcessedSsd(
        why=why,
        outputs=places,
        height_px=height_px,
        width_px=width_px,
        labels=_labels(context),
        is_stated=is_stated,
    )


def _by_op(outputs: Sequence[TensorInfo], context: FamilyContext) -> tuple[int, ...] | None:
    if context.postprocess is None:
        return None
    place = {info.index: place for place, info in enumerate(outputs)}
    if not set(context.postprocess.outputs) <= set(place):
        return None
    return tuple(place[index] for index in context.postprocess.outputs)


def _by_shape(outputs: Sequence[TensorInfo]) -> tuple[int, int, int, int] | None:
    shapes = [info.shape for info in outputs]
    boxes = [i for i, shape in enumerate(shapes) if len(shape) == 3 and shape[::2] == (1, 4)]
    counts = [i for i, shape in enumerate(shapes) if shape in ((1,), ())]
    if len(boxes) != 1 or len(counts) != 1:
        return None
    rows = [i for i, shape in enumerate(shapes) if shape == (1, shapes[boxes[0]][1])]
    return (boxes[0], rows[0], rows[1], counts[0]) if len(rows) == 2 else None


def _by_name(
    first: int, second: int, outputs: Sequence[TensorInfo], context: FamilyContext
) -> tuple[int, int] | None:
    def role(place: int) -> str | None:
        name = context.output_name(place, outputs[place])
        fits = [key for key, parts in _NAMES.items() if any(part in name for part in parts)]
        return fits[0] if len(fits) == 1 else None

    roles = (role(first), role(second))
    if "classes" in roles and roles[0] != roles[1]:
        return (first, second) if roles[0] == "classes" else (second, first)
    if "scores" in roles and roles[0] != roles[1]:
        return (second, first) if roles[0] == "scores" else (first, second)
    return None


def _are_scores(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Whether ``first`` are the scores and ``second`` the classes: classes are whole numbers."""
    first_whole, second_whole = np.all(first == np.rint(first)), np.all(second == np.rint(second))
    if first_whole != second_whole:
        return bool(second_whole)
    # Both whole: scores then are all 0 or 1, from high to low.
    return bool(first.max() <= 1.0 and second.max() > 1.0)


def _labels(context: FamilyContext) -> tuple[str, ...] | None:
    names = context.labels
    classes = context.postprocess.classes if context.postprocess is not None else None
    if names is None:
        return coco.names_of(classes)
    if classes is not None:
        return labels.fit(names, classes, "TFLite_Detection_PostProcess")
    # Nothing in the file says how many classes there are: only the entry in front can tell.
    return names[1:] if names[0].lower() in labels.BACKGROUND else names
