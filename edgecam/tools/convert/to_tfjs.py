"""A TFLite model as a TensorFlow.js graph model: every operator as TensorFlow's nodes."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgecam.inference.tflite.file import SSD_POSTPROCESS_OP
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.js_graph import FLOAT, TYPES, JsGraph, shape_proto
from edgecam.tools.convert.lite import LiteModel, LiteOperator

_PADDING = ("SAME", "VALID")
_ACTIVATION = {0: None, 1: "Relu", 3: "Relu6"}
_NHWC = {"s": base64.b64encode(b"NHWC").decode()}
# Operators that fit any picture size; a graph of these alone leaves the input's sides open.
_ANY_SIZE = {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "SUB", "MUL", "DIV", "RELU", "RELU6", "PAD"}
_ANY_SIZE |= {"LOGISTIC", "MAX_POOL_2D", "AVERAGE_POOL_2D", "CONCATENATION"}


def graph(model: LiteModel, *, scaled: bool = False) -> JsGraph:
    """Return the graph of a float model with static shapes; ``scaled`` is JsGraph's.

    Raises:
        ConvertError: an operator has no form there (all are named), or shares a tensor's name.
    """
    unknown = Counter(op.op for op in model.operators if op.op not in _OPERATORS)
    if unknown:
        found = ", ".join(f"{op} ({count})" for op, count in sorted(unknown.items()))
        hint = "; convert the detector with --raw" if SSD_POSTPROCESS_OP in unknown else ""
        raise ConvertError(
            f"the model holds operators without a TensorFlow.js form here: {found}{hint}"
        )
    names = Counter(tensor.name for tensor in model.tensors)
    doubled = [name for name, count in names.items() if count > 1]
    if doubled:
        raise ConvertError(f"several tensors are called {doubled[0]!r}, expected distinct names")
    made = JsGraph(model, scaled)
    open_sides = all(operator.op in _ANY_SIZE for operator in model.operators)
    for place in model.inputs:
        tensor = model.tensors[place]
        shape = tensor.shape
        if open_sides and len(shape) == 4:
            shape = (shape[0], -1, -1, shape[3])
        attributes = {
            "dtype": {"type": TYPES[tensor.dtype]},
            "shape": {"shape": shape_proto(shape)},
        }
        made.add("Placeholder", tensor.name, (), attributes)
    for operator in model.operators:
        _OPERATORS[operator.op](made, operator)
    return made


def document(made: JsGraph, manifest: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what model.json holds."""

    def entry(place: int) -> dict[str, Any]:
        tensor = made.model.tensors[place]
        shape = {"dtype": TYPES[tensor.dtype], "tensorShape": shape_proto(tensor.shape)}
        return {"name": f"{tensor.name}:0", **shape}

    model = made.model
    return {
        "format": "graph-model",
        "generatedBy": "edgecam",
        "convertedBy": "edgecam",
        "signature": {
            "inputs": {entry(place)["name"]: entry(place) for place in model.inputs},
            "outputs": {entry(place)["name"]: entry(place) for place in model.outputs},
        },
        "modelTopology": {"node": made.nodes, "library": {}, "versions": {"producer": 1}},
        "weightsManifest": list(manifest),
    }


def _text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def _integers(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(value) for value in values]}}


def _activation(operator: LiteOperator) -> str | None:
    number = operator.options.get("fusedActivationFunction", 0)
    if number not in _ACTIVATION:
        raise ConvertError(
            f"{operator.op} ends in the activation {number} of TFLite's schema, expected one of "
            f"{', '.join(filter(None, _ACTIVATION.values()))} or none"
        )
    return _ACTIVATION[number]


def _activated(made: JsGraph, operator: LiteOperator, op: str, inputs: Sequence[str]) -> None:
    """Add a node and, where the operator ends in one, an activation of its own."""
    activation, name = _activation(operator), made.output(operator)
    if activation is None:
        made.add(op, name, inputs, {"T": FLOAT})
        return
    made.add(op, f"{name}/linear", inputs, {"T": FLOAT})
    made.add(activation, name, [f"{name}/linear"], {"T": FLOAT})


def _fused(operator: LiteOperator) -> dict[str, Any]:
    activation = _activation(operator)
    texts = [_text(text)["s"] for text in ("BiasAdd", activation) if text]
    return {"T": FLOAT, "num_args": {"i": "1"}, "fused_ops": {"list": {"s": texts}}}


def _window(operator: LiteOperator) -> dict[str, Any]:
    options = operator.options
    return {
        "padding": _text(_PADDING[options["padding"]]),
        "strides": _integers(1, options["strideH"], options["strideW"], 1),
        "data_format": _NHWC,
    }


