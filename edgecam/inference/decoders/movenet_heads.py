"""MoveNet single pose cut at its heads: Lightning (48x48 cells) and Thunder (64x64).

Outputs, in any order: center [1, n, n, 1], kpt_heatmap [1, n, n, 17], kpt_regress and kpt_offset
[1, n, n, 34], which only their names tell apart. This is what ``edgecam convert --outputs`` makes
of the published networks, and quantises better than their argmax and gather. Rules: those of the
published graphs' last layers. As with the whole graph there is one pose, which counts as found
where its best keypoint reaches the score threshold; its score is the mean of its keypoints'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecam.core.errors import ModelError
from edgecam.core.keypoints import COCO, COUNT, Skeleton
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded
from edgecam.core.tensors import Tensor, TensorInfo
from edgecam.inference.decoders import movenet_grid as grid
from edgecam.inference.decoders.family import FamilyContext, FamilyDecoder, image_size

LAYOUT = """\
MoveNet single pose, heads: center [1, n, n, 1], kpt_heatmap [1, n, n, 17], kpt_regress and
  kpt_offset [1, n, n, 34]"""

# Cells that are added to a distance, so that one of zero does not decide alone.
_NEAR = np.float32(1.8)
_KEYPOINTS = np.arange(COUNT)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MoveNetHeads(FamilyDecoder):
    """``outputs``: center, kpt_heatmap, kpt_regress, kpt_offset."""

    family: str = "movenet"
    finds: Finds = "poses"
    skeleton: Skeleton | None = COCO
    # As for the whole graph: it is made for a square around one person.
    fit: str = "stretch"
    for_crops: bool = True

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Return the one pose, if its best keypoint and its mean score suffice."""
        if not all(np.isfinite(tensor.sum()) for tensor in tensors):
            return Decoded()
        center, heatmap, regress, offset = (np.asarray(tensor[0]) for tensor in tensors)
        cells, scores = decode(center, heatmap, regress, offset)
        score = float(scores.mean())
        if scores.max() < options.score_threshold or score < options.min_pose_score:
            return Decoded()
        return Decoded(poses=(grid.pose(score, cells, scores),))


def decode(
    center: Tensor, heatmap: Tensor, regress: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the keypoints [17, 2], (y, x) in cells, and their scores [17]."""
    rows, columns = center.shape[:2]
    ys, xs = np.arange(rows, dtype=np.float32), np.arange(columns, dtype=np.float32)
    middle = np.hypot((ys - rows / 2)[:, None], (xs - columns / 2)[None, :]) + _NEAR
    peak = int((grid.sigmoid(center[:, :, 0]) / middle).argmax())
    estimates = regress[peak // columns, peak % columns].reshape(COUNT, 2)
    estimates = np.add(estimates, (peak // columns, peak % columns))
    down = (ys[None, :] - estimates[:, :1])[:, :, None]
    right = (xs[None, :] - estimates[:, 1:])[:, None, :]
    sure = np.ascontiguousarray(grid.sigmoid(heatmap).transpose(2, 0, 1))
    near = sure / (np.hypot(down, right) + _NEAR)
    at = near.reshape(COUNT, -1).argmax(axis=1)
    y, x = at // columns, at % columns
    cells = offset.reshape(rows, columns, COUNT, 2)[y, x, _KEYPOINTS] + np.stack((y, x), axis=1)
    return cells, sure[_KEYPOINTS, y, x]


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder | None:
    """Return the decoder if the outputs are the four heads on one grid.

    Raises:
        ModelError: they are, and no name tells kpt_regress from kpt_offset.
    """
    size = image_size(inputs)
    if size is None:
        return None
    places = grid.places_of(grid.SINGLE, size, outputs, list(context.namings(outputs)))
    if isinstance(places, str):
        raise ModelError(
            f"MoveNet's heads: {places}; convert the published graph with edgecam convert "
            "--outputs, which keeps the names"
        )
    if places is None:
        return None
    cells = f"{outputs[0].shape[1]}x{outputs[0].shape[2]}"
    return MoveNetHeads(
        outputs=places, why=f"single pose heads on {cells} cells, distinguished by name"
    )
