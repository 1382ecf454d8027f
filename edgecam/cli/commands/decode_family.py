"""Saved outputs of the families that are recognised by their tensors, for ``edgecam decode``."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edgecam.cli.commands import saved_outputs
from edgecam.cli.commands.saved_outputs import PICTURE, SavedOutputs, Tensors
from edgecam.core.errors import EdgecamError, ModelError
from edgecam.core.printable import say
from edgecam.core.protocols import DecodeOptions, Decoder, Finds
from edgecam.core.result import Decoded
from edgecam.core.tensors import TensorInfo
from edgecam.inference import labels
from edgecam.inference.decoders.family import FamilyContext
from edgecam.inference.decoders.movenet_grid import STRIDE

Size = tuple[int, int]

# Sides of a square input that are tried where the file does not say its size.
_SIDES = range(32, 1313, 32)
_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True, slots=True)
class _Family:
    """How saved outputs of one family are taken.

    ``files``: of decoders, one of which takes the tensors. ``least``: default threshold, of a
    person's whole score where ``by_person``. ``stride_px``: from cell to cell of a map, by which
    the input's size shows; None where it takes the picture. ``op``: what makes the outputs.
    ``side_px``: of its square input, where the outputs do not depend on it. ``aliases``: what else
    people call it.
    """

    files: tuple[str, ...]
    least: float
    max_poses: int
    by_person: bool = False
    stride_px: int | None = None
    op: str = ""
    side_px: int | None = None
    aliases: tuple[str, ...] = ()


# MoveNet scores people lower than PoseNet its roots; below 0.1 there are next to no people.
_FAMILIES: Mapping[str, _Family] = {
    "movenet": _Family(
        ("movenet_heads", "movenet"),
        0.1,
        1,
        by_person=True,
        stride_px=STRIDE,
        aliases=("lightning", "thunder"),
    ),
    "movenet-multipose": _Family(
        ("movenet_multipose_heads", "movenet_multipose"),
        0.1,
        6,
        by_person=True,
        stride_px=STRIDE,
        aliases=("multipose",),
    ),
    "mediapipe": _Family(
        ("mediapipe_person", "mediapipe_pose"),
        0.5,
        5,
        side_px=256,
        aliases=("mediapipe-person", "mediapipe-pose", "mediapipe-detector", "blazepose"),
    ),
    "nanodet": _Family(("nanodet",), 0.35, 5, aliases=("nanodet-plus",)),
    "yolo": _Family(
        ("yolo",),
        0.25,
        20,
        aliases=("yolov5", "yolov8", "yolov10", "yolo11", "yolo26", "yolo-pose"),
    ),
    "ssd": _Family(("ssd",), 0.5, 5, op="LOGISTIC", aliases=("efficientdet", "mobiledet")),
    "fomo": _Family(("fomo",), 0.5, 5, stride_px=8, op="SOFTMAX"),
}
FAMILIES = tuple(_FAMILIES)
_ALIASES = {alias: name for name, family in _FAMILIES.items() for alias in family.aliases}


if TYPE_CHECKING:
    _Names = click.Choice[str]
else:
    # Before click 8.2 it is of no type in particular.
    _Names = click.Choice


class DecoderName(_Names):
    """One of the names; what else people call a family is taken too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the family's own name."""
        name = str(value).lower().replace("_", "-")
        return super().convert(_ALIASES.get(name, name), param, ctx)


def decode(
    path: Path, name: str, max_poses: int | None, threshold: float | None, label_file: str | None
) -> tuple[Finds, Decoded]:
    """Return what kind of thing the family finds, and what it finds in the file's tensors.

    All is in pixels of the network's input.

    Raises:
        EdgecamError: the file cannot be read, or its tensors are not of that family.
    """
    family = _FAMILIES[name]
    saved = saved_outputs.read(path)
    names = labels.load(Path(label_file)) if label_file is not None else saved.labels
    decoder, tensors = _recognised(path, name, saved, names)
    least = family.least if threshold is None else threshold
    # A whole network's answer has so many rows; they are all people's.
    rows = max(values.shape[1] for values in tensors.values() if values.ndim > 1)
    most = rows if family.by_person and len(tensors) == 1 else family.max_poses
    options = DecodeOptions(
        score_threshold=0.0 if family.by_person else least,
        min_pose_score=least,
        max_poses=most if max_poses is None else max_poses,
    )
    arrays = list(tensors.values())
    return decoder.finds, decoder([arrays[place] for place in decoder.outputs], options)


