"""Train a classifier on a folder for each label: from nothing, or from PoseNet's layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.frame import Image
from edgecam.core.tensors import MINUS_ONE_TO_ONE
from edgecam.inference.preprocess import Resizer
from edgecam.inference.tflite.metadata import FIT_NAME
from edgecam.tools.convert import metadata
from edgecam.tools.convert.conversion import Options
from edgecam.tools.convert.lite_reader import read
from edgecam.tools.convert.tensorflow_load import open_tensorflow
from edgecam.tools.convert.writer import write
from edgecam.tools.train import export, heads, mobilenet_v1, mobilenet_v2, training, weights
from edgecam.tools.train.coco import TrainError
from edgecam.tools.train.labelled_images import Reader, check_count, held_out
from edgecam.tools.train.training import Batches, Course, Tell, relit, shuffled

SCORES = "scores"
_BUILDERS: Mapping[str, Callable[..., Any]] = {"v1": mobilenet_v1.build, "v2": mobilenet_v2.build}
_CLASS = "class"
_HEAD_RATE = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """``images``: uint8[H, W, 3] RGB each; ``classes``: int64[N]; ``held_out``: bool[N]."""

    images: Sequence[Image]
    classes: NDArray[np.int64]
    held_out: NDArray[np.bool_]


def load(files: Mapping[str, Sequence[Path]], size: tuple[int, int]) -> Pictures:
    """Read the pictures of each label at model size; damaged ones are passed over.

    Raises:
        TeachError: a label has too few that can be read.
    """
    resizer, reader = Resizer(*size, "letterbox"), Reader()
    images, numbers = [], []
    for number, (label, paths) in enumerate(files.items()):
        for path in paths:
            if (frame := reader.read(path)) is not None:
                image = resizer.buffer()
                resizer.resize_into(frame, image)
                images.append(image)
                numbers.append(number)
        check_count(label, numbers.count(number), str(paths[0].parent))
    reader.close()
    classes = np.array(numbers, np.int64)
    return Pictures(images, classes, held_out(classes))


def build(
    network: str, alpha: float, size: tuple[int, int], classes: int, weights_of: Path | None
) -> tuple[Any, int]:
    """Return a Keras classifier, and how many of its first layers have ``weights_of``'s weights.

    ``network`` is v1 or v2. ``weights_of``: a float .tflite of a MobileNet V1 of that ``alpha``,
    such as the bundled PoseNet in float16, whose batch normalisation is folded.

    Raises:
        ConvertError: TensorFlow is not installed, or the weights do not fit.
    """
    if weights_of is None:
        return heads.classifier(_BUILDERS[network](alpha, size), classes), 0
    if network != "v1":
        raise TrainError("--fine-tune begins with a PoseNet, which is a MobileNet V1: leave v2 out")
    backbone = mobilenet_v1.build(alpha, size, normalised=False, short=True)
    model = heads.classifier(backbone, classes)
    layers = [layer for layer in model.layers if "conv2d" in type(layer).__name__.lower()]
    weights.take_folded(layers, weights_of)
    return model, len(layers)


def train(model: Any, pictures: Pictures, course: Course, tell: Tell, frozen_steps: int) -> None:
    """Train on what is not held out; for ``frozen_steps`` before that, the dense layer alone.

    Raises:
        TrainError: it diverges.
    """
    data = _batches(pictures, course)
    if frozen_steps:
        for layer in model.layers[:-1]:
            layer.trainable = False
        # The dense layer begins with nothing and takes a rate that would ruin the others.
        head = replace(course, steps=frozen_steps, rate=_HEAD_RATE)
        training.train(model, data, loss, head, tell)
        for layer in model.layers:
            layer.trainable = True
    training.train(model, data, loss, course, tell)
    training.recalibrate(model, data, 10)


def _batches(pictures: Pictures, course: Course) -> Batches:
    rng = np.random.default_rng(course.seed)
    rows = np.flatnonzero(~pictures.held_out)
    for places in shuffled(len(rows), course.batch, rng):
        chosen = rows[list(places)]
        images = np.stack([pictures.images[int(row)] for row in chosen])
        yield relit(images, rng), {_CLASS: pictures.classes[chosen]}


def loss(found: Any, wanted: Any) -> Any:
    """The mean log loss of the right classes."""
    tensorflow = open_tensorflow()
    losses = tensorflow.keras.losses.sparse_categorical_crossentropy(wanted[_CLASS], found)
    return tensorflow.reduce_mean(losses)


def confusion(model: Any, pictures: Pictures) -> NDArray[np.int64]:
    """Return int64[K, K] of the held-out pictures, a row for each true class."""
    rows = np.flatnonzero(pictures.held_out)
    images = np.stack([pictures.images[int(row)] for row in rows])
    found = model.predict((images / 127.5 - 1.0).astype(np.float32), verbose=0).argmax(axis=1)
    count = int(pictures.classes.max()) + 1
    counted = np.zeros((count, count), np.int64)
    np.add.at(counted, (pictures.classes[rows], found), 1)
    return counted


def to_tflite(model: Any, size: tuple[int, int], labels: Sequence[str], description: str) -> bytes:
    """Return the .tflite with its labels inside.

    Raises:
        ConvertError: it does not convert.
    """
    definition = export.freeze(model, size, (SCORES,))
    options = Options(normalization=MINUS_ONE_TO_ONE)
    converted = export.convert(definition, description, options)
    lite = read(converted.data, description)
    return write(
        lite,
        description,
        MINUS_ONE_TO_ONE,
        labels,
        0,
        metadata.AXIS_LABELS,
        {FIT_NAME: b"letterbox"},
    )
