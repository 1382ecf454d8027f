"""Weights of another network, taken over where their shapes still fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecam.inference.tflite.file import load
from edgecam.tools.convert import lite_reader
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.tensorflow_load import first_line, open_tensorflow, silence

_NUMBER = re.compile(r"(?<=_)\d+(?=_|$)")  # in a layer's name
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


@dataclass(frozen=True, slots=True)
class Kept:
    """Names of layers: ``kept`` took the weights, ``differing`` have another shape there,
    ``missing`` are not there at all.
    """

    kept: tuple[str, ...]
    differing: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        found = len(self.kept) + len(self.differing) + len(self.missing)
        lines = [f"kept the weights of {len(self.kept)} of {found} layers: {listed(self.kept)}"]
        for names, what in ((self.differing, "of another shape"), (self.missing, "not there")):
            if names:
                lines.append(f"{len(names)} {what}: {listed(names)}")
        return "\n".join(lines)


def listed(names: Sequence[str]) -> str:
    """Return every name in short: block_1_expand and block_2_expand are block_1..2_expand."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for name in names:
        number = _NUMBER.search(name)
        if number is None:
            numbers[name, ""] = []
        else:
            place = (name[: number.start()], name[number.end() :])
            numbers.setdefault(place, []).append(int(number[0]))
    return ", ".join(start + _runs(found) + end for (start, end), found in numbers.items())


def _runs(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 as 1..3+7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return "+".join(str(r[0]) if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in runs)


def keep_fitting(model: Any, path: Path) -> Kept:
    """Take over from a Keras file what has the same layer's name and the same shapes.

    Raises:
        ConvertError: Keras cannot load the file, or nothing in it fits.
    """
    with silence():
        keras = open_tensorflow().keras
        try:
            source = keras.models.load_model(str(path), compile=False)
        except Exception as error:
            raise ConvertError(f"Keras cannot load {path}: {first_line(error)}") from error
    there = {layer.name: layer.get_weights() for layer in source.layers}
    kept, differing, missing = [], [], []
    for layer in model.layers:
        own = layer.get_weights()
        if not own:
            continue
        other = there.get(layer.name)
        if other is None:
            missing.append(layer.name)
        elif [values.shape for values in own] != [values.shape for values in other]:
            differing.append(layer.name)
        else:
            layer.set_weights(other)
            kept.append(layer.name)
    if not kept:
        raise ConvertError(f"{path} has no layer that fits: expected names such as conv_pw_13")
    return Kept(tuple(kept), tuple(differing), tuple(missing))


def take_folded(layers: Sequence[Any], path: Path) -> None:
    """Set convolutions with a bias to those of a float .tflite, in order.

    ``layers`` are Keras' Conv2D and DepthwiseConv2D from the picture on; the .tflite may go on
    behind them. Its batch normalisation is folded, so that they have none.

    Raises:
        ConvertError: it has other convolutions there, or computes in integers.
    """
    model = lite_reader.read(load(path), path.name)
    convolutions = [op for op in model.operators if op.op in _CONVOLUTIONS]
    if len(convolutions) < len(layers):
        raise ConvertError(
            f"{path.name} has {len(convolutions)} convolutions, expected {len(layers)} at least"
        )
    for layer, op in zip(layers, convolutions, strict=False):
        kernel, bias = (model.tensors[place].data for place in op.inputs[1:3])
        if kernel is None or bias is None:
            raise ConvertError(f"{path.name} computes its weights: expected a plain float model")
        # TFLite: out, h, w, in; depthwise 1, h, w, channels. Keras: h, w, in, out (or channels, 1).
        is_depthwise = op.op == "DEPTHWISE_CONV_2D"
        kernel = kernel.transpose(1, 2, 3, 0)
        own = [values.shape for values in layer.get_weights()]
        if own != [kernel.shape, bias.shape] or is_depthwise != ("depthwise" in _kind(layer)):
            raise ConvertError(
                f"{path.name} is of another shape: expected {own[0]} for {layer.name}, found "
                f"{kernel.shape}; give the --alpha it was made with"
            )
        layer.set_weights([kernel, bias])


def _kind(layer: Any) -> str:
    return type(layer).__name__.lower()