def _recognised(
    path: Path, name: str, saved: SavedOutputs, names: tuple[str, ...] | None
) -> tuple[Decoder, Tensors]:
    """Return the decoder that takes the outputs, and them with a batch of one in front."""
    family = _FAMILIES[name]
    size = saved.size or _by_cells(saved.tensors, family.stride_px)
    if size is not None:
        found = _of_size(path, name, saved, names, size)
        if found is not None:
            return found
        raise EdgecamError(
            f"{path}: expected the outputs of {name} for an input of {size[0]}x{size[1]}, found "
            f"{saved.shown()}; edgecam decode --help lists their names"
        )
    squares = _squares(path, name, saved, names)
    if len(squares) == 1:
        ((side, found),) = squares.items()
        if side != family.side_px:
            say(
                f"{name}: no {PICTURE} says the input's size; {side}x{side} has that many places",
                err=True,
            )
        return found
    if squares:
        raise EdgecamError(
            f"{path}: the size of the network's input is unknown; save the picture that it got as "
            f"{PICTURE} [H, W, 3] beside the outputs"
        )
    raise EdgecamError(
        f"{path}: expected the outputs of {name}, found {saved.shown()}; edgecam decode --help "
        f"lists their names; where the input is not square, save its picture as {PICTURE}"
    )


def _squares(
    path: Path, name: str, saved: SavedOutputs, names: tuple[str, ...] | None
) -> dict[int, tuple[Decoder, Tensors]]:
    """Return the sides of square inputs whose outputs they may be, the family's own if it fits."""
    fitting = {}
    for side in (_FAMILIES[name].side_px, *_SIDES):
        found = None if side is None else _of_size(path, name, saved, names, (side, side))
        if side is not None and found is not None:
            fitting[side] = found
            if side == _FAMILIES[name].side_px:
                break
    return fitting


def _by_cells(tensors: Tensors, stride_px: int | None) -> Size | None:
    if stride_px is None:
        return None
    maps = [values.shape[-3:-1] for values in tensors.values() if values.ndim in (3, 4)]
    if not maps or any(one != maps[0] for one in maps) or min(maps[0]) < 2:
        return None
    return maps[0][0] * stride_px, maps[0][1] * stride_px


def _of_size(
    path: Path, name: str, saved: SavedOutputs, names: tuple[str, ...] | None, size: Size
) -> tuple[Decoder, Tensors] | None:
    problem: ModelError | None = None
    for tensors in saved.forms():
        try:
            decoder = _first(name, tensors, names, size)
        except ModelError as error:
            problem = problem or error
            continue
        if decoder is not None:
            return decoder, tensors
    if problem is not None:
        raise EdgecamError(f"{path}: {problem}")
    return None


def _first(
    name: str, tensors: Tensors, names: tuple[str, ...] | None, size: Size
) -> Decoder | None:
    inputs = [TensorInfo(0, PICTURE, (1, *size, 3), _FLOAT)]
    outputs = [
        TensorInfo(index, key, values.shape, _FLOAT)
        for index, (key, values) in enumerate(tensors.items(), 1)
    ]
    context = FamilyContext(labels=names, output_ops=(_FAMILIES[name].op,) * len(outputs))
    return next(_takers(name, inputs, outputs, context), None)


def _takers(
    name: str, inputs: list[TensorInfo], outputs: list[TensorInfo], context: FamilyContext
) -> Iterator[Decoder]:
    for file in _FAMILIES[name].files:
        module = importlib.import_module(f"edgecam.inference.decoders.{file}")
        decoder: Decoder | None = module.recognise(inputs, outputs, context)
        if decoder is not None:
            yield decoder
