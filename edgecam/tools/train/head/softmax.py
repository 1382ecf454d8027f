"""Multinomial logistic regression in NumPy: softmax of a linear layer, L2, L-BFGS.

Source: Nocedal, Wright, "Numerical Optimization" (2006), algorithms 7.4 and 7.5, and 3.1 with
the strong Wolfe conditions weakened to sufficient decrease: the loss is convex, and a step that
would spoil the approximation of the Hessian is not remembered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_FOLDS = 4
_MEMORY = 10
_MOST_STEPS = 500
_TOLERANCE = 1e-6  # largest slope at which the minimum counts as reached


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """``weights`` float64[K, D] and ``bias`` float64[K] for features as they come."""

    weights: Floats
    bias: Floats

    @property
    def layers(self) -> tuple[tuple[Floats, Floats], ...]:
        """The one layer, as (weights, bias)."""
        return ((self.weights, self.bias),)

    def probabilities(self, features: Floats) -> Floats:
        """Return float64[N, K] of features float64[N, D]; each row sums to 1."""
        return softmax(features @ self.weights.T + self.bias)


def fit(features: Floats, classes: Integers, count: int, strength: float) -> Classifier:
    """Fit ``count`` classes to features float64[N, D] of ``classes`` int64[N].

    Minimised is the mean over classes of the mean log loss of their pictures, so that a class
    with few pictures counts as much as another, and ``strength`` times half the square of the
    weights for features of mean 0 and deviation 1.
    """
    mean = features.mean(axis=0)
    deviation = features.std(axis=0)
    # A feature that never changes says nothing, and must not be blown up.
    deviation[deviation < 1e-6 * max(1.0, float(np.abs(features).max()))] = np.inf
    scaled = (features - mean) / deviation
    problem = _Problem(scaled, classes, count, strength)
    flat = _minimum(problem, np.zeros(count * (features.shape[1] + 1)))
    solution = flat.reshape(count, -1)
    weights = solution[:, :-1] / deviation
    return Classifier(weights, solution[:, -1] - weights @ mean)


def left_out_loss(features: Floats, classes: Integers, count: int, strength: float) -> float:
    """Return the mean log loss on pictures left out, each once.

    Neighbours stay together: pictures in a row are often of one scene.
    """
    folds = np.zeros(len(classes), np.int64)
    for number in range(count):
        rows = np.flatnonzero(classes == number)
        folds[rows] = np.arange(len(rows)) * _FOLDS // len(rows)
    loss = 0.0
    for fold in range(_FOLDS):
        out = folds == fold
        found = fit(features[~out], classes[~out], count, strength)
        right = found.probabilities(features[out])[np.arange(out.sum()), classes[out]]
        loss -= float(np.log(np.maximum(right, 1e-12)).sum())
    return loss / len(classes)


class _Problem:
    def __init__(self, features: Floats, classes: Integers, count: int, strength: float) -> None:
        self._features = np.column_stack((features, np.ones(len(features))))
        self._wanted = np.eye(count)[classes]
        sizes = np.bincount(classes, minlength=count)
        self._shares = 1.0 / (sizes[classes] * np.count_nonzero(sizes))
        self._penalty = np.full(self._features.shape[1], strength)
        self._penalty[-1] = 0.0  # the bias is free
        self._count = count

    def loss_and_slope(self, flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(self._count, -1)
        found = softmax(self._features @ weights.T)
        right = np.maximum((found * self._wanted).sum(axis=1), np.finfo(np.float64).tiny)
        loss = -float(self._shares @ np.log(right))
        loss += 0.5 * float((np.square(weights) * self._penalty).sum())
        errors = (found - self._wanted) * self._shares[:, None]
        return loss, (errors.T @ self._features + weights * self._penalty).ravel()


def softmax(logits: Floats) -> Floats:
    """Return float64[N, K], each row the exponentials of ``logits`` and summing to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _minimum(problem: _Problem, at: Floats) -> Floats:
    loss, slope = problem.loss_and_slope(at)
    steps: list[tuple[Floats, Floats]] = []
    for _ in range(_MOST_STEPS):
        if float(np.abs(slope).max()) < _TOLERANCE:
            break
        direction = _direction(slope, steps)
        descent, length = float(slope @ direction), 1.0
        while True:
            there = at + length * direction
            new_loss, new_slope = problem.loss_and_slope(there)
            if new_loss <= loss + 1e-4 * length * descent:
                break
            length /= 2.0
            if length < 1e-12:  # the last digits of the loss: there is no lower point
                return at
        moved, turned = there - at, new_slope - slope
        if float(moved @ turned) > 1e-12 * float(turned @ turned):
            steps = [*steps[1 - _MEMORY :], (moved, turned)]
        at, loss, slope = there, new_loss, new_slope
    return at


def _direction(slope: Floats, steps: list[tuple[Floats, Floats]]) -> Floats:
    """Less the slope, times the inverse Hessian as the last steps show it."""
    left = slope.copy()
    factors = []
    for moved, turned in reversed(steps):
        factor = float(moved @ left) / float(moved @ turned)
        factors.append(factor)
        left -= factor * turned
    if steps:
        moved, turned = steps[-1]
        left *= float(moved @ turned) / float(turned @ turned)
    for (moved, turned), factor in zip(steps, reversed(factors), strict=True):
        left += (factor - float(turned @ left) / float(moved @ turned)) * moved
    return -left
