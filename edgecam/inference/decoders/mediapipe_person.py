"""MediaPipe's pose detector: where people are, by their faces and a circle around the body.

Outputs [1, N, 12] and [1, N, 1], or both as [1, N, 13] with the scores in front, for anchors in the
middle of cells: 2 at stride 8, 2 at 16, 6 at 32. A row is centre x, centre y, width, height of the
face, then four points (x, y): middle of the hips, a point on the circle that holds the body, and
the same for the upper body; pixels of the input from the anchor. The score is a logit. A person's
box here is the square around the body's circle. Overlapping faces are suppressed, which MediaPipe
averages. Input 224x224, -1..1, letterboxed.

Source: modules/pose_detection/pose_detection_cpu.pbtxt of MediaPipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference.decoders.boxes import Array, best_of_classes, detections
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, image_size

LAYOUT = "MediaPipe pose detector: [1, N, 12] and [1, N, 1], or [1, N, 13]"

_VALUES = 12
# (stride, anchors for each cell)
_GRIDS = ((8, 2), (16, 2), (32, 6))
_FACE_IOU = 0.3
_FARTHEST = 80.0  # beyond it float32 has no exponential
_HIPS, _CIRCLE = slice(4, 6), slice(6, 8)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MediaPipePerson(FamilyDecoder):
    """Bound to an input of ``height_px`` x ``width_px``; ``anchors``: float32[N, 2], x and y."""

    height_px: int
    width_px: int
    anchors: NDArray[np.float32]
    family: str = "mediapipe-person"
    finds: Finds = "boxes"

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the square around each person, the best first."""
        rows = np.asarray(tensors[0][0], np.float32)[:, -_VALUES:]
        logits = np.asarray(tensors[-1][0], np.float32)[:, 0]
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits, -_FARTHEST, _FARTHEST)))
        found = np.flatnonzero(scores >= np.float32(options.score_threshold))
        found = found[np.isfinite(rows[found]).all(axis=1)]
        rows, scores, anchors = rows[found], scores[found], self.anchors[found]
        middle, half = rows[:, :2] + anchors, np.abs(rows[:, 2:4]) / 2
        faces = np.concatenate((middle - half, middle + half), axis=1)[:, [1, 0, 3, 2]]
        everyone = np.zeros(len(found), np.intp)
        kept = best_of_classes(faces, everyone, scores, _FACE_IOU, options.max_detections)
        hips = rows[kept, _HIPS] + anchors[kept]
        reach = np.linalg.norm(rows[kept, _CIRCLE] - rows[kept, _HIPS], axis=1, keepdims=True)
        boxes: Array = np.concatenate((hips - reach, hips + reach), axis=1)[:, [1, 0, 3, 2]]
        size = (self.height_px, self.width_px)
        fractions = boxes / np.array(size * 2, np.float32)
        return detections(fractions, everyone[kept], scores[kept], self.labels, size)


def recognise(
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    context: FamilyContext,  # noqa: ARG001 - the tensors alone tell
) -> Decoder | None:
    """Return the decoder if there is a row of 12 values for each anchor."""
    size = image_size(inputs)
    if size is None:
        return None
    anchors = _anchors(size)
    shapes = [info.shape for info in outputs]
    both = [(1, len(anchors), _VALUES), (1, len(anchors), 1)]
    if shapes == [(1, len(anchors), _VALUES + 1)]:
        places: tuple[int, ...] = (0,)
    elif sorted(shapes) == sorted(both):
        places = tuple(map(shapes.index, both))
    else:
        return None
    return MediaPipePerson(
        height_px=size[0],
        width_px=size[1],
        anchors=anchors,
        outputs=places,
        labels=("person",),
        why=f"a face and four points for each of {len(anchors)} anchors",
    )


def _anchors(size: tuple[int, int]) -> NDArray[np.float32]:
    parts = []
    for stride, count in _GRIDS:
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride].reshape(2, -1)
        parts.append(np.repeat((np.stack((x, y), axis=1) + 0.5) * stride, count, axis=0))
    return np.concatenate(parts).astype(np.float32)
