"""One training loop for every head: Adam, a rate that rises and falls, progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.tools.convert.tensorflow_load import open_tensorflow
from edgecam.tools.train.coco import TrainError

Floats = NDArray[np.float32]
Targets = Mapping[str, NDArray[Any]]
# Pictures float32[B, H, W, 3] in -1..1, and what a loss compares the outputs with.
Batches = Iterator[tuple[Floats, Targets]]
Loss = Callable[[Any, Mapping[str, Any]], Any]

_WARM_UP = 0.05  # share of the steps in which the rate rises
_LARGEST_SLOPE = 10.0


@dataclass(frozen=True, slots=True)
class Course:
    """``rate``: the highest learning rate; ``every``: steps between two reports."""

    steps: int
    batch: int = 16
    rate: float = 1e-3
    seed: int = 0
    every: int = 50


@dataclass(frozen=True, slots=True)
class Progress:
    """``loss``: mean since the last report; ``left_s``: about how long the rest takes."""

    step: int
    steps: int
    loss: float
    left_s: float


Tell = Callable[[Progress], None]


def train(model: Any, batches: Batches, loss: Loss, course: Course, tell: Tell) -> list[float]:
    """Train a Keras model's trainable weights; return the mean losses as reported.

    Raises:
        TrainError: the loss is no finite number any more.
    """
    tensorflow = open_tensorflow()
    optimizer = tensorflow.keras.optimizers.Adam(course.rate, clipnorm=_LARGEST_SLOPE)
    optimizer.build(model.trainable_variables)
    rate = tensorflow.Variable(0.0, trainable=False, dtype=tensorflow.float32)

    @tensorflow.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(pictures: Any, targets: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            found = loss(model(pictures, training=True), targets)
        slopes = tape.gradient(found, model.trainable_variables)
        optimizer.learning_rate.assign(rate)
        optimizer.apply_gradients(zip(slopes, model.trainable_variables, strict=True))
        return found

    reported: list[float] = []
    recent: list[float] = []
    started_s = time.monotonic()
    for number, (pictures, targets) in zip(range(1, course.steps + 1), batches, strict=False):
        rate.assign(course.rate * share_of_rate(number, course.steps))
        recent.append(float(step(pictures, dict(targets))))
        if not math.isfinite(recent[-1]):
            raise TrainError(
                f"the loss is {recent[-1]} at step {number}: train with a lower --rate than "
                f"{course.rate:g}"
            )
        if number % course.every == 0 or number == course.steps:
            reported.append(float(np.mean(recent)))
            recent.clear()
            each_s = (time.monotonic() - started_s) / number
            tell(Progress(number, course.steps, reported[-1], each_s * (course.steps - number)))
    return reported


def share_of_rate(step: int, steps: int) -> float:
    """What part of the rate a step takes: up along a line, down along half a cosine."""
    warm_up = max(1, round(_WARM_UP * steps))
    if step <= warm_up:
        return step / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up + 1)))


def shuffled(count: int, batch: int, rng: np.random.Generator) -> Iterator[Sequence[int]]:
    """Yield places 0..count-1 without end, ``batch`` at a time, each as often as any other."""
    waiting: list[int] = []
    while True:
        while len(waiting) < batch:
            waiting += rng.permutation(count).tolist()
        yield waiting[:batch]
        del waiting[:batch]


def relit(images: NDArray[np.uint8], rng: np.random.Generator) -> Floats:
    """Return pictures uint8[B, H, W, 3] as -1..1, each a little brighter, paler or tinted."""
    shape = (len(images), 1, 1)
    gain = rng.uniform(0.75, 1.25, (*shape, 1)) * rng.uniform(0.93, 1.07, (*shape, 3))
    lift = rng.uniform(-0.15, 0.15, (*shape, 1))
    found = (images / 127.5 - 1.0) * gain + lift
    return np.clip(found, -1.0, 1.0).astype(np.float32)


def recalibrate(model: Any, batches: Batches, steps: int) -> None:
    """Set the averages of batch normalisation to those of ``steps`` batches.

    A short training ends before the moving averages have followed the weights.
    """
    layers = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    kept = [layer.momentum for layer in layers]
    for number, (pictures, _) in zip(range(steps), batches, strict=False):
        for layer in layers:
            layer.momentum = number / (number + 1.0)
        model(pictures, training=True)
    for layer, momentum in zip(layers, kept, strict=True):
        layer.momentum = momentum
