"""The layers of a layers model, each as the nodes that a TensorFlow graph has for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgecam.tools.convert.graph import Array, ConvertError, Node

Config = Mapping[str, Any]
_SHOWN = 5


@dataclass(slots=True)
class Nodes:
    """What the layers have become so far; ``weights`` are the file's, ``constants`` those taken."""

    weights: Mapping[str, Array]
    made: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def name(self, own: str, path: str) -> str:
        """Return a name that no node has yet."""
        for candidate in (own, f"{path}{own}", *(f"{path}{own}_{n}" for n in range(1, 1000))):
            if candidate not in self.taken:
                self.taken.add(candidate)
                return candidate
        raise ConvertError(f"more than a thousand layers called {own!r}")

    def emit(self, name: str, op: str, inputs: Sequence[str], attributes: Config) -> str:
        """Add a node; return its name."""
        self.made.append(Node(name, op, tuple(inputs), attributes))
        return name

    def weight(self, layer: str, kind: str) -> str:
        """Return the constant of a layer's weight, called after the layer alone or its models.

        Raises:
            ConvertError: it is not there, or several are called so.
        """
        wanted = f"{layer}/{kind}"
        found = [name for name in self.weights if name == wanted]
        found = found or [name for name in self.weights if name.endswith(f"/{wanted}")]
        if len(found) != 1:
            raise ConvertError(
                f"expected weights {wanted!r}, found {', '.join(found[:_SHOWN]) or 'none'}"
            )
        self.constants[found[0]] = self.weights[found[0]]
        return found[0]


@dataclass(slots=True)
class Call:
    """A layer that is applied once: ``own`` is its name, ``name`` that of its output."""

    nodes: Nodes
    own: str
    name: str
    config: Config
    sources: list[str]

    def constant(self, kind: str, values: Any) -> str:
        """Add a constant of the layer's own; return its name."""
        name = f"{self.name}/{kind}"
        self.nodes.constants[name] = np.asarray(values)
        return name

    def step(
        self, kind: str, op: str, inputs: Sequence[str], attributes: Config | None = None
    ) -> str:
        """Add a node on the way to the layer's output."""
        return self.nodes.emit(f"{self.name}/{kind}", op, inputs, attributes or {})

    def weight(self, kind: str) -> str:
        """Return the constant of one of the layer's weights."""
        return self.nodes.weight(self.own, kind)

    def last(self, op: str, inputs: Sequence[str], attributes: Config | None = None) -> str:
        """Add the node that is the layer's output."""
        return self.nodes.emit(self.name, op, inputs, attributes or {})

    def finished(self, source: str) -> str:
        """Add bias and activation, as far as the layer has them, under the layer's own name."""
        if self.config.get("use_bias", True):
            source = self.step("BiasAdd", "BiasAdd", (source, self.weight("bias")))
        return self.activated(source, self.config.get("activation") or "linear")

    def activated(self, source: str, activation: Any) -> str:
        """Add an activation as the layer's output.

        Raises:
            ConvertError: it is not known here.
        """
        called = activation if isinstance(activation, str) else str(activation["class_name"])
        called = called.lower().replace("_", "")
        if called in ("swish", "silu"):
            return self.last("Mul", (source, self.step("Sigmoid", "Sigmoid", (source,))))
        if called not in _ACTIVATIONS:
            raise ConvertError(
                f"{self.own!r} ends in the activation {called!r}, which is not known"
            )
        return self.last(_ACTIVATIONS[called], (source,))

    def window(self) -> dict[str, Any]:
        """Strides, padding and dilation, as a graph's node has them."""
        return {
            "strides": [1, *_pair(self.config.get("strides") or 1), 1],
            "padding": str(self.config.get("padding", "valid")).upper(),
            "dilations": [1, *_pair(self.config.get("dilation_rate") or 1), 1],
        }


_ACTIVATIONS = {
    "linear": "Identity",
    "relu": "Relu",
    "relu6": "Relu6",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "tanh": "Tanh",
}


def _pair(value: Any) -> tuple[int, int]:
    one, two = (value, value) if isinstance(value, int) else value
    return int(one), int(two)


def _convolution(call: Call) -> str:
    _refuse_groups(call)
    inputs = (call.sources[0], call.weight("kernel"))
    return call.finished(call.step("Conv2D", "Conv2D", inputs, call.window()))


def _refuse_groups(call: Call) -> None:
    if int(call.config.get("groups") or 1) != 1:
        raise ConvertError(f"{call.own!r} is a convolution in groups, which is not known")


def _depthwise(call: Call) -> str:
    inputs = (call.sources[0], call.weight("depthwise_kernel"))
    return call.finished(call.step("depthwise", "DepthwiseConv2dNative", inputs, call.window()))


def _separable(call: Call) -> str:
    inputs = (call.sources[0], call.weight("depthwise_kernel"))
    first = call.step("depthwise", "DepthwiseConv2dNative", inputs, call.window())
    by_point = {"strides": [1, 1, 1, 1], "padding": "VALID"}
    inputs = (first, call.weight("pointwise_kernel"))
    return call.finished(call.step("Conv2D", "Conv2D", inputs, by_point))


def _transposed(call: Call) -> str:
    window = call.window()
    kernel = call.weight("kernel")
    height, width, channels, _ = call.nodes.constants[kernel].shape
    if call.config.get("output_padding") is not None:
        raise ConvertError(f"{call.own!r} has an output_padding, which is not known")
    extra = [0, 0]
    if window["padding"] == "VALID":
        steps = window["strides"][1:3]
        extra = [max(k - s, 0) for k, s in zip((height, width), steps, strict=True)]
    factor = np.array([1, *window["strides"][1:3], 0], np.int32)
    summand = np.array([0, *extra, channels], np.int32)
    shape = call.step("Shape", "Shape", (call.sources[0],))
    scaled = call.step("scaled", "Mul", (shape, call.constant("factor", factor)))
    sizes = call.step("sizes", "Add", (scaled, call.constant("summand", summand)))
    inputs = (sizes, kernel, call.sources[0])
    return call.finished(call.step("conv2d_transpose", "Conv2DBackpropInput", inputs, window))