def _convolution(made: JsGraph, operator: LiteOperator) -> None:
    weights = made.data(operator, 1)
    name = made.output(operator)
    op, kernel, channels = "_FusedConv2D", weights.transpose(1, 2, 3, 0), weights.shape[0]
    if operator.op == "DEPTHWISE_CONV_2D":
        op, channels = "FusedDepthwiseConv2dNative", weights.shape[3]
        taken = made.shape(operator.inputs[0])[3]
        kernel = weights.reshape(*weights.shape[1:3], taken, channels // taken)
    options = operator.options
    dilations = _integers(1, options["dilationHFactor"], options["dilationWFactor"], 1)
    inputs = (
        made.name(operator.inputs[0]),
        made.kernel(f"{name}/kernel", kernel, 2 if operator.op == "DEPTHWISE_CONV_2D" else 1),
        made.constant(f"{name}/offset", made.bias(operator, channels)),
    )
    attributes = {**_fused(operator), **_window(operator), "dilations": dilations}
    made.add(op, name, inputs, {**attributes, "explicit_paddings": {"list": {}}})


def _fully_connected(made: JsGraph, operator: LiteOperator) -> None:
    weights, name = made.data(operator, 1), made.output(operator)
    taken, shape = made.name(operator.inputs[0]), made.shape(operator.outputs[0])
    flat = (math.prod(shape[:-1]), weights.shape[1])
    if made.shape(operator.inputs[0]) != flat:
        to = made.constant(f"{name}/flat_shape", np.array(flat, np.int32))
        made.add("Reshape", f"{name}/flat", (taken, to), {"T": FLOAT})
        taken = f"{name}/flat"
    inputs = (
        taken,
        made.kernel(f"{name}/kernel", weights.T),
        made.constant(f"{name}/offset", made.bias(operator, weights.shape[0])),
    )
    attributes = {**_fused(operator), "transpose_a": {"b": False}, "transpose_b": {"b": False}}
    made.add("_FusedMatMul", name, inputs, attributes)


def _pool(op: str) -> Callable[[JsGraph, LiteOperator], None]:
    def add(made: JsGraph, operator: LiteOperator) -> None:
        options = operator.options
        size = _integers(1, options["filterHeight"], options["filterWidth"], 1)
        inputs = (made.name(operator.inputs[0]),)
        attributes = {"T": FLOAT, "ksize": size, **_window(operator)}
        made.add(op, made.output(operator), inputs, attributes)

    return add


def _joined(op: str) -> Callable[[JsGraph, LiteOperator], None]:
    """Operators that take tensors as they stand and may end in an activation."""

    def add(made: JsGraph, operator: LiteOperator) -> None:
        _activated(made, operator, op, [made.name(place) for place in operator.inputs])

    return add


def _concatenation(made: JsGraph, operator: LiteOperator) -> None:
    axis = np.array(operator.options["axis"], np.int32)
    to = made.constant(f"{made.output(operator)}/axis", axis)
    inputs = [*(made.name(place) for place in operator.inputs), to]
    attributes = {"T": FLOAT, "N": {"i": str(len(operator.inputs))}}
    made.add("ConcatV2", made.output(operator), inputs, attributes)


def _reshape(made: JsGraph, operator: LiteOperator) -> None:
    if len(operator.inputs) > 1:
        to = made.name(operator.inputs[1])
    else:
        shape = np.array(made.shape(operator.outputs[0]), np.int32)
        to = made.constant(f"{made.output(operator)}/to_shape", shape)
    inputs = (made.name(operator.inputs[0]), to)
    made.add("Reshape", made.output(operator), inputs, {"T": FLOAT})


def _squeeze(made: JsGraph, operator: LiteOperator) -> None:
    axes = [int(axis) for axis in operator.options["squeezeDims"]]
    attributes = {"T": FLOAT, "squeeze_dims": _integers(*axes)}
    made.add("Squeeze", made.output(operator), (made.name(operator.inputs[0]),), attributes)


def _resize(op: str) -> Callable[[JsGraph, LiteOperator], None]:
    def add(made: JsGraph, operator: LiteOperator) -> None:
        options = operator.options
        attributes = {
            "T": FLOAT,
            "align_corners": {"b": bool(options["alignCorners"])},
            "half_pixel_centers": {"b": bool(options["halfPixelCenters"])},
        }
        inputs = [made.name(place) for place in operator.inputs]
        made.add(op, made.output(operator), inputs, attributes)

    return add


def _mean(made: JsGraph, operator: LiteOperator) -> None:
    attributes = {"T": FLOAT, "keep_dims": {"b": bool(operator.options["keepDims"])}}
    inputs = [made.name(place) for place in operator.inputs]
    made.add("Mean", made.output(operator), inputs, attributes)


_OPERATORS: Mapping[str, Callable[[JsGraph, LiteOperator], None]] = {
    "ADD": _joined("AddV2"),
    "AVERAGE_POOL_2D": _pool("AvgPool"),
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "DIV": _joined("RealDiv"),
    "FULLY_CONNECTED": _fully_connected,
    "LOGISTIC": _joined("Sigmoid"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "MEAN": _mean,
    "MUL": _joined("Mul"),
    "PAD": _joined("Pad"),
    "RELU": _joined("Relu"),
    "RELU6": _joined("Relu6"),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize("ResizeBilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("ResizeNearestNeighbor"),
    "SOFTMAX": _joined("Softmax"),
    "SQUEEZE": _squeeze,
    "SUB": _joined("Sub"),
}
