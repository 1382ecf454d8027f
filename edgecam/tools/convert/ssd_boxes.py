"""How an SSD's graph makes boxes: its anchors, box coder and non-maximum suppression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgecam.tools.convert import constant_folding as evaluate
from edgecam.tools.convert.graph import Array, ConvertError, Graph, Node
from edgecam.tools.convert.ssd_graph import BOXES, exported, named

_SUPPRESSION: Final = "NonMaxSuppressionV"
_DEFAULT_IOU, _DEFAULT_SCORE = 0.6, 1e-8


@dataclass(frozen=True, slots=True)
class BoxCoder:
    """``anchors``: float32[A, 4], see ``edgecam.anchors``; ``scales``: of y, x, h, w."""

    anchors: Array
    scales: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Suppression:
    """Thresholds of the graph's non-maximum suppression, 0..1."""

    iou: float
    score: float


def box_coder(graph: Graph, encodings: str, count: int) -> BoxCoder:
    """Return what turns ``count`` box encodings into boxes.

    Raises:
        ConvertError: the anchors do not fit the network, or boxes are coded in another way.
    """
    end = exported(graph)
    if end is not None:
        return _stated_coder(graph, end, count)
    decoder = named(graph, BOXES)
    if decoder is None:
        raise ConvertError(f"the graph has no {BOXES}, expected it to compute the boxes")

    def boxes_of(values: Array) -> Array:
        fed = {encodings: values.reshape(1, count, 4).astype(np.float32)}
        try:
            found = evaluate.value(graph, decoder.name, fed).astype(np.float64)
        except ConvertError as error:
            raise ConvertError(
                f"the graph's anchors do not fit the {count} boxes that the network gives at"
                f" this size, or depend on the picture; give --size as trained ({error})"
            ) from None
        if found.shape != (count, 4):
            raise ConvertError(f"expected boxes ({count}, 4) of {BOXES}, found {found.shape}")
        if not np.isfinite(found).all():
            raise ConvertError(f"{BOXES} gives boxes that are no finite numbers: it is damaged")
        return found

    anchors = centred(boxes_of(np.zeros((count, 4))))
    shifted = centred(boxes_of(np.ones((count, 4))))
    with np.errstate(all="ignore"):
        centre = anchors[:, 2:] / (shifted[:, :2] - anchors[:, :2])
        extent = 1.0 / np.log(shifted[:, 2:] / anchors[:, 2:])
    scales = np.median(np.concatenate((centre, extent), axis=1), axis=0)
    coder = _checked(anchors, [float(f"{scale:.4g}") for scale in scales])
    probe = np.random.default_rng(0).uniform(-2, 2, (count, 4))
    if not np.allclose(decoded(coder, probe), centred(boxes_of(probe)), atol=1e-4):
        raise ConvertError("the graph codes boxes in another way than centre and size of anchors")
    return coder


def _stated_coder(graph: Graph, end: Node, count: int) -> BoxCoder:
    anchors = evaluate.value(graph, end.inputs[2])
    if anchors.shape != (count, 4):
        raise ConvertError(
            f"the graph has anchors of shape {list(anchors.shape)}, expected [{count}, 4] for the"
            " boxes that the network gives at this size; give --size as trained"
        )
    usual = zip("yxhw", (10.0, 10.0, 5.0, 5.0), strict=True)
    scales = [float(end.attributes.get(f"{name}_scale", scale)) for name, scale in usual]
    return _checked(anchors, scales)


def _checked(anchors: Array, scales: Sequence[float]) -> BoxCoder:
    if not np.isfinite(anchors).all() or not all(0 < scale < np.inf for scale in scales):
        raise ConvertError("the graph's anchors or box scales are no finite numbers: it is damaged")
    y, x, h, w = scales
    return BoxCoder(anchors.astype(np.float32), (y, x, h, w))


def suppression(graph: Graph) -> Suppression:
    """Return the graph's thresholds, the API's own where it has none to read."""
    end = exported(graph)
    if end is not None:
        return Suppression(
            float(end.attributes.get("nms_iou_threshold", _DEFAULT_IOU)),
            float(end.attributes.get("nms_score_threshold", _DEFAULT_SCORE)),
        )
    for node in graph.nodes:
        if node.op.startswith(_SUPPRESSION) and len(node.inputs) >= 4:
            values = [_DEFAULT_IOU, _DEFAULT_SCORE]
            for place, name in enumerate(node.inputs[3:5]):
                try:
                    values[place] = float(evaluate.value(graph, name))
                except (ConvertError, TypeError):  # computed from the picture
                    continue
            iou, score = values
            return Suppression(iou, score if np.isfinite(score) else _DEFAULT_SCORE)
    return Suppression(_DEFAULT_IOU, _DEFAULT_SCORE)


def centred(boxes: Array) -> Array:
    """Return (y, x, y, x) corners [A, 4] as centres and sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate((boxes[:, :2] + sides / 2, sides), axis=1)


def decoded(coder: BoxCoder, encodings: Array) -> Array:
    """Return the boxes [A, 4] (y centre, x centre, height, width) of encodings [A, 4]."""
    scaled = encodings / np.array(coder.scales)
    centres = scaled[:, :2] * coder.anchors[:, 2:] + coder.anchors[:, :2]
    return np.concatenate((centres, np.exp(scaled[:, 2:]) * coder.anchors[:, 2:]), axis=1)
