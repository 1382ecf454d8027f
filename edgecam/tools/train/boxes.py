"""What an SSD is trained with: each anchor's box and class, and the loss.

Source: Liu et al., "SSD" (2016), section 2.2, for matching and box coding; Lin et al., "Focal
Loss for Dense Object Detection" (2017), for the loss of classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.tools.convert.ssd import RAW_SCALES
from edgecam.tools.convert.tensorflow_load import open_tensorflow
from edgecam.tools.train.coco import Example, Floats
from edgecam.tools.train.heads import ENCODINGS, SCORES
from edgecam.tools.train.training import Batches, relit, shuffled

_MATCHED, _BACKGROUND = 0.5, 0.4  # IoU of an anchor with a thing; between them nothing counts
_FOCUS, _BALANCE = 2.0, 0.25
_BOX_WEIGHT = 1.0
MATCHES = "matches"


def encode(boxes: Floats, anchors: Floats) -> Floats:
    """Return boxes [N, 4] (y, x, y, x) as encodings of anchors [N, 4] (centre, height, width)."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-4)
    centres = boxes[:, :2] + sides / 2
    moved = (centres - anchors[:, :2]) / anchors[:, 2:]
    found = np.concatenate((moved, np.log(sides / anchors[:, 2:])), axis=1) * RAW_SCALES
    return np.asarray(found, np.float32)


def match(example: Example, anchors: Floats, classes: int) -> tuple[Floats, Floats, Floats]:
    """Return encodings [A, 4], wanted scores [A, 1 + classes] and what counts [A]: 1, 0 or -1.

    1 is an anchor on a thing, 0 one on the background, -1 one that counts as neither. Each thing
    has the anchor nearest to it, however far.
    """
    encodings = np.zeros((len(anchors), 4), np.float32)
    scores = np.zeros((len(anchors), classes + 1), np.float32)
    counts = np.zeros(len(anchors), np.float32)
    if len(example.boxes):
        overlaps = iou(example.boxes, anchors)
        thing = overlaps.argmax(axis=0)
        best = overlaps.max(axis=0)
        nearest = overlaps.argmax(axis=1)
        thing[nearest] = np.arange(len(example.boxes))
        best[nearest] = 1.0
        counts[best >= _BACKGROUND] = -1.0
        on = best >= _MATCHED
        counts[on] = 1.0
        encodings[on] = encode(example.boxes[thing[on]], anchors[on])
        scores[on, example.classes[thing[on]] + 1] = 1.0
    scores[counts == 0.0, 0] = 1.0
    return encodings, scores, counts


def iou(boxes: Floats, anchors: Floats) -> NDArray[np.float64]:
    """Return [N, A] of boxes [N, 4] (y, x, y, x) and anchors [A, 4] (centre, height, width)."""
    low, high = anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2
    tops = np.maximum(boxes[:, None, :2], low[None])
    bottoms = np.minimum(boxes[:, None, 2:], high[None])
    shared = np.prod(np.maximum(bottoms - tops, 0.0), axis=2, dtype=np.float64)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[:, None] + np.prod(anchors[:, 2:], axis=1)
    return np.asarray(shared / np.maximum(areas - shared, 1e-12))


def batches(
    examples: Sequence[Example], anchors: Floats, classes: int, batch: int, seed: int
) -> Batches:
    """Yield batches without end: pictures as they are or mirrored, in other light."""
    rng = np.random.default_rng(seed)
    for places in shuffled(len(examples), batch, rng):
        chosen = [mirrored(examples[p]) if rng.random() < 0.5 else examples[p] for p in places]
        matched = [match(example, anchors, classes) for example in chosen]
        encodings, scores, counts = (np.stack(part) for part in zip(*matched, strict=True))
        pictures = relit(np.stack([example.image for example in chosen]), rng)
        yield pictures, {ENCODINGS: encodings, SCORES: scores, MATCHES: counts}


def mirrored(example: Example) -> Example:
    """Return the example with left and right exchanged; its keypoints are left out."""
    boxes = example.boxes.copy()
    boxes[:, [1, 3]] = 1.0 - example.boxes[:, [3, 1]]
    image = np.ascontiguousarray(example.image[:, ::-1])
    return Example(image, boxes, example.classes, example.keypoints[:0])


def loss(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
    """Focal loss of scores and Huber loss of encodings, per matched anchor."""
    tensorflow = open_tensorflow()
    counts = wanted[MATCHES]
    matched = tensorflow.cast(counts > 0.0, tensorflow.float32)
    counted = tensorflow.cast(counts >= 0.0, tensorflow.float32)
    scores = tensorflow.clip_by_value(found[SCORES], 1e-6, 1.0 - 1e-6)
    right = wanted[SCORES]
    chance = right * scores + (1.0 - right) * (1.0 - scores)
    balance = right * _BALANCE + (1.0 - right) * (1.0 - _BALANCE)
    focal = -balance * (1.0 - chance) ** _FOCUS * tensorflow.math.log(chance)
    # The background's own column is for readers that want one; it must not outweigh the things.
    classes = tensorflow.reduce_sum(focal[..., 1:], -1) + 0.1 * focal[..., 0]
    off = tensorflow.abs(found[ENCODINGS] - wanted[ENCODINGS])
    huber = tensorflow.where(off < 1.0, 0.5 * off * off, off - 0.5)
    total = tensorflow.reduce_sum(classes * counted)
    total += _BOX_WEIGHT * tensorflow.reduce_sum(tensorflow.reduce_sum(huber, -1) * matched)
    return total / tensorflow.maximum(tensorflow.reduce_sum(matched), 1.0)
