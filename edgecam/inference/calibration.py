"""Scores as a model's publisher calibrated them: TFLite metadata's TENSOR_AXIS_SCORE_CALIBRATION.

A line of the file has scale, slope, offset and perhaps the least score of a class; an empty one,
and a score below the least, means the default. Calibrated is ``scale * sigmoid(slope * f(score) +
offset)``, where f is the identity, the logarithm or the inverse of the logistic function.
Source: ``ScoreCalibrationOptions`` in metadata_schema.fbs of TFLite Support.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgecam.core import bounded_file
from edgecam.core.errors import ModelError
from edgecam.inference.tflite.metadata import Metadata

IDENTITY, LOG, INVERSE_LOGISTIC = 0, 1, 2
# What a score of 0 counts as where its logarithm is taken.
_LEAST = 1e-16


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """The parameters of one class."""

    scale: float
    slope: float
    offset: float
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """``classes`` holds the parameters by class number, None where the default counts."""

    classes: tuple[Sigmoid | None, ...]
    transformation: int
    default: float

    def __call__(self, class_id: int, score: float) -> float:
        """Return the calibrated score, 0..1."""
        known = self.classes[class_id] if class_id < len(self.classes) else None
        if known is None or score < known.least:
            return self.default
        value = score
        if self.transformation != IDENTITY:
            value = math.log(max(score, _LEAST))
        if self.transformation == INVERSE_LOGISTIC:
            value -= math.log(max(1.0 - score, _LEAST))
        exponent = known.slope * value + known.offset
        # The half of the curve on which nothing overflows.
        small = math.exp(-abs(exponent))
        sigmoid = (1.0 if exponent >= 0.0 else small) / (1.0 + small)
        return min(1.0, max(0.0, known.scale * sigmoid))


def calibration(found: Metadata) -> Calibration | None:
    """Return what the metadata of a model says, None where it is silent.

    Raises:
        ModelError: the file that it names holds no parameters.
    """
    said = next((o for o in found.outputs if o.calibration_file in found.files), None)
    if said is None or said.calibration_file is None:
        return None
    name = said.calibration_file
    try:
        text = found.files[name].decode()[: bounded_file.TEXT_BYTES]
        lines = tuple(_parameters(line) for line in text.splitlines())
    except ValueError:
        raise ModelError(
            f"{name} in the model's file: expected scale,slope,offset[,least score] or nothing "
            "in each line; take the model without its metadata"
        ) from None
    return Calibration(lines, said.transformation, said.default_score)


def _parameters(line: str) -> Sigmoid | None:
    """
    Raises:
        ValueError: there are not three or four finite numbers, or the scale is negative.
    """
    if not line.strip():
        return None
    numbers = [float(part) for part in line.split(",")]
    if len(numbers) not in (3, 4) or not all(map(math.isfinite, numbers)) or numbers[0] < 0.0:
        raise ValueError(line)
    return Sigmoid(*numbers)
