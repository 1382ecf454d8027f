"""Read a .tflite of float operators back into lists of tensors and operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecam.inference.tflite import file as tflite_file
from edgecam.inference.tflite.file import ModelFile
from edgecam.inference.tflite.graph import FileTensor
from edgecam.tools.convert.graph import Array, ConvertError
from edgecam.tools.convert.lite import LiteModel, LiteOperator, LiteTensor
from edgecam.tools.convert.writer import generated_schema

# Numbers of ActivationFunctionType.
_NO_ACTIVATION, _RELU, _RELU6 = 0, 1, 3
_SIX_WITHIN = 0.1
_ROUNDING = ("QUANTIZE", "DEQUANTIZE")
_WIDE = ("FLOAT32", "INT32", "INT64", "BOOL")


def read(data: bytes, name: str, *, widen: bool = False) -> LiteModel:
    """Return the model, its weights as float32; ``name`` stands for it in messages.

    Float16 and integer weights of a model that computes in float are widened. ``widen``: one that
    computes in integers becomes the float model that its numbers stand for, without the rounding
    between layers.

    Raises:
        ModelError: the file is damaged.
        ConvertError: the model computes with integers, has several graphs, or weights that are no
            finite numbers.
    """
    file = tflite_file.read(data, name)
    if len(file.subgraphs) != 1:
        raise ConvertError(f"{name} has {len(file.subgraphs)} graphs, expected one")
    graph = file.main
    narrow = (
        []
        if widen
        else [t for t in graph.tensors if not t.is_constant and t.type not in (*_WIDE, "FLOAT16")]
    )
    if narrow:
        raise ConvertError(
            f"{name} computes in {narrow[0].type} ({narrow[0].name}), expected float32; take the "
            "float model that it was made from"
        )
    root = generated_schema().ModelT.InitFromPackedBuf(data, 0)
    (source,) = root.subgraphs
    model = LiteModel(
        [_tensor(file, tensor, widen) for tensor in graph.tensors],
        [],
        list(graph.inputs),
        list(graph.outputs),
    )
    same: dict[int, int] = {}
    for op, packed in zip(graph.ops, source.operators, strict=True):
        if op.name == "DEQUANTIZE" and model.tensors[op.inputs[0]].data is not None:
            model.tensors[op.outputs[0]].data = model.tensors[op.inputs[0]].data
            continue
        inputs = tuple(same.get(tensor, tensor) for tensor in op.inputs)
        if widen and op.name in _ROUNDING:
            same[op.outputs[0]] = inputs[0]
            continue
        options = dict(vars(packed.builtinOptions)) if packed.builtinOptions else {}
        if widen and options.get("fusedActivationFunction") == _NO_ACTIVATION:
            options["fusedActivationFunction"] = _saturation(graph.tensors[op.outputs[0]])
        custom = op.custom_options if op.is_custom else None
        model.operators.append(
            LiteOperator(op.name, inputs, tuple(op.outputs), options, custom=custom)
        )
    for place, output in enumerate(model.outputs):
        if output in same:
            # What stood before the rounding has the name that people know it by.
            taken = model.tensors[same[output]]
            taken.name, model.tensors[output].name = model.tensors[output].name, taken.name
            model.outputs[place] = same[output]
    return model


def _saturation(tensor: FileTensor) -> int:
    """The activation that the range of an integer tensor is: converters leave it to that."""
    if tensor.type not in ("INT8", "UINT8") or len(tensor.scales) != 1:
        return _NO_ACTIVATION
    lowest = -128 if tensor.type == "INT8" else 0
    (scale,), point = tensor.scales, tensor.zero_points[0] if tensor.zero_points else 0
    if point != lowest:
        return _NO_ACTIVATION
    return _RELU6 if abs(255 * scale - 6.0) < _SIX_WITHIN else _RELU


def _tensor(file: ModelFile, tensor: FileTensor, widen: bool) -> LiteTensor:
    data = _widened(file.constant(tensor.index), tensor) if tensor.is_constant else None
    if data is not None and data.dtype.kind == "f" and not np.isfinite(data).all():
        raise ConvertError(
            f"the weights {tensor.name!r} hold NaN or infinity: {file.name} is damaged"
        )
    dtype = data.dtype.name if data is not None else tensor.type.lower()
    if widen and data is None and tensor.scales:
        dtype = "float32"
    return LiteTensor(tensor.name, tensor.shape, dtype, data)


def _widened(values: Array, tensor: FileTensor) -> Array:
    if values.dtype == np.float16:
        return values.astype(np.float32)
    if not tensor.scales:
        return values
    sides: list[Any] = [1] * values.ndim
    if len(tensor.scales) > 1:
        sides[tensor.axis] = -1
    scales = np.array(tensor.scales, np.float32).reshape(sides)
    points = np.array(tensor.zero_points or [0] * len(tensor.scales)).reshape(sides)
    return ((values.astype(np.float32) - points) * scales).astype(np.float32)
