"""The ops that convert, and how: one function each, in the table at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgecam.tools.convert.fuse import BATCH_NORMS, channel_terms
from edgecam.tools.convert.graph import ConvertError, Node, as_float32
from edgecam.tools.convert.lite import Shape
from edgecam.tools.convert.lowering import Lowering, broadcast, slid
from edgecam.tools.convert.shape_ops import SHAPE_LOWERINGS
from edgecam.tools.convert.upsampling import NEAREST_UPSAMPLING

_PADDING = {"SAME": 0, "VALID": 1}
_ACTIVATION = {None: 0, "Relu": 1, "Relu6": 3}
_RESIZE_HALF_PIXEL_VERSION = 3


def _activation(node: Node) -> int:
    return _ACTIVATION[node.attributes.get("activation")]


def _window(node: Node, attribute: str) -> tuple[int, int]:
    """Return (height, width) of a list such as [1, 2, 2, 1].

    Raises:
        ConvertError: it steps over pictures or channels, or the graph is NCHW.
    """
    if node.attributes.get("data_format", "NHWC") != "NHWC":
        raise ConvertError(
            f"{node.op} {node.name!r} is {node.attributes['data_format']}, expected NHWC"
        )
    values: Sequence[int] = node.attributes.get(attribute) or [1, 1, 1, 1]
    if len(values) != 4 or values[0] != 1 or values[3] != 1:
        raise ConvertError(f"{node.op} {node.name!r}: {attribute} {values}, expected [1, y, x, 1]")
    return int(values[1]), int(values[2])


def _pad_first(
    lowering: Lowering, node: Node, kernel: tuple[int, int], dilations: tuple[int, int]
) -> tuple[int, Shape, str]:
    """Return (tensor, shape, SAME or VALID), behind a PAD where the two cannot say the padding."""
    place, shape = lowering.place(node.inputs[0]), lowering.shape(node.inputs[0])
    padding = str(node.attributes["padding"])
    if padding != "EXPLICIT":
        return place, shape, padding
    pads = np.array(node.attributes["explicit_paddings"], np.int32).reshape(4, 2)
    reach = [(size - 1) * dilation for size, dilation in zip(kernel, dilations, strict=True)]
    same = [[0, 0], *([side // 2, side - side // 2] for side in reach), [0, 0]]
    if not pads.any():
        return place, shape, "VALID"
    if _window(node, "strides") == (1, 1) and np.array_equal(pads, same):
        return place, shape, "SAME"
    padded = tuple(int(side + sum(pad)) for side, pad in zip(shape, pads, strict=True))
    amounts = lowering.model.constant(f"{node.name}/paddings", pads)
    return lowering.model.add("PAD", (place, amounts), f"{node.name}/pad", padded), padded, "VALID"


def _convolution(lowering: Lowering, node: Node) -> None:
    """Conv2D and DepthwiseConv2dNative: kernels [H, W, in, out] and [H, W, in, multiplier]."""
    kernel = as_float32(lowering.constant(node, 1))
    is_depthwise = node.op == "DepthwiseConv2dNative"
    height, width, taken, made = kernel.shape
    channels = taken * made if is_depthwise else made
    strides, dilations = _window(node, "strides"), _window(node, "dilations")
    place, shape, padding = _pad_first(lowering, node, (height, width), dilations)
    if shape[3] != taken:
        raise ConvertError(
            f"{node.op} {node.name!r}: its weights are for {taken} channels, its input "
            f"has {shape[3]}"
        )
    if is_depthwise:
        kernel = kernel.reshape(1, height, width, channels)
    else:
        kernel = kernel.transpose(3, 0, 1, 2)
    bias = as_float32(lowering.constant(node, 2)) if len(node.inputs) > 2 else np.zeros(channels)
    if bias.shape != (channels,):
        raise ConvertError(f"{node.op} {node.name!r}: bias {bias.shape}, expected ({channels},)")
    options: dict[str, Any] = {
        "padding": _PADDING[padding],
        "strideH": strides[0],
        "strideW": strides[1],
        "dilationHFactor": dilations[0],
        "dilationWFactor": dilations[1],
        "fusedActivationFunction": _activation(node),
    }
    if is_depthwise:
        options["depthMultiplier"] = made
    sides = [
        slid(*sizes, padding)
        for sizes in zip(shape[1:3], (height, width), strides, dilations, strict=True)
    ]
    inputs = (
        place,
        lowering.model.constant(f"{node.name}/weights", kernel),
        lowering.model.constant(f"{node.name}/bias", as_float32(bias)),
    )
    op = "DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D"
    version = 2 if is_depthwise and dilations != (1, 1) else 1
    lowering.emit(node, op, inputs, (shape[0], *sides, channels), options, version)


def _transposed_convolution(lowering: Lowering, node: Node) -> None:
    """Conv2DBackpropInput: (sizes, kernel [H, W, out, in], picture), the sizes with the batch."""
    stated = [int(side) for side in lowering.constant(node, 0).reshape(-1)]
    kernel = as_float32(lowering.constant(node, 1))
    height, width, channels, taken = kernel.shape
    strides, padding = _window(node, "strides"), str(node.attributes["padding"])
    place, shape = lowering.place(node.inputs[2]), lowering.shape(node.inputs[2])
    sides = stated[-3:-1]
    reach = (
        slid(side, extent, stride, 1, padding)
        for side, extent, stride in zip(sides, (height, width), strides, strict=True)
    )
    if (*reach, taken) != shape[1:] or _window(node, "dilations") != (1, 1):
        raise ConvertError(
            f"{node.op} {node.name!r} makes {stated} of {list(shape)}, which does not fit its "
            f"kernel of {height}x{width}, {taken} channels and its strides {strides}; if --size "
            "was given, leave it out"
        )
    made = (shape[0], *sides, channels)
    inputs = (
        lowering.model.constant(f"{node.name}/size", np.array(made, np.int32)),
        lowering.model.constant(f"{node.name}/weights", kernel.transpose(2, 0, 1, 3)),
        place,
    )
    options = {"padding": _PADDING[padding], "strideH": strides[0], "strideW": strides[1]}
    lowering.emit(node, "TRANSPOSE_CONV", inputs, made, options)


def _matrix_product(lowering: Lowering, node: Node) -> None:
    weights = as_float32(lowering.constant(node, 1))
    if not node.attributes.get("transpose_b", False):
        weights = weights.T
    if node.attributes.get("transpose_a", False):
        raise ConvertError(f"{node.op} {node.name!r} transposes its input; expected it as it is")
    shape = lowering.shape(node.inputs[0])
    made = weights.shape[0]
    if len(shape) != 2 or shape[1] != weights.shape[1]:
        raise ConvertError(
            f"{node.op} {node.name!r}: its weights take [1, {weights.shape[1]}], its input is "
            f"{list(shape)}"
        )
    bias = as_float32(lowering.constant(node, 2)) if len(node.inputs) > 2 else np.zeros(made)
    inputs = (
        lowering.place(node.inputs[0]),
        lowering.model.constant(f"{node.name}/weights", weights),
        lowering.model.constant(f"{node.name}/bias", as_float32(bias)),
    )
    shape = (shape[0], made)
    options = {"fusedActivationFunction": _activation(node)}
    lowering.emit(node, "FULLY_CONNECTED", inputs, shape, options)


def _elementwise(op: str) -> Callable[[Lowering, Node], None]:
    def lower(lowering: Lowering, node: Node) -> None:
        first, second = node.inputs
        shape = broadcast(lowering.shape(first), lowering.shape(second))
        inputs = (lowering.place(first), lowering.place(second))
        lowering.emit(node, op, inputs, shape, {"fusedActivationFunction": _activation(node)})

    return lower


def _bias_add(lowering: Lowering, node: Node) -> None:
    _window(node, "strides")  # refuses NCHW
    _elementwise("ADD")(lowering, node)


def _batch_norm(lowering: Lowering, node: Node) -> None:
    """A batch norm that no convolution could take in: a product and a sum."""
    _window(node, "strides")  # refuses NCHW
    factor, summand = channel_terms(lowering.known, node)
    model, shape = lowering.model, lowering.shape(node.inputs[0])
    by = model.constant(f"{node.name}/factor", factor)
    scaled = model.add("MUL", (lowering.place(node.inputs[0]), by), f"{node.name}/scaled", shape)
    plus = model.constant(f"{node.name}/summand", summand)
    options = {"fusedActivationFunction": _activation(node)}
    lowering.emit(node, "ADD", (scaled, plus), shape, options)


def _unary(op: str, options: Mapping[str, Any] | None = None) -> Callable[[Lowering, Node], None]:
    def lower(lowering: Lowering, node: Node) -> None:
        place = lowering.place(node.inputs[0])
        lowering.emit(node, op, (place,), lowering.shape(node.inputs[0]), options)

    return lower


def _pool(op: str) -> Callable[[Lowering, Node], None]:
    def lower(lowering: Lowering, node: Node) -> None:
        shape = lowering.shape(node.inputs[0])
        kernel, strides = _window(node, "ksize"), _window(node, "strides")
        padding = str(node.attributes["padding"])
        place = lowering.place(node.inputs[0])
        if padding == "EXPLICIT" and node.op == "MaxPool":
            pads = np.array(node.attributes["explicit_paddings"], np.int32).reshape(4, 2)
            place, shape = lowering.edges_repeated(node, pads)
            padding = "VALID"
        if padding not in _PADDING:
            raise ConvertError(f"{node.op} {node.name!r}: padding {padding}, expected SAME, VALID")
        options = {
            "padding": _PADDING[padding],
            "filterHeight": kernel[0],
            "filterWidth": kernel[1],
            "strideH": strides[0],
            "strideW": strides[1],
        }
        sides = [
            slid(size, extent, stride, 1, padding)
            for size, extent, stride in zip(shape[1:3], kernel, strides, strict=True)
        ]
        lowering.emit(node, op, (place,), (shape[0], *sides, shape[3]), options)

    return lower


def _leaky_relu(lowering: Lowering, node: Node) -> None:
    options = {"alpha": float(node.attributes.get("alpha", 0.2))}
    _unary("LEAKY_RELU", options)(lowering, node)


def _resize(op: str) -> Callable[[Lowering, Node], None]:
    def lower(lowering: Lowering, node: Node) -> None:
        shape = lowering.shape(node.inputs[0])
        scales = node.attributes.get("scales")
        if scales is None:
            size = lowering.constant(node, 1).astype(np.int32)
        else:
            size = np.array([side * by for side, by in zip(shape[1:3], scales, strict=True)], "i4")
        options = {
            "alignCorners": bool(node.attributes.get("align_corners", False)),
            "halfPixelCenters": bool(node.attributes.get("half_pixel_centers", False)),
        }
        to = lowering.model.constant(f"{node.name}/size", size)
        inputs = (lowering.place(node.inputs[0]), to)
        made = (shape[0], int(size[0]), int(size[1]), shape[3])
        version = _RESIZE_HALF_PIXEL_VERSION if options["halfPixelCenters"] else 1
        if op == "RESIZE_NEAREST_NEIGHBOR" and options["alignCorners"]:
            version = _RESIZE_HALF_PIXEL_VERSION
        lowering.emit(node, op, inputs, made, options, version)

    return lower


def _nearest_upsampling(lowering: Lowering, node: Node) -> None:
    shape = lowering.shape(node.inputs[0])
    made = (shape[0], *(shape[axis] * node.attributes["scale"] for axis in (1, 2)), shape[3])
    to = lowering.model.constant(f"{node.name}/size", np.array(made[1:3], np.int32))
    options = {"alignCorners": False, "halfPixelCenters": False}
    inputs = (lowering.place(node.inputs[0]), to)
    lowering.emit(node, "RESIZE_NEAREST_NEIGHBOR", inputs, made, options)


def _mean(lowering: Lowering, node: Node) -> None:
    shape = lowering.shape(node.inputs[0])
    axes = [int(axis) % len(shape) for axis in lowering.constant(node, 1).reshape(-1)]
    keeps = bool(node.attributes.get("keep_dims", node.attributes.get("keepdims", False)))
    made = [1 if axis in axes else side for axis, side in enumerate(shape)]
    if not keeps:
        made = [side for axis, side in enumerate(shape) if axis not in axes]
    over = lowering.model.constant(f"{node.name}/axes", np.array(axes, np.int32))
    inputs = (lowering.place(node.inputs[0]), over)
    lowering.emit(node, "MEAN", inputs, made, {"keepDims": keeps})


LOWERINGS: Mapping[str, Callable[[Lowering, Node], None]] = {
    "Add": _elementwise("ADD"),
    "AddV2": _elementwise("ADD"),
    "AvgPool": _pool("AVERAGE_POOL_2D"),
    "BiasAdd": _bias_add,
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed_convolution,
    "DepthwiseConv2dNative": _convolution,
    **dict.fromkeys(BATCH_NORMS, _batch_norm),
    "LeakyRelu": _leaky_relu,
    "MatMul": _matrix_product,
    "MaxPool": _pool("MAX_POOL_2D"),
    "Mean": _mean,
    "Mul": _elementwise("MUL"),
    NEAREST_UPSAMPLING: _nearest_upsampling,
    "RealDiv": _elementwise("DIV"),
    "Relu": _unary("RELU"),
    "Relu6": _unary("RELU6"),
    "ResizeBilinear": _resize("RESIZE_BILINEAR"),
    "ResizeNearestNeighbor": _resize("RESIZE_NEAREST_NEIGHBOR"),
    "Sigmoid": _unary("LOGISTIC"),
    "Softmax": _unary("SOFTMAX", {"beta": 1.0}),
    "Sub": _elementwise("SUB"),
    "Tanh": _unary("TANH"),
    **SHAPE_LOWERINGS,
}
