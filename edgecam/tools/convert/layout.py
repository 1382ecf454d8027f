"""Networks that keep channels before pixels (NCHW, as PyTorch exports), turned to NHWC.

Converters from ONNX put a Transpose around every convolution. Here each tensor becomes a view of
one that has its channels last: a Transpose changes the view and costs nothing, and where two of
them cancel out nothing remains. Outputs of four dimensions stay with channels last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgecam.tools.convert.constant_folding import fold_constants
from edgecam.tools.convert.fuse import TRANSPARENT
from edgecam.tools.convert.graph import Array, Graph, Node, malformed

Order = tuple[int, ...]
# From NHWC to NCHW: where each axis of the view lies in its source.
_FIRST: Order = (0, 3, 1, 2)
_COLOURS = (1, 3)
_UNARY = frozenset({"LeakyRelu", "Relu", "Relu6", "Sigmoid", *TRANSPARENT})
_BINARY = frozenset({"Add", "AddV2", "Sub", "Mul", "RealDiv"})


def has_channels_first(shape: tuple[int, ...] | None) -> bool:
    """Whether a picture of this shape is [1, channels, H, W]."""
    return (
        shape is not None
        and len(shape) == len(_FIRST)
        and shape[1] in _COLOURS
        and shape[3] not in _COLOURS
    )


def channels_last(graph: Graph) -> Graph:
    """Return an equal graph whose picture is [1, H, W, channels]; one that is stays as it is.

    Raises:
        ConvertError: a node is malformed.
    """
    shapes = [graph.node(name).attributes.get("shape") for name in graph.inputs]
    if len(shapes) != 1 or not has_channels_first(shapes[0]):
        return graph
    graph = fold_constants(graph)
    turning = _Turning(dict(graph.constants))
    for node in graph.nodes:
        with malformed(node):
            turning.take(node, node.name in graph.inputs)
    outputs = tuple(turning.output(name) for name in graph.outputs)
    turned = Graph(tuple(turning.nodes), turning.constants, graph.inputs, outputs)
    return _padding_inside(turned)


@dataclass(slots=True)
class _Turning:
    """``views``: tensor of the graph -> (tensor that holds it, order of its axes there)."""

    constants: dict[str, Array]
    nodes: list[Node] = field(default_factory=list)
    views: dict[str, tuple[str, Order]] = field(default_factory=dict)

    def take(self, node: Node, is_picture: bool) -> None:
        if is_picture:
            shape = node.attributes["shape"]
            inverse = tuple(shape[_FIRST.index(axis)] for axis in range(len(_FIRST)))
            self.nodes.append(Node(node.name, node.op, (), {**node.attributes, "shape": inverse}))
            self.views[node.name] = (node.name, _FIRST)
            return
        rule = _RULES.get(node.op)
        if rule is None or not rule(self, node):
            inputs = tuple(map(self.plain, node.inputs))
            self.nodes.append(replace(node, inputs=inputs))

    def view(self, name: str) -> tuple[str, Order]:
        """Return what holds a tensor, and in which order of axes; () is as it is."""
        return self.views.get(name, (name, ()))

    def plain(self, name: str) -> str:
        """Return the tensor in the graph's own order of axes, turned if it must be."""
        source, order = self.view(name)
        if not order:
            return source
        turned, axes = f"{name}/turned", f"{name}/axes"
        if axes not in self.constants:
            self.constants[axes] = np.array(order, np.int32)
            self.nodes.append(Node(turned, "Transpose", (source, axes), {}))
        return turned

    def output(self, name: str) -> str:
        source, order = self.view(name)
        return source if len(order) == len(_FIRST) else self.plain(name)

    def put(self, node: Node, order: Order, outputs: int = 1) -> None:
        """Append a node whose outputs lie in ``order``."""
        self.nodes.append(node)
        for place in range(outputs if order else 0):
            name = node.name if place == 0 else f"{node.name}:{place}"
            self.views[name] = (name, order)

    def constant(self, name: str, values: Array) -> str:
        self.constants[name] = values
        return name


def _transpose(turning: _Turning, node: Node) -> bool:
    if node.inputs[1] not in turning.constants:
        return False
    source, order = turning.view(node.inputs[0])
    axes = [int(axis) for axis in turning.constants[node.inputs[1]].reshape(-1)]
    made = tuple(order[axis] for axis in axes) if order else tuple(axes)
    turning.views[node.name] = (source, () if made == tuple(range(len(made))) else made)
    return True


def _unary(turning: _Turning, node: Node) -> bool:
    source, order = turning.view(node.inputs[0])
    turning.put(replace(node, inputs=(source,)), order)
    return True