def _batch_norm(call: Call) -> str:
    axis = call.config.get("axis", -1)
    if (axis[0] if isinstance(axis, list) else axis) not in (-1, 3, None):
        raise ConvertError(f"{call.own!r} normalises over axis {axis}, expected the last")
    mean, variance = call.weight("moving_mean"), call.weight("moving_variance")
    channels = call.nodes.constants[mean].shape
    gamma = (
        call.weight("gamma")
        if call.config.get("scale", True)
        else call.constant("gamma", np.ones(channels, np.float32))
    )
    beta = (
        call.weight("beta")
        if call.config.get("center", True)
        else call.constant("beta", np.zeros(channels, np.float32))
    )
    attributes = {"epsilon": float(call.config.get("epsilon", 1e-3)), "is_training": False}
    return call.last("FusedBatchNormV3", (call.sources[0], gamma, beta, mean, variance), attributes)


def _relu(call: Call) -> str:
    most, slope = call.config.get("max_value"), call.config.get("negative_slope") or 0.0
    slope = slope[0] if isinstance(slope, list) else slope
    if call.config.get("threshold") or most not in (None, 6, 6.0) or (slope and most is not None):
        raise ConvertError(f"{call.own!r} is a ReLU of other bounds than 0 and 6")
    if slope:
        return call.last("LeakyRelu", call.sources, {"alpha": float(slope)})
    return call.last("Relu" if most is None else "Relu6", call.sources)


def _leaky_relu(call: Call) -> str:
    slope = call.config.get("alpha", call.config.get("negative_slope", 0.3))
    return call.last("LeakyRelu", call.sources, {"alpha": float(slope)})


def _zero_padding(call: Call) -> str:
    sides = call.config["padding"]
    pairs = [_pair(side) for side in ((sides, sides) if isinstance(sides, int) else sides)]
    pads = np.array([(0, 0), *pairs, (0, 0)], np.int32)
    return call.last("Pad", (call.sources[0], call.constant("paddings", pads)))


def _pool(op: str) -> Callable[[Call], str]:
    def add(call: Call) -> str:
        size = _pair(call.config["pool_size"])
        attributes = {**call.window(), "ksize": [1, *size, 1]}
        if call.config.get("strides") is None:
            attributes["strides"] = [1, *size, 1]
        return call.last(op, call.sources, attributes)

    return add


def _global_mean(call: Call) -> str:
    axes = call.constant("axes", np.array([1, 2], np.int32))
    keeps = bool(call.config.get("keepdims", False))
    return call.last("Mean", (call.sources[0], axes), {"keep_dims": keeps})


def _reshape(call: Call) -> str:
    sides = call.config.get("target_shape") or [-1]
    shape = np.array([1, *(-1 if side is None else int(side) for side in sides)], np.int32)
    return call.last("Reshape", (call.sources[0], call.constant("shape", shape)))


def _dense(call: Call) -> str:
    inputs = [call.sources[0], call.weight("kernel")]
    if call.config.get("use_bias", True):
        inputs.append(call.weight("bias"))
    product = call.step("MatMul", "MatMul", inputs)
    return call.activated(product, call.config.get("activation") or "linear")


def _joined(op: str) -> Callable[[Call], str]:
    def add(call: Call) -> str:
        first, *others, last = call.sources
        for number, other in enumerate(others):
            first = call.step(f"{op}_{number}", op, (first, other))
        return call.last(op, (first, last))

    return add


def _concatenation(call: Call) -> str:
    axis = call.constant("axis", np.array(call.config.get("axis", -1), np.int32))
    return call.last("ConcatV2", (*call.sources, axis))


def _upsampling(call: Call) -> str:
    by = call.constant("size", np.array(_pair(call.config["size"]), np.int32))
    begin, end, step = (
        call.constant(key, np.array([value], np.int32))
        for key, value in (("begin", 1), ("end", 3), ("step", 1))
    )
    shape = call.step("Shape", "Shape", (call.sources[0],))
    sides = call.step("sides", "StridedSlice", (shape, begin, end, step))
    wanted = call.step("wanted", "Mul", (sides, by))
    bilinear = call.config.get("interpolation", "nearest") == "bilinear"
    # TensorFlow.js' own, without half pixels.
    op = "ResizeBilinear" if bilinear else "ResizeNearestNeighbor"
    return call.last(op, (call.sources[0], wanted))


def _rescaling(call: Call) -> str:
    factor = call.constant("scale", np.float32(call.config["scale"]))
    scaled = call.step("scaled", "Mul", (call.sources[0], factor))
    return call.last("Add", (scaled, call.constant("offset", np.float32(call.config["offset"]))))


LAYERS: Mapping[str, Callable[[Call], str]] = {
    "Activation": lambda call: call.activated(call.sources[0], call.config["activation"]),
    "Add": _joined("Add"),
    "AveragePooling2D": _pool("AvgPool"),
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenation,
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Flatten": _reshape,
    "GlobalAveragePooling2D": _global_mean,
    "LeakyReLU": _leaky_relu,
    "MaxPooling2D": _pool("MaxPool"),
    "Multiply": _joined("Mul"),
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SeparableConv2D": _separable,
    "Softmax": lambda call: call.last("Softmax", call.sources),
    "Subtract": _joined("Sub"),
    "UpSampling2D": _upsampling,
    "ZeroPadding2D": _zero_padding,
}
