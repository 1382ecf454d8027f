"""Where a network's features are: the last map of them before its heads, and those before it."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from edgecam.core.tensors import Normalization
from edgecam.inference import runtime
from edgecam.inference.opening import runnable
from edgecam.inference.tflite.file import ModelFile
from edgecam.inference.tflite.graph import FileTensor
from edgecam.tools.convert import wanted
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.recipe import heads

# What changes neither the number of features nor their meaning, or averages them already.
_POOLING = frozenset({"AVERAGE_POOL_2D", "MEAN", "RESHAPE", "SQUEEZE", "DEQUANTIZE", "QUANTIZE"})


# A map is a candidate where it has the channels to tell things apart, and sees enough of them.
_MIN_CHANNELS, _MIN_STRIDE, _MOST_MAPS = 32, 8, 8
_MAKERS = frozenset({"CONV_2D", "ADD"})


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """``maps`` are tensors [1, h, w, C] along the way, the last one being what all heads take.

    ``file`` is the whole model, without an op that no runtime has. ``normalization`` is what its
    input wants.
    """

    file: ModelFile
    maps: tuple[FileTensor, ...]
    normalization: Normalization


def find(file: ModelFile, layer: str | None = None) -> Backbone:
    """Return where a model's backbone ends: where the ways back from its outputs meet.

    ``layer``: the layer that is taken instead, wherever it stands, by its name or the part of a
    tensor's name that is it (``conv_pw_13_relu``).

    Raises:
        ConvertError: they do not meet in one map of features, the input is no picture, or no
            layer of features is called so.
    """
    file = runnable(file)
    graph = file.main
    inputs = [info for info in file.inputs if len(info.shape) == 4 and info.shape[3] == 3]
    if len(inputs) != 1 or len(graph.inputs) != 1:
        shapes = [list(info.shape) for info in file.inputs]
        raise ConvertError(f"{file.name}: expected one input [1, H, W, 3], found {shapes}")
    if layer is not None:
        return Backbone(file, (_named(file, layer),), wanted.normalization(file, inputs[0]))
    first = heads(file)
    made = {tensor for place in first for tensor in graph.ops[place].outputs}
    taken = {
        _before_pooling(file, tensor)
        for place in first
        for tensor in graph.ops[place].inputs
        if tensor >= 0 and tensor not in made and not _is_constant(file, tensor)
    }
    if len(taken) != 1:
        some = sorted(graph.tensors[tensor].name for tensor in taken)[:3]
        names = f"{len(taken)} ({', '.join(some)}, ...)" if some else "none"
        raise ConvertError(
            f"{file.name}: expected one map of features that every output is made of, found "
            f"{names}; take a PoseNet or a classifier as the backbone"
        )
    features = graph.tensors[taken.pop()]
    if len(features.shape) != 4 or features.shape[3] < 2 or features.index in graph.inputs:
        raise ConvertError(
            f"{file.name}: expected features [1, h, w, C] before the outputs, found "
            f"{features.name!r} {list(features.shape)}"
        )
    return Backbone(file, _maps(file, features), wanted.normalization(file, inputs[0]))


def _named(file: ModelFile, layer: str) -> FileTensor:
    """The features that a layer makes: the last tensor whose name is it or has it as a part."""
    graph = file.main
    made = [graph.tensors[tensor] for op in graph.ops for tensor in op.outputs]
    features = [
        tensor
        for tensor in made
        if (len(tensor.shape) == 4 and tensor.shape[0] == 1)
        or (len(tensor.shape) == 2 and tensor.shape[0] == 1)
    ]
    found = [tensor for tensor in features if tensor.name == layer] or [
        tensor for tensor in features if layer in re.split("[/;]", tensor.name)
    ]
    if found:
        return found[-1]
    parts = {part for tensor in features for part in (*re.split("[/;]", tensor.name), tensor.name)}
    near = difflib.get_close_matches(layer, sorted(parts), 3, cutoff=0.5)
    hint = f"near it are {', '.join(near)}" if near else "edgecam inspect lists them"
    raise ConvertError(f"--layer {layer!r}: {file.name} has no layer of features so called; {hint}")


def _maps(file: ModelFile, last: FileTensor) -> tuple[FileTensor, ...]:
    """The maps of features up to ``last``, as deep as it or less."""
    graph = file.main
    found: list[FileTensor] = []
    for op in graph.ops:
        tensor = graph.tensors[op.outputs[0]]
        if tensor.index == last.index:
            break
        shape = tensor.shape
        if op.name not in _MAKERS or len(shape) != 4 or shape[3] < _MIN_CHANNELS:
            continue
        if file.inputs[0].shape[1] >= _MIN_STRIDE * (shape[1] - 1):
            found.append(tensor)
    return (*found[1 - _MOST_MAPS :], last)


def _is_constant(file: ModelFile, tensor: int) -> bool:
    """Whether a tensor is a constant, or widened from one."""
    if file.main.tensors[tensor].is_constant:
        return True
    maker = file.producer(tensor)
    return maker is not None and maker.name == "DEQUANTIZE" and _is_constant(file, maker.inputs[0])


def _before_pooling(file: ModelFile, tensor: int) -> int:
    """The tensor that was pooled, reshaped or dequantised to this one."""
    maker = file.producer(tensor)
    while maker is not None and maker.name in _POOLING:
        tensor = maker.inputs[0]
        maker = file.producer(tensor)
    return tensor


def shapes_at(data: bytes, name: str, size: tuple[int, int]) -> dict[int, tuple[int, ...]]:
    """Return the shape of every tensor of a model where its picture is ``size``, by the runtime.

    Raises:
        ConvertError: the network does not fit that size.
    """
    found = runtime.find()
    try:
        interpreter = found.interpreter(
            model_content=data, num_threads=1, **found.without_default_delegates()
        )
        image = interpreter.get_input_details()[0]
        interpreter.resize_tensor_input(image["index"], [1, *size, 3])
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ConvertError(
            f"{name} does not take pictures of {size[0]}x{size[1]}; leave --input-size out "
            f"({str(error).splitlines()[0]})"
        ) from None
    return {
        int(detail["index"]): tuple(int(side) for side in detail["shape"])
        for detail in interpreter.get_tensor_details()
    }