def _binary(turning: _Turning, node: Node) -> bool:
    views = [turning.view(name) for name in node.inputs]
    orders = {order for name, (_, order) in zip(node.inputs, views, strict=True) if order}
    if len(orders) != 1:
        return False
    (order,) = orders
    inputs = []
    for place, (source, own) in enumerate(views):
        if own == order:
            inputs.append(source)
        elif source in turning.constants:
            values = turning.constants[source]
            whole = values.reshape((1,) * (len(order) - values.ndim) + values.shape)
            turned = whole.transpose(np.argsort(order))
            inputs.append(turning.constant(f"{node.name}/turned_{place}", turned))
        else:
            return False
    turning.put(replace(node, inputs=tuple(inputs)), order)
    return True


def _pad(turning: _Turning, node: Node) -> bool:
    source, order = turning.view(node.inputs[0])
    if not order or node.inputs[1] not in turning.constants:
        return False
    pads = turning.constants[node.inputs[1]][np.argsort(order)]
    amounts = turning.constant(f"{node.name}/turned_1", pads)
    turning.put(replace(node, inputs=(source, amounts, *node.inputs[2:])), order)
    return True


def _concatenation(turning: _Turning, node: Node) -> bool:
    views = [turning.view(name) for name in node.inputs[:-1]]
    order = views[0][1]
    if not order or any(own != order for _, own in views):
        return False
    axis = int(turning.constants[node.inputs[-1]])
    place = turning.constant(f"{node.name}/turned_axis", np.array(order[axis], np.int32))
    turning.put(replace(node, inputs=(*(source for source, _ in views), place)), order)
    return True


def _split(turning: _Turning, node: Node) -> bool:
    source, order = turning.view(node.inputs[0])
    if not order:
        return False
    axis = int(turning.constants[node.inputs[2]])
    place = turning.constant(f"{node.name}/turned_axis", np.array(order[axis], np.int32))
    inputs = (source, node.inputs[1], place)
    turning.put(replace(node, inputs=inputs), order, int(node.attributes["num_split"]))
    return True


def _reshape(turning: _Turning, node: Node) -> bool:
    """[1, C, H, W] to [1, C, all places]: the same with the channels last."""
    source, order = turning.view(node.inputs[0])
    wanted = turning.constants.get(node.inputs[1])
    if order != _FIRST or wanted is None or wanted.size != 3 or int(wanted[0]) != 1:
        return False
    channels, places = int(wanted[1]), int(wanted[2])
    if places != -1 or channels < 1:
        return False
    shape = turning.constant(f"{node.name}/turned_shape", np.array([1, -1, channels], np.int32))
    turning.put(replace(node, inputs=(source, shape)), (0, 2, 1))
    return True


_RULES: Mapping[str, Callable[[_Turning, Node], bool]] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    "ConcatV2": _concatenation,
    "Pad": _pad,
    "PadV2": _pad,
    "Reshape": _reshape,
    "SplitV": _split,
    "Transpose": _transpose,
}


def _padding_inside(graph: Graph) -> Graph:
    """Return the graph with what pads for one window alone as that window's own padding."""
    by_name = {node.name: node for node in graph.nodes}
    uses = Counter(name for node in graph.nodes for name in node.inputs) + Counter(graph.outputs)
    gone: set[str] = set()
    nodes = []
    for node in graph.nodes:
        before = by_name.get(node.inputs[0]) if node.inputs else None
        neutral = _neutral_padding(graph, before, node)
        if before is None or neutral is None or uses[before.name] != 1:
            nodes.append(node)
            continue
        gone.add(before.name)
        padding = {"padding": "EXPLICIT", "explicit_paddings": neutral}
        inputs = (before.inputs[0], *node.inputs[1:])
        nodes.append(replace(node, inputs=inputs, attributes={**node.attributes, **padding}))
    return replace(graph, nodes=tuple(node for node in nodes if node.name not in gone))


def _neutral_padding(graph: Graph, before: Node | None, node: Node) -> list[int] | None:
    """The eight amounts that ``before`` adds, if it adds what changes nothing in ``node``."""
    if before is None or node.attributes.get("padding") != "VALID":
        return None
    if node.op in ("Conv2D", "DepthwiseConv2dNative"):
        fits = before.op == "Pad"
    else:
        value = graph.constants.get(before.inputs[2]) if before.op == "PadV2" else None
        fits = node.op == "MaxPool" and value is not None and bool(np.all(np.isneginf(value)))
    pads = graph.constants.get(before.inputs[1]) if fits else None
    return [int(side) for side in pads.reshape(-1)] if pads is not None else None
