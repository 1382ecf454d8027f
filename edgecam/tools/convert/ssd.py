"""An SSD of the Object Detection API as a TFLite model, with its post-processing or raw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flatbuffers import flexbuffers

from edgecam.core.tensors import Normalization
from edgecam.inference.tflite.metadata import ANCHORS_NAME
from edgecam.tools.convert import metadata, ssd_boxes, ssd_graph
from edgecam.tools.convert.graph import ConvertError, Graph
from edgecam.tools.convert.lite import LiteModel
from edgecam.tools.convert.lower import lower
from edgecam.tools.convert.ssd_boxes import BoxCoder, Suppression
from edgecam.tools.convert.ssd_graph import POSTPROCESS

# The names under which the API's own export for TFLite has them.
INPUT = "normalized_input_image_tensor"
ENCODINGS, SCORES = "raw_outputs/box_encodings", "raw_outputs/class_predictions"
MAX_DETECTIONS = 100
_MOST_ANCHORS = 500_000  # several times those of any published SSD
RAW_SCALES = (10.0, 10.0, 5.0, 5.0)  # what the decoder of raw SSDs takes for given


@dataclass(frozen=True, slots=True)
class Detector:
    """A lowered SSD and what ``writer.write`` is to say about it.

    ``size_px`` is (height, width), ``classes`` counts without background, ``label_place`` is the
    output that labels are for.
    """

    model: LiteModel
    size_px: tuple[int, int]
    normalization: Normalization
    classes: int
    anchors: int
    label_place: int
    label_kind: int
    extra: Mapping[str, bytes]


def convert(graph: Graph, size: tuple[int, int] | None, *, postprocess: bool) -> Detector:
    """Return the TFLite model of the graph for pictures of ``size`` (height, width).

    Without a size it is the one to which the graph resizes. With ``postprocess`` the model
    suppresses overlaps itself; without, its anchors go along for a decoder outside.

    Raises:
        ConvertError: the graph is no SSD of the Object Detection API, holds ops without a TFLite
            form, or its anchors do not fit the size.
    """
    found = ssd_graph.parts(graph)
    size = size or ssd_graph.size(graph)
    if size is None:
        raise ConvertError(
            "found no place where the graph resizes its pictures, which would tell the size of "
            "its network; give the --size that it was trained at, such as 300x300"
        )
    network = ssd_graph.cut(graph, found, size)
    names = {found.source: INPUT, found.encodings: ENCODINGS, found.scores: SCORES}
    model = lower(network, {found.source: (1, *size, 3)}, names)
    encodings, scores = (model.tensors[place].shape for place in model.outputs)
    fits = len(scores) == 3 and encodings == (1, scores[1], 4) and scores[2] >= 2
    if not fits or scores[1] > _MOST_ANCHORS:
        raise ConvertError(
            f"expected box encodings [1, A, 4] and scores [1, A, C], A up to {_MOST_ANCHORS:,},"
            f" found {list(encodings)} and {list(scores)}"
        )
    coder = ssd_boxes.box_coder(graph, found.encodings, scores[1])
    classes = scores[2] - 1
    if postprocess:
        _add_postprocess(model, coder, ssd_boxes.suppression(graph), classes)
    elif coder.scales != RAW_SCALES:
        raise ConvertError(
            f"the graph scales its box encodings by {coder.scales}, a raw model by {RAW_SCALES}:"
            " convert with --postprocess"
        )
    return Detector(
        model,
        size,
        ssd_graph.normalization(graph),
        classes,
        anchors=scores[1],
        label_place=1,
        label_kind=metadata.VALUE_LABELS if postprocess else metadata.AXIS_LABELS,
        extra={} if postprocess else {ANCHORS_NAME: coder.anchors.astype("<f4").tobytes()},
    )


def _add_postprocess(
    model: LiteModel, coder: BoxCoder, suppression: Suppression, classes: int
) -> None:
    """Let the op that every TFLite runtime has turn the two outputs into boxes."""
    encodings, scores = model.outputs
    anchors = model.constant("anchors", coder.anchors)
    shapes = ((1, MAX_DETECTIONS, 4), (1, MAX_DETECTIONS), (1, MAX_DETECTIONS), (1,))
    model.outputs = [
        model.tensor(POSTPROCESS if place == 0 else f"{POSTPROCESS}:{place}", shape)
        for place, shape in enumerate(shapes)
    ]
    options = _options(coder, suppression, classes)
    model.add_custom(POSTPROCESS, (encodings, scores, anchors), model.outputs, options)


def _options(coder: BoxCoder, suppression: Suppression, classes: int) -> bytes:
    """Return the op's options; source: tensorflow/lite/kernels/detection_postprocess.cc."""
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("max_detections", MAX_DETECTIONS)
        builder.Int("max_classes_per_detection", 1)
        builder.Int("detections_per_class", MAX_DETECTIONS)
        builder.Bool("use_regular_nms", False)
        builder.Float("nms_score_threshold", suppression.score)
        builder.Float("nms_iou_threshold", suppression.iou)
        builder.Int("num_classes", classes)
        for name, scale in zip("yxhw", coder.scales, strict=True):
            builder.Float(f"{name}_scale", scale)
    return bytes(builder.Finish())
