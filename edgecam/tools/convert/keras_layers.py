"""The layers of a Keras file and their parameters, read without Keras.

A ``.keras`` file is a zip whose ``config.json`` has every layer and the shape that it was built
for (Keras 3, ``saving/saving_lib.py``); an ``.h5`` file has the weights of each layer in a group.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecam.tools.convert.graph import ConvertError

_CONFIG = "config.json"
_MAX_CONFIG_BYTES = 64 << 20
_DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
# Classes with weights; of the others without a shape of weights nothing is known.
_WITHOUT = (
    *("InputLayer", "Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Dropout", "Flatten"),
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"),
    *("Reshape", "Permute", "ZeroPadding2D", "Cropping2D", "UpSampling2D", "Rescaling", "Resizing"),
    *("MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
    *("SpatialDropout2D", "GaussianNoise", "GaussianDropout", "RepeatVector", "Masking"),
    *("RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomCrop"),
)


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer: ``input`` is the shape it was built for, -1 for an open side, None if unsaid.

    ``parameters`` counts its weights, ``fixed`` those of them that training leaves alone; None
    where the class is not known here.
    """

    name: str
    kind: str
    input: tuple[int, ...] | None
    parameters: int | None
    fixed: int | None


def rows(path: Path) -> tuple[LayerRow, ...]:
    """Return the layers of a ``.keras`` or ``.h5`` file, those of models within it too.

    Raises:
        ConvertError: it is damaged or another kind of file, or h5py is missing for an ``.h5``.
    """
    try:
        if path.suffix.lower() == ".keras":
            return tuple(_of_config(_config(path)))
        return tuple(_of_hdf5(path))
    except _DAMAGE as error:
        raise ConvertError(
            f"{path}: expected the layers of a Keras model, found {type(error).__name__}: {error}"
        ) from None


def _config(path: Path) -> Mapping[str, Any]:
    try:
        with zipfile.ZipFile(path) as packed:
            info = packed.getinfo(_CONFIG)
            if info.file_size > _MAX_CONFIG_BYTES:
                raise ConvertError(
                    f"{path}: {_CONFIG} has {info.file_size} bytes, expected "
                    f"{_MAX_CONFIG_BYTES} at most"
                )
            found: Mapping[str, Any] = json.loads(packed.read(info))
            return found
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise ConvertError(f"{path}: expected a zip with {_CONFIG}, found: {error}") from None


def _of_config(model: Mapping[str, Any]) -> Iterator[LayerRow]:
    for layer in model["config"]["layers"]:
        config, kind = layer["config"], str(layer["class_name"])
        if "layers" in config:
            yield from _of_config(layer)
            continue
        built = layer.get("build_config") or {}
        shape = built.get("input_shape")
        stated = config.get("batch_shape") or config.get("batch_input_shape") or shape
        weights, fixed = _count(kind, config, shape)
        if config.get("trainable") is False:
            fixed = weights
        name = str(layer.get("name") or config.get("name"))
        yield LayerRow(name, kind, _sides(stated), weights, fixed)


def _sides(shape: Any) -> tuple[int, ...] | None:
    if not isinstance(shape, Sequence) or not all(isinstance(s, int | None) for s in shape):
        return None
    return tuple(-1 if side is None else side for side in shape)


def _count(
    kind: str, config: Mapping[str, Any], shape: Sequence[int | None] | None
) -> tuple[int | None, int | None]:
    """How many weights a layer has, and how many of them training leaves alone."""
    if kind in _WITHOUT:
        return 0, 0
    if not shape or not isinstance(shape[-1], int):
        return None, None
    taken = shape[-1]
    bias = bool(config.get("use_bias", False))
    if kind == "Dense":
        return (taken + bias) * config["units"], 0
    if kind == "BatchNormalization":
        learnt = bool(config.get("scale", True)) + bool(config.get("center", True))
        return (learnt + 2) * taken, 2 * taken
    if kind == "LayerNormalization":
        return (bool(config.get("scale", True)) + bool(config.get("center", True))) * taken, 0
    if kind not in ("Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D"):
        return None, None
    window = math.prod(config["kernel_size"])
    if kind == "DepthwiseConv2D":
        return (window + bias) * taken * config["depth_multiplier"], 0
    made = config["filters"]
    if kind == "SeparableConv2D":
        between = taken * config["depth_multiplier"]
        return window * between + (between + bias) * made, 0
    return (window * taken // config.get("groups", 1) + bias) * made, 0


def _of_hdf5(path: Path) -> Iterator[LayerRow]:
    try:
        import h5py
    except ImportError:
        raise ConvertError(
            f"{path.name}: the layers of an .h5 file need h5py; pip install h5py, or save the "
            "model as .keras"
        ) from None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ConvertError(f"{path}: expected an HDF5 file, found: {error}") from None
    with file:
        config = json.loads(file.attrs["model_config"])
        held: dict[str, int] = {}
        moving: dict[str, int] = {}

        def note(name: str, found: Any) -> None:
            if isinstance(found, h5py.Dataset):
                layer = name.partition("/")[0]
                size = math.prod(found.shape)
                held[layer] = held.get(layer, 0) + size
                if "moving_" in name.rpartition("/")[2]:
                    moving[layer] = moving.get(layer, 0) + size

        file["model_weights"].visititems(note)
        for layer in config["config"]["layers"]:
            settings = layer["config"]
            name = str(settings.get("name") or layer.get("name"))
            count = held.get(name, 0)
            fixed = count if settings.get("trainable") is False else moving.get(name, 0)
            shape = settings.get("batch_input_shape") or settings.get("batch_shape")
            yield LayerRow(name, str(layer["class_name"]), _sides(shape), count, fixed)
