"""Train a PoseNet on annotated keypoints, and write it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecam.core.tensors import MINUS_ONE_TO_ONE
from edgecam.tools.convert.conversion import Options
from edgecam.tools.convert.posenet import OUTPUTS
from edgecam.tools.train import export, heads, mobilenet_v1, mobilenet_v2, poses, training, weights
from edgecam.tools.train.coco import Examples, TrainError
from edgecam.tools.train.training import Course, Tell

_CALIBRATION = 20


@dataclass(frozen=True, slots=True, eq=False)
class PoseNet:
    """``size``: (height, width), of sides stride * n + 1."""

    model: Any
    size: tuple[int, int]
    stride: int


def build(network: str, alpha: float, size: tuple[int, int], stride: int) -> PoseNet:
    """Return an untrained one; ``network`` is v1 or v2, ``stride`` 16 or 8.

    Raises:
        ConvertError: TensorFlow is not installed.
        TrainError: the size is none that its decoder can place keypoints in.
    """
    if any(side % stride != 1 for side in size):
        nearest = "x".join(str(max(1, round((side - 1) / stride)) * stride + 1) for side in size)
        raise TrainError(
            f"size {size[0]}x{size[1]}: expected sides of {stride}n+1; the nearest is {nearest}"
        )
    if network == "v1":
        backbone = mobilenet_v1.build(alpha, size, output_stride=stride, short=True)
    else:
        backbone = mobilenet_v2.build(alpha, size, output_stride=stride)
    return PoseNet(heads.posenet(backbone), size, stride)


def train(posenet: PoseNet, examples: Examples, course: Course, tell: Tell) -> list[float]:
    """Train it; return the mean losses as reported.

    Raises:
        TrainError: no picture has keypoints, or it diverges.
    """
    people = [example for example in examples.examples if len(example.keypoints)]
    if not people:
        raise TrainError("the annotations have no keypoints: give person_keypoints_*.json")
    data = poses.batches(people, posenet.size, posenet.stride, course.batch, course.seed)
    losses = training.train(posenet.model, data, poses.loss, course, tell)
    training.recalibrate(posenet.model, data, _CALIBRATION)
    heads.in_pixels(posenet.model, posenet.stride)
    return losses


def keep(posenet: PoseNet, path: Path) -> str:
    """Take over weights that fit from a Keras file; say which.

    Raises:
        ConvertError: nothing fits.
    """
    return str(weights.keep_fitting(posenet.model, path))


def write(posenet: PoseNet, stem: Path) -> list[Path]:
    """Write STEM.keras, STEM.pb and STEM.tflite.

    Raises:
        ConvertError: a file cannot be written, or the network does not convert.
    """
    definition = export.freeze(posenet.model, posenet.size, OUTPUTS)
    options = Options(size=posenet.size, normalization=MINUS_ONE_TO_ONE)
    made = {
        export.beside(stem, ".pb"): definition.SerializeToString(deterministic=True),
        export.beside(stem, ".tflite"): export.convert(definition, stem.name, options).data,
    }
    return export.write(posenet.model, stem, made)
