"""What MoveNet's heads have in common: maps on one grid of cells, and which output is which.

A cell is ``STRIDE`` input pixels wide. Positions are (y, x) in cells until the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import COUNT
from edgecam.core.result import Pose
from edgecam.core.tensors import TensorInfo

Array = NDArray[Any]

STRIDE = 4
# Channels of each head, in the order that the decoders take them.
SINGLE: Mapping[str, int] = {
    "center": 1,
    "kpt_heatmap": COUNT,
    "kpt_regress": 2 * COUNT,
    "kpt_offset": 2 * COUNT,
}
MULTIPLE: Mapping[str, int] = {"box_scale": 2, "box_offset": 2, **SINGLE}


def sigmoid(logits: Array) -> Array:
    """Return 0..1 of any finite logits, without overflow."""
    return 0.5 * np.tanh(0.5 * logits) + 0.5


def places_of(
    heads: Mapping[str, int],
    size: tuple[int, int],
    outputs: Sequence[TensorInfo],
    namings: Sequence[Sequence[str]],
) -> tuple[int, ...] | str | None:
    """Return where each head stands among the outputs, in the order of ``heads``.

    None where the outputs are not these heads of an input of ``size``, (height, width) in pixels;
    a line that says why where they are and no name tells two of one shape apart.
    """
    wanted = sorted((1, size[0] // STRIDE, size[1] // STRIDE, depth) for depth in heads.values())
    if sorted(info.shape for info in outputs) != wanted:
        return None
    found: dict[str, int] = {}
    for head, depth in heads.items():
        places = [place for place, info in enumerate(outputs) if info.shape[3] == depth]
        if len(places) > 1:
            named = ([place for place in places if head in names[place]] for names in namings)
            places = next((one for one in named if len(one) == 1), [])
        if not places:
            twins = " and ".join(name for name, other in heads.items() if other == depth)
            return f"{twins} have one shape, and no output's name says which is {head}"
        found[head] = places[0]
    return tuple(found.values())


def pose(score: float, cells: Array, scores: Array) -> Pose:
    """Return keypoints at (y, x) ``cells`` [17, 2] as a pose in input pixels."""
    xy = np.ascontiguousarray(cells[:, ::-1], np.float64) * STRIDE
    return Pose(score, xy, scores.astype(np.float64))
