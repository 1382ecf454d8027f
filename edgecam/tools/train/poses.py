"""What a PoseNet is trained with: heatmaps, offsets and displacements, and the loss.

Source: Papandreou et al., "PersonLab" (2018), sections 3.1.1 and 3.1.2; the layout of the outputs
is TensorFlow.js' (displacements along ``keypoints.EDGES``, y before x).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from edgecam.core.frame import Image
from edgecam.core.keypoints import COUNT, EDGES, INDEX, NAMES
from edgecam.tools.convert.posenet import OUTPUTS
from edgecam.tools.convert.tensorflow_load import open_tensorflow
from edgecam.tools.train.coco import Example, Floats
from edgecam.tools.train.training import Batches, relit, shuffled

HEATMAP, OFFSET, FORWARD, BACKWARD = OUTPUTS
# Radius of the discs around keypoints: 32 pixels of 401, as the paper trained.
_RADIUS: Final = 32.0 / 401.0
# Weights of the losses: section 4.2 (4, 1, 1/4 for mid-range).
_WEIGHTS = {HEATMAP: 4.0, OFFSET: 1.0, FORWARD: 0.25, BACKWARD: 0.25}
MASK = "/mask"
_SIDES = {"left": "right", "right": "left"}
_MIRRORED = [INDEX["_".join(_SIDES.get(part, part) for part in name.split("_"))] for name in NAMES]


def targets(keypoints: Floats, size: tuple[int, int], stride: int) -> dict[str, Floats]:
    """Return each output's target [h, w, C] and, under its name and MASK, where it counts.

    ``keypoints``: float32[P, 17, 3], x and y in pixels of the model input, visibility. Heatmaps
    are 0 or 1, offsets and displacements pixels over ``stride``. Where discs of two people
    overlap, a cell belongs to the nearer keypoint.
    """
    height, width = (-(-side // stride) for side in size)
    ys, xs = np.mgrid[:height, :width].astype(np.float32) * stride
    depths = (COUNT, 2 * COUNT, 2 * len(EDGES), 2 * len(EDGES))
    found = {
        name: np.zeros((height, width, depth), np.float32)
        for name, depth in zip(OUTPUTS, depths, strict=True)
    }
    found |= {name + MASK: np.zeros_like(found[name]) for name in OUTPUTS[1:]}
    nearest = np.full((height, width, COUNT), np.inf, np.float32)
    # The cell in which the keypoint lies is in its disc however small that is.
    radius_px = max(_RADIUS * min(size), 0.71 * stride)
    for person in keypoints:
        for number in np.flatnonzero(person[:, 2]).tolist():
            x, y, _ = person[number]
            distance = np.hypot(xs - x, ys - y)
            on = (distance <= radius_px) & (distance < nearest[..., number])
            nearest[on, number] = distance[on]
            found[HEATMAP][on, number] = 1.0
            cells = (ys[on], xs[on])
            _point(found, OFFSET, on, number, person[number], cells, stride)
            for edge, (parent, child) in enumerate(EDGES):
                if parent == number:
                    _point(found, FORWARD, on, edge, person[child], cells, stride)
                if child == number:
                    _point(found, BACKWARD, on, edge, person[parent], cells, stride)
    return found


def _point(
    found: dict[str, Floats],
    name: str,
    on: Any,
    channel: int,
    to: Floats,
    cells: tuple[Floats, Floats],
    stride: int,
) -> None:
    """Let the cells that are ``on`` point to a keypoint (x, y, visibility), y before x."""
    half = found[name].shape[2] // 2
    for place, end, start in zip((channel, channel + half), to[1::-1], cells, strict=True):
        found[name][on, place] = (end - start) / stride
        found[name + MASK][on, place] = float(to[2] > 0.0)


def batches(
    examples: Sequence[Example], size: tuple[int, int], stride: int, batch: int, seed: int
) -> Batches:
    """Yield batches without end: pictures as they are or mirrored, in other light."""
    rng = np.random.default_rng(seed)
    for places in shuffled(len(examples), batch, rng):
        images, wanted = [], []
        for place in places:
            image, keypoints = examples[place].image, examples[place].keypoints
            if rng.random() < 0.5:
                image, keypoints = mirrored(image, keypoints)
            images.append(image)
            wanted.append(targets(keypoints, size, stride))
        yield (
            relit(np.stack(images), rng),
            {name: np.stack([one[name] for one in wanted]) for name in wanted[0]},
        )


def mirrored(image: Image, keypoints: Floats) -> tuple[Image, Floats]:
    """Exchange left and right, of the picture and of the names."""
    found = keypoints[:, _MIRRORED].copy()
    found[..., 0] = image.shape[1] - 1 - found[..., 0]
    return np.ascontiguousarray(image[:, ::-1]), found


def loss(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
    """Logistic loss of heatmaps, and L1 of offsets and displacements inside the discs."""
    tensorflow = open_tensorflow()
    logistic = tensorflow.nn.sigmoid_cross_entropy_with_logits(
        labels=wanted[HEATMAP], logits=found[HEATMAP]
    )
    total = _WEIGHTS[HEATMAP] * tensorflow.reduce_mean(tensorflow.reduce_sum(logistic, -1))
    for name in OUTPUTS[1:]:
        mask = wanted[name + MASK]
        off = tensorflow.abs(found[name] - wanted[name]) * mask
        count = tensorflow.maximum(tensorflow.reduce_sum(mask), 1.0)
        total += _WEIGHTS[name] * tensorflow.reduce_sum(off) / count
    return total
