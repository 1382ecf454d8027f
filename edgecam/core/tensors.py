"""Tensors of a model: their shapes and types, and how pixels go in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output tensor of a model as its file states it.

    ``scale`` and ``zero_point`` are per-tensor quantisation, None where there is none.
    ``shape`` is the shape after any resize at load.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, slots=True)
class Normalization:
    """What a model wants of an RGB pixel: ``(pixel - mean) / std``, pixel 0..255, per channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


MINUS_ONE_TO_ONE = Normalization((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
ZERO_TO_ONE = Normalization((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
RAW_PIXELS = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
