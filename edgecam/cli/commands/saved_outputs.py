"""A network's outputs as a person saved them: real numbers, and the size of the input."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.cli.commands import saved_tensors
from edgecam.cli.commands.saved_tensors import Array
from edgecam.core.errors import EdgecamError

PICTURE = "input"
# What test vectors hold besides the network's outputs.
_EXPECTED = "expected"
_SIZES = ("input_size", "input_shape")
_LABELS = ("labels", "names")
# Behind the name of a quantised output, and of its two numbers.
_TYPE = re.compile(r"_(?:u8|i8|uint8|int8)$")
_SCALE, _ZERO_POINTS, _BOTH = "_scale", ("_zero_point", "_zp"), "_quantization"
# So many outputs at most are tried with and without a batch of one.
_MOST_FORMS = 7

Tensors = Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class SavedOutputs:
    """``tensors``: float32 by name, as saved. ``size``: (height, width) of the input, or None.

    ``labels``: names of the classes, None where the file has none.
    """

    tensors: Tensors
    size: tuple[int, int] | None
    labels: tuple[str, ...] | None

    def forms(self) -> Iterator[Tensors]:
        """Yield the tensors as the network may have returned them, with sides of one put back."""
        values = list(self.tensors.values())
        ways = [_with_batch(each) for each in values]
        if len(ways) > _MOST_FORMS:
            ways = [way[:1] for way in ways]
        for form in itertools.product(*ways):
            yield dict(zip(self.tensors, form, strict=True))

    def shown(self) -> str:
        """Return names and shapes for a message."""
        rows = [f"{key} {list(values.shape)}" for key, values in self.tensors.items()]
        return ", ".join(rows) or "none"


def read(path: Path) -> SavedOutputs:
    """Read all outputs of the file.

    Raises:
        EdgecamError: the file cannot be read, or an array is no output.
    """
    with saved_tensors.opened(path) as file:
        arrays: dict[str, Array] = {key: file[key] for key in file.files}
    size = _size(path, arrays)
    labels = _labels(path, arrays)
    tensors = {
        _TYPE.sub("", key): _real(path, key, arrays)
        for key in arrays
        if not (_is_beside(key) or _belongs_to_another(key, arrays))
    }
    return SavedOutputs(tensors, size, labels)


def _is_beside(key: str) -> bool:
    return key in (PICTURE, *_SIZES, *_LABELS) or key.startswith(_EXPECTED)


def _belongs_to_another(key: str, arrays: Tensors) -> bool:
    """Whether it is a number of another array's quantisation: ``box_scale`` is an output itself."""
    for ending in (_SCALE, *_ZERO_POINTS, _BOTH):
        base = key.removesuffix(ending)
        if base != key and any(_TYPE.sub("", other) == base for other in arrays if other != key):
            return arrays[key].size <= 2
    return False


def _real(path: Path, key: str, arrays: Tensors) -> Array:
    """Return an output as real numbers, float32, by its own quantisation where it has one."""
    values = arrays[key]
    if values.dtype.kind not in "fiu":
        raise EdgecamError(f"{path}: {key} is {values.dtype}, expected float32")
    if not values.size:
        raise EdgecamError(f"{path}: {key} is empty, shape {list(values.shape)}")
    quantisation = _quantisation(path, key, arrays)
    if values.dtype.kind != "f" and values.dtype.itemsize < 4 and quantisation is None:
        base = _TYPE.sub("", key)
        raise EdgecamError(
            f"{path}: {key} is {values.dtype} without its quantisation; save {base}{_SCALE} and "
            f"{base}{_ZERO_POINTS[0]} beside it, or float32"
        )
    if quantisation is not None and values.dtype.kind != "f":
        scale, zero_point = quantisation
        values = (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, np.float32).reshape(values.shape)
    if not np.isfinite(values).all():
        raise EdgecamError(f"{path}: {key} holds NaN or infinity; save finite outputs")
    return values


def _quantisation(path: Path, key: str, arrays: Tensors) -> tuple[float, float] | None:
    for base in dict.fromkeys((key, _TYPE.sub("", key))):
        both = arrays.get(base + _BOTH)
        scale = arrays.get(base + _SCALE) if both is None else both.ravel()[:1]
        if scale is None or base + _SCALE == key:
            continue
        zero = next((arrays[base + end] for end in _ZERO_POINTS if base + end in arrays), None)
        if both is not None:
            zero = both.ravel()[1:]
        numbers = [float(scale.item()) if scale.size == 1 else np.nan]
        numbers.append(0.0 if zero is None else float(zero.item()) if zero.size == 1 else np.nan)
        if not (np.isfinite(numbers).all() and numbers[0] > 0.0):
            raise EdgecamError(
                f"{path}: {base}: expected one scale above 0 and one zero point in {base}{_SCALE} "
                f"and {base}{_ZERO_POINTS[0]}, found other values"
            )
        return numbers[0], numbers[1]
    return None


def _size(path: Path, arrays: Tensors) -> tuple[int, int] | None:
    """Return (height, width) of the input: stated, or that of the picture, channels last or not."""
    for key in _SIZES:
        if key in arrays:
            return _sides(path, key, arrays[key].ravel().tolist())
    if PICTURE not in arrays:
        return None
    return _sides(path, PICTURE, arrays[PICTURE].shape)


def _sides(path: Path, key: str, found: Any) -> tuple[int, int]:
    sides = [side for side in found if isinstance(side, int)]
    if len(sides) == 4 and sides[0] == 1:
        sides = sides[1:]
    if len(sides) == 3 and 3 in (sides[0], sides[2]):
        sides = sides[:2] if sides[2] == 3 else sides[1:]
    if len(sides) != 2 or min(sides) < 1:
        raise EdgecamError(
            f"{path}: {key}: expected one picture [H, W, 3] of RGB, found {list(found)}"
        )
    return sides[0], sides[1]


def _labels(path: Path, arrays: Tensors) -> tuple[str, ...] | None:
    key = next((key for key in _LABELS if key in arrays), None)
    if key is None:
        return None
    values = arrays[key]
    if values.dtype.kind not in "US":
        raise EdgecamError(f"{path}: {key} is {values.dtype}, expected the names of the classes")
    return tuple(str(name) for name in values.astype(str).ravel().tolist())


def _with_batch(values: Array) -> list[Array]:
    """Return the ways in which sides of one may have been left out, the likeliest first."""
    has_batch = values.ndim > 0 and values.shape[0] == 1
    ways = [values, values[None]] if has_batch else [values[None]]
    if values.ndim == 0:
        ways.append(values[None, None])
    if values.ndim == 1:
        ways.append(values[None, :, None])
    if values.ndim == 2:
        ways += [values[None, None], values[None, ..., None]]
    return ways
