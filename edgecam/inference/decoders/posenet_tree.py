"""What both PoseNet decoders share: the tree they walk and the sigmoid.

Arrays of both are float32 without the batch dimension. ``heatmaps`` [H, W, 17]: logits. ``offsets``
[H, W, 34]: y then x, pixels. ``displacements`` [H, W, 64]: forward y, forward x, backward y,
backward x, 16 edges each in ``keypoints.EDGES`` order, pixels. Positions are model-input pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import COUNT, EDGES

EDGE_COUNT = len(EDGES)


# (edges from the root, source, target, y channel); the x channel is EDGE_COUNT further.
Step = tuple[int, int, int, int]


def _steps_from(root: int) -> tuple[Step, ...]:
    reached = {root: 0}
    steps = []
    for source in (queue := [root]):
        for edge, (parent, child) in enumerate(EDGES):
            backward = edge + 2 * EDGE_COUNT
            for start, end, channel in ((parent, child, edge), (child, parent, backward)):
                if start == source and end not in reached:
                    reached[end] = reached[source] + 1
                    queue.append(end)
                    steps.append((reached[end], source, end, channel))
    return tuple(steps)


# By root keypoint, the 16 steps that reach all others, nearest to the root first. In a tree the
# path between two keypoints is unique: any order that keeps sources before targets gives the same
# poses, those of TensorFlow.js (backward edges, then forward ones) and of Coral (best score first).
STEPS = tuple(_steps_from(root) for root in range(COUNT))


def scores_from_logits(logits: NDArray[Any]) -> NDArray[np.float32]:
    """float32 sigmoid of ``logits``, bit for bit as TensorFlow.js computes it on the CPU."""
    exact = np.maximum(logits, -200.0, dtype=np.float64)
    scores: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-exact))).astype(np.float32)
    return scores
