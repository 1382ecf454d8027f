"""Dense layers in NumPy: ReLU and dropout between them, softmax at the end, fitted by Adam.

Sources: Kingma, Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 1; He et al.,
"Delving Deep into Rectifiers" (2015), equation 10, for the first weights; Srivastava et al.,
"Dropout" (2014), the kept units scaled while learning, so that nothing is scaled later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgecam.tools.train.head.softmax import Floats, Integers, softmax

_SEED = 1
_BATCH, _MOST_EPOCHS, _PATIENCE = 32, 300, 30
_RATE, _DECAYS, _EPSILON = 1e-3, (0.9, 0.999), 1e-8
_WEIGHT_DECAY = 1e-4
_LEFT_OUT = 5  # every fifth picture of a label, the last ones, says when to stop


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """``layers`` are (weights float64[out, in], bias float64[out]) for features as they come."""

    layers: tuple[tuple[Floats, Floats], ...]

    def probabilities(self, features: Floats) -> Floats:
        """Return float64[N, K] of features float64[N, D]; each row sums to 1."""
        for weights, bias in self.layers[:-1]:
            features = np.maximum(features @ weights.T + bias, 0.0)
        weights, bias = self.layers[-1]
        return softmax(features @ weights.T + bias)


def fit(
    features: Floats, classes: Integers, count: int, hidden: Sequence[int], dropout: float
) -> Network:
    """Fit ``count`` classes to features float64[N, D] of ``classes`` int64[N].

    ``hidden``: units of each layer before the last; ``dropout``: the share of them (0..1) that
    each step leaves out. What is minimised is the mean over classes of the mean log loss, as
    ``softmax.fit`` does. When to stop is seen on pictures left out; then all are learnt.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    # A feature that never changes says nothing, and must not be blown up.
    deviation[deviation < 1e-6 * max(1.0, float(np.abs(features).max()))] = np.inf
    scaled = (features - mean) / deviation
    sizes = (features.shape[1], *hidden, count)
    out = _left_out(classes)
    first = _Learner(sizes, dropout)
    epochs = first.until_best(scaled[~out], classes[~out], (scaled[out], classes[out]))
    learner = _Learner(sizes, dropout)
    for _ in range(epochs):
        learner.epoch(scaled, classes)
    (weights, bias), *rest = learner.layers()
    weights = weights / deviation
    return Network(((weights, bias - weights @ mean), *rest))


def _left_out(classes: Integers) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """The last ones of each label: pictures in a row are often of one scene."""
    out = np.zeros(len(classes), bool)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        out[rows[len(rows) - max(1, len(rows) // _LEFT_OUT) :]] = True
    return out


class _Learner:
    """Weights while they are learnt; the same for the same pictures on every run."""

    def __init__(self, sizes: Sequence[int], dropout: float) -> None:
        self._random = np.random.default_rng(_SEED)
        self._keep = 1.0 - dropout
        self._values: list[Floats] = []
        for taken, made in pairwise(sizes):
            spread = np.sqrt(2.0 / taken)
            self._values += [self._random.normal(0.0, spread, (made, taken)), np.zeros(made)]
        self._means = [np.zeros_like(value) for value in self._values]
        self._squares = [np.zeros_like(value) for value in self._values]
        self._steps = 0

    def layers(self) -> list[tuple[Floats, Floats]]:
        """Return (weights, bias) of each layer."""
        return list(zip(self._values[::2], self._values[1::2], strict=True))

    def until_best(
        self, features: Floats, classes: Integers, judged: tuple[Floats, Integers]
    ) -> int:
        """Learn until the loss on ``judged`` falls no more; return the epochs."""
        best, at, epoch = np.inf, 1, 0
        while epoch < min(_MOST_EPOCHS, at + _PATIENCE):
            epoch += 1
            self.epoch(features, classes)
            found = Network(tuple(self.layers())).probabilities(judged[0])
            right = found[np.arange(len(judged[1])), judged[1]]
            loss = -float(np.log(np.maximum(right, 1e-12)).mean())
            if loss < best:
                best, at = loss, epoch
        return at

    def epoch(self, features: Floats, classes: Integers) -> None:
        """Look at every picture once, in an order by chance."""
        counts = np.bincount(classes)
        shares = len(classes) / (counts[classes] * np.count_nonzero(counts))
        order = self._random.permutation(len(classes))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            self._step(features[rows], classes[rows], shares[rows] / len(rows))

    def _step(self, features: Floats, classes: Integers, shares: Floats) -> None:
        inputs, masks = [features], []
        for weights, bias in self.layers()[:-1]:
            made = np.maximum(inputs[-1] @ weights.T + bias, 0.0)
            masks.append((made > 0.0) / self._keep * (self._random.random(made.shape) < self._keep))
            inputs.append(made / self._keep * (masks[-1] > 0.0))
        weights, bias = self.layers()[-1]
        found = softmax(inputs[-1] @ weights.T + bias)
        found[np.arange(len(classes)), classes] -= 1.0
        slope = found * shares[:, None]
        slopes: list[Floats] = []
        for place in range(len(inputs) - 1, -1, -1):
            weights = self._values[2 * place]
            slopes[:0] = [slope.T @ inputs[place] + _WEIGHT_DECAY * weights, slope.sum(axis=0)]
            if place:
                slope = (slope @ weights) * masks[place - 1]
        self._adam(slopes)

    def _adam(self, slopes: Sequence[Floats]) -> None:
        self._steps += 1
        first, second = _DECAYS
        for place, slope in enumerate(slopes):
            self._means[place] = first * self._means[place] + (1 - first) * slope
            self._squares[place] = second * self._squares[place] + (1 - second) * slope * slope
            mean = self._means[place] / (1 - first**self._steps)
            square = self._squares[place] / (1 - second**self._steps)
            self._values[place] = self._values[place] - _RATE * mean / (np.sqrt(square) + _EPSILON)
