"""Saved outputs of the families that are recognised by their tensors, for ``edgecam decode``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecam.cli.commands import saved_tensors
from edgecam.cli.commands.saved_tensors import Array
from edgecam.core.errors import EdgecamError
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded
from edgecam.core.tensors import TensorInfo
from edgecam.inference.decoders.family import FamilyContext
from edgecam.inference.decoders.movenet_grid import STRIDE

# What test vectors hold besides the network's outputs.
_PICTURE, _EXPECTED = "input", "expected"


@dataclass(frozen=True, slots=True)
class _Family:
    """How saved outputs of one family are taken.

    ``files``: of decoders, one of which takes the tensors. ``least``: default threshold, of a
    person's whole score where ``by_person``. ``stride_px``: from cell to cell of a map, by which
    the input's size shows; None where it takes the picture. ``op``: what makes the outputs.
    """

    files: tuple[str, ...]
    least: float
    max_poses: int
    by_person: bool = False
    stride_px: int | None = None
    op: str = ""


# MoveNet scores people lower than PoseNet its roots; below 0.1 there are next to no people.
_FAMILIES: Mapping[str, _Family] = {
    "movenet": _Family(("movenet_heads", "movenet"), 0.1, 1, by_person=True, stride_px=STRIDE),
    "movenet-multipose": _Family(
        ("movenet_multipose_heads", "movenet_multipose"), 0.1, 6, by_person=True, stride_px=STRIDE
    ),
    "nanodet": _Family(("nanodet",), 0.35, 5),
    "yolo": _Family(("yolo",), 0.25, 20),
    "ssd": _Family(("ssd",), 0.5, 5, op="LOGISTIC"),
    "fomo": _Family(("fomo",), 0.5, 5, stride_px=8, op="SOFTMAX"),
}
FAMILIES = tuple(_FAMILIES)


def decode(
    path: Path, name: str, max_poses: int | None, threshold: float | None
) -> tuple[Finds, Decoded]:
    """Return what kind of thing the family finds, and what it finds in the file's tensors.

    All is in pixels of the network's input.

    Raises:
        EdgecamError: the file cannot be read, or its tensors are not of that family.
    """
    family = _FAMILIES[name]
    with saved_tensors.opened(path) as file:
        names = [key for key in file.files if key not in (_PICTURE, _EXPECTED)]
        tensors = {key: _checked(path, key, file[key]) for key in names}
        picture = file[_PICTURE].shape if _PICTURE in file else None
    decoder = _recognised(path, name, tensors, _size(tensors, picture, family.stride_px))
    least = family.least if threshold is None else threshold
    options = DecodeOptions(
        score_threshold=0.0 if family.by_person else least,
        min_pose_score=least,
        max_poses=family.max_poses if max_poses is None else max_poses,
    )
    arrays = list(tensors.values())
    return decoder.finds, decoder([arrays[place] for place in decoder.outputs], options)


def _checked(path: Path, key: str, values: Array) -> Array:
    """Return an output as the interpreter would: float32, with a batch of one in front."""
    if values.dtype.kind != "f":
        raise EdgecamError(f"{path}: {key} is {values.dtype}, expected float32")
    if not np.isfinite(values).all():
        raise EdgecamError(f"{path}: {key} holds NaN or infinity; save finite outputs")
    has_batch = values.ndim > 0 and values.shape[0] == 1
    return np.ascontiguousarray(values if has_batch else values[None], np.float32)


def _size(
    tensors: Mapping[str, Array], picture: tuple[int, ...] | None, stride_px: int | None
) -> tuple[int, int] | None:
    """Return (height, width) of the network's input: of the picture, else by a map of cells."""
    if picture is not None:
        return (picture[-3], picture[-2]) if len(picture) in (3, 4) else None
    if stride_px is None:
        return None
    grids = [values.shape[1:3] for values in tensors.values() if values.ndim == 4]
    return (grids[0][0] * stride_px, grids[0][1] * stride_px) if grids else None


def _recognised(
    path: Path, name: str, tensors: Mapping[str, Array], size: tuple[int, int] | None
) -> Decoder:
    if size is None:
        raise EdgecamError(
            f"{path}: the size of the network's input is unknown; save the picture that it got as "
            f"{_PICTURE} [H, W, 3] beside the outputs"
        )
    floats = np.dtype(np.float32)
    inputs = [TensorInfo(0, _PICTURE, (1, *size, 3), floats)]
    outputs = [
        TensorInfo(index, key, values.shape, floats)
        for index, (key, values) in enumerate(tensors.items(), 1)
    ]
    context = FamilyContext(output_ops=(_FAMILIES[name].op,) * len(outputs))
    for file in _FAMILIES[name].files:
        module = importlib.import_module(f"edgecam.inference.decoders.{file}")
        decoder: Decoder | None = module.recognise(inputs, outputs, context)
        if decoder is not None:
            return decoder
    found = ", ".join(f"{key} {list(values.shape[1:])}" for key, values in tensors.items())
    raise EdgecamError(
        f"{path}: expected the outputs of {name} for an input of {size[0]}x{size[1]}, found "
        f"{found or 'none'}; edgecam decode --help lists their names"
    )
