"""Classifiers of a few kB: the mean colour of the picture, through one layer of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgecam.core.tensors import Normalization
from edgecam.tools.convert import metadata, writer
from edgecam.tools.convert.lite import LiteModel

UNIT = Normalization((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
# Red, green, blue: each class is the colour of its channel.
BY_COLOUR = np.eye(3, dtype=np.float32) * 20.0


def colour_classifier(
    weights: np.ndarray = BY_COLOUR,
    size: tuple[int, int] = (8, 8),
    *,
    end: str = "SOFTMAX",
    labels: Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
    output: str = "probability",
) -> bytes:
    """Return a model: a score for each row of ``weights`` [classes, channels].

    It ends with ``end``: SOFTMAX, FULLY_CONNECTED or MEAN (then the weights are left out).
    ``labels`` are packed as its metadata names them, ``files`` as they are.
    """
    model, (classes, channels) = LiteModel(), weights.shape
    picture = model.tensor("picture", (1, *size, channels))
    axes = model.constant("axes", np.array([1, 2], np.int32))
    mean = "mean" if end != "MEAN" else output
    last = model.add("MEAN", (picture, axes), mean, (1, channels))
    if end != "MEAN":
        matrix = model.constant("weights", weights.astype(np.float32))
        bias = model.constant("bias", np.zeros(classes, np.float32))
        name = output if end == "FULLY_CONNECTED" else "logits"
        last = model.add("FULLY_CONNECTED", (last, matrix, bias), name, (1, classes))
    if end == "SOFTMAX":
        last = model.add("SOFTMAX", (last,), output, (1, classes), {"beta": 1.0})
    model.inputs, model.outputs = [picture], [last]
    data = writer.write(model, "tiny", UNIT, labels, last if labels else None)
    return metadata.append_files(data, files) if files else data


def write(path: Path, data: bytes) -> Path:
    """Write it, for people who want a path back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
