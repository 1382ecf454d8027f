"""Where the TensorFlow.js rules for PoseNet look for people: root candidates, best first.

Source: ``buildPartWithScoreQueue`` and ``MaxHeap`` of npm ``@tensorflow-models/posenet`` 2.2.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.opencv import cv2
from edgecam.inference.decoders.posenet_tree import scores_from_logits

Array = NDArray[Any]

_WINDOW = np.ones((3, 3), np.uint8)  # a local maximum looks one cell around
# Two logits at least this far apart, the lower at most _STEEP_LOGIT, never round to one score.
_LOGIT_SLACK = 1e-3
_STEEP_LOGIT = 8.0


def root_candidates(logits: Array, threshold: float) -> tuple[Array, Array]:
    """Flat indices, rising, and float64 scores of the local maxima at or above ``threshold``.

    The comparisons that count are between float32 scores, of which many logits may share one; a
    generous comparison of logits first leaves few cells for which to compute them.
    """
    flat = logits.reshape(-1)
    peak = cv2.dilate(logits, _WINDOW).reshape(-1)
    likely = flat >= peak - np.float32(_LOGIT_SLACK)
    likely |= flat >= np.float32(_STEEP_LOGIT)
    likely &= flat >= np.float32(_logit_below(threshold))
    indices = np.flatnonzero(likely)
    scores, highest = scores_from_logits(np.stack((flat[indices], peak[indices])))
    exact = scores.astype(np.float64)
    keep = (scores >= highest) & (exact >= threshold)
    return indices[keep], exact[keep]


def _logit_below(score: float) -> float:
    """A logit somewhat under every one whose float32 score reaches ``score``."""
    low = min(score, 1.0) * (1.0 - 2e-7)
    return math.log(low / (1.0 - low)) - 1e-4 if low > 0.0 else -math.inf


def in_heap_order(scores: Array, wanted: int) -> Iterator[Array]:
    """Candidates' places, highest score first, ties as the published heap gives them out.

    Yields about ``wanted`` first, then what is asked for beyond.
    """
    done = 0
    while done < len(scores):
        if wanted < len(scores):
            high = np.flatnonzero(scores >= np.partition(scores, -wanted)[-wanted])
        else:
            high = np.arange(len(scores))
        order = high[np.argsort(-scores[high])]
        ordered = scores[order]
        if (ordered[1:] == ordered[:-1]).any():
            order = np.array(_dequeue(scores[high].tolist(), high.tolist(), len(scores)))
        yield order[done:]
        done = len(order)
        wanted = 4 * done


def _dequeue(scores: list[float], places: list[int], size: int) -> list[int]:
    """``places`` as the published binary max-heap of ``size`` candidates hands them out.

    Its array starts at 0, the parent of k is k // 2 and the children of k are 2k and 2k + 1, with
    strict comparisons. Candidates not in ``places`` have lower scores: one low value stands for
    them all, because what they do among themselves never moves a higher one.
    """
    heap = [-1.0] * size
    place_of = dict(zip(map(id, scores), places, strict=True))  # each score is its own object
    for score, place in zip(scores, places, strict=True):
        k, parent = place, place >> 1
        while k and heap[parent] < score:
            heap[k] = heap[parent]
            k = parent
            parent >>= 1
        heap[k] = score
    order = []
    for last in range(size - 2, size - 2 - len(places), -1):
        order.append(place_of[id(heap[0])])
        score = heap[0] = heap[last + 1]
        k, child = 0, 0
        while child <= last:
            below = heap[child]
            if child < last and below < heap[child + 1]:
                child += 1
                below = heap[child]
            # The top is its own first child: staying there ends the walk.
            if score >= below:
                break
            heap[k] = below
            k = child
            child += child
        heap[k] = score
    return order
