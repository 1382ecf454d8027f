"""Fold what follows a convolution into it, so that the graph holds what TFLite has operators for.

A convolution becomes the node it ends in: batch norm, bias and activation inside, with the
inputs (x, weights, bias) and the attribute ``activation``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgecam.tools.convert.graph import (
    Array,
    ConvertError,
    Graph,
    Node,
    as_float32,
    in_order,
    malformed,
)

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
BATCH_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
ACTIVATIONS = ("Relu", "Relu6")
_TAKE_ACTIVATION = (*CONVOLUTIONS, "MatMul", "Add", "AddV2", "Sub", "Mul", *BATCH_NORMS)
TRANSPARENT = ("Identity", "StopGradient", "CheckNumerics", "PreventGradient")
UNFUSED = {
    "_FusedConv2D": "Conv2D",
    "FusedConv2D": "Conv2D",
    "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
    "_FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
    "_FusedMatMul": "MatMul",
}


def simplify(graph: Graph) -> Graph:
    """Return an equal graph of fewer nodes, in order of execution.

    Raises:
        ConvertError: a reference leads nowhere, or a fused op holds what is not known here.
    """
    graph = _without_transparent(graph)
    folding = _Folding(graph.outputs, dict(graph.constants))
    nodes = in_order(graph)
    folding.uses.update(taken for node in nodes for taken in node.inputs)
    for node in nodes:
        with malformed(node):
            folding.take(unfused(node))
    return Graph(tuple(folding.nodes.values()), folding.constants, graph.inputs, graph.outputs)


def channel_terms(graph_constants: dict[str, Array], node: Node) -> tuple[Array, Array]:
    """Return a batch norm's (factor, summand), float32[C] each, from its four constants.

    Raises:
        ConvertError: it is in training mode, or a statistic is no constant.
    """
    if node.attributes.get("is_training", False) or any(
        name not in graph_constants for name in node.inputs[1:5]
    ):
        raise ConvertError(
            f"{node.op} {node.name!r} is in training mode; freeze the model for inference first"
        )
    scale, offset, mean, variance = (
        graph_constants[name].astype(np.float64) for name in node.inputs[1:5]
    )
    factor = scale / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-4)))
    return as_float32(factor), as_float32(offset - mean * factor)


def _without_transparent(graph: Graph) -> Graph:
    """Return the graph without nodes that hand on what they take.

    Such a node that is an output gives its name to what it hands on, if that may be renamed.
    """
    by_name = {node.name: node for node in graph.nodes}

    def behind(name: str) -> str:
        while name in by_name and name not in graph.inputs:
            node = by_name[name]
            if node.op not in TRANSPARENT or not node.inputs:
                break
            name = node.inputs[0]
        return name

    names: dict[str, str] = {}
    for output in graph.outputs:
        source = behind(output)
        fixed = source in graph.outputs or source in graph.inputs or source not in by_name
        if not fixed:
            names.setdefault(source, output)
    nodes = tuple(
        replace(
            node,
            name=names.get(node.name, node.name),
            inputs=tuple(names.get(behind(taken), behind(taken)) for taken in node.inputs),
        )
        for node in graph.nodes
        if node.op not in TRANSPARENT or node.name in graph.inputs
    )
    outputs = tuple(names.get(behind(output), behind(output)) for output in graph.outputs)
    return Graph(nodes, graph.constants, graph.inputs, outputs)


def unfused(node: Node) -> Node:
    """Return a fused convolution as a plain one with a bias and an activation."""
    if node.op not in UNFUSED:
        return node
    fused: Sequence[str] = node.attributes.get("fused_ops", ())
    activation = fused[1] if len(fused) > 1 else None
    known = not fused or (fused[0] == "BiasAdd" and len(fused) <= 2)
    if not known or (activation is not None and activation not in ACTIVATIONS):
        raise ConvertError(
            f"{node.op} {node.name!r} ends in {' + '.join(fused)}, expected BiasAdd and "
            f"optionally one of {', '.join(ACTIVATIONS)}"
        )
    attributes = {**node.attributes, "activation": activation}
    inputs = node.inputs[: 3 if fused else 2]
    return Node(node.name, UNFUSED[node.op], inputs, attributes)


@dataclass(slots=True)
class _Folding:
    """Nodes so far; ``uses`` counts who takes a tensor."""

    outputs: Sequence[str]
    constants: dict[str, Array]
    nodes: dict[str, Node] = field(default_factory=dict)
    uses: Counter[str] = field(default_factory=Counter)

    def take(self, node: Node) -> None:
        for rule in _RULES:
            found = rule(self, node)
            if found is not None:
                node = found
                break
        self.nodes[node.name] = node

    def sole(self, name: str) -> Node | None:
        """The node that makes ``name`` if only one node takes it and it is no output."""
        if name in self.outputs or self.uses[name] != 1:
            return None
        return self.nodes.get(name)

    def new_constant(self, name: str, values: Array) -> str:
        self.constants[name] = as_float32(values)
        return name

    def replaced(self, old: Node, **changes: Any) -> Node:
        """Drop ``old`` from the nodes; return what stands for it from now on."""
        del self.nodes[old.name]
        return replace(old, **changes)

    def operands(self, node: Node) -> tuple[Node, Array] | None:
        """Return (convolution, constant) if the node joins just these, in either order."""
        if len(node.inputs) != 2:
            return None
        pairs = [node.inputs, node.inputs[::-1]] if node.op != "Sub" else [node.inputs]
        for taken, constant in pairs:
            source = self.sole(taken)
            if source is not None and constant in self.constants and _is_plain(source):
                return source, self.constants[constant]
        return None

    def channels(self, convolution: Node) -> int:
        shape = self.constants[convolution.inputs[1]].shape
        return int(shape[3] if convolution.op == "Conv2D" else shape[2] * shape[3])

    def scaled(self, source: Node, name: str, factor: Array, summand: Array) -> Node:
        """Return the convolution with ``factor`` (float[C]) in its weights, both in its bias."""
        weights = self.constants[source.inputs[1]]
        by_output = factor if source.op == "Conv2D" else factor.reshape(weights.shape[2:])
        bias = self.constants[source.inputs[2]] if len(source.inputs) > 2 else np.zeros(1)
        kernel = weights
        if not np.all(factor == 1.0):
            kernel = as_float32(weights.astype(np.float64) * by_output)
        total = np.broadcast_to(bias.astype(np.float64) * factor + summand, factor.shape)
        inputs = (
            source.inputs[0],
            source.inputs[1] if kernel is weights else self.new_constant(f"{name}/weights", kernel),
            self.new_constant(f"{name}/bias", total),
        )
        return self.replaced(source, name=name, inputs=inputs)


def _is_plain(node: Node) -> bool:
    return node.op in CONVOLUTIONS and not node.attributes.get("activation")


def _per_channel(values: Array, channels: int) -> Array | None:
    """Return a constant that is the same at every place of the picture as float64[C]."""
    if values.size == 1:
        return np.full(channels, float(values.reshape(())), np.float64)
    same = values.shape[-1] == channels and values.size == channels and values.ndim <= 4
    return values.reshape(channels).astype(np.float64) if same else None


def _fold_bias(folding: _Folding, node: Node) -> Node | None:
    if node.op not in ("BiasAdd", "Add", "AddV2", "Sub"):
        return None
    found = folding.operands(node)
    if found is None or found[0].inputs[1] not in folding.constants:
        return None
    source, constant = found
    channels = folding.channels(source)
    summand = _per_channel(constant, channels)
    if summand is None:
        return None
    sign = -1.0 if node.op == "Sub" else 1.0
    return folding.scaled(source, node.name, np.ones(channels), sign * summand)


def _fold_factor(folding: _Folding, node: Node) -> Node | None:
    found = folding.operands(node) if node.op == "Mul" else None
    if found is None or found[0].inputs[1] not in folding.constants:
        return None
    source, constant = found
    factor = _per_channel(constant, folding.channels(source))
    return None if factor is None else folding.scaled(source, node.name, factor, np.zeros(1))


def _fold_batch_norm(folding: _Folding, node: Node) -> Node | None:
    source = folding.sole(node.inputs[0]) if node.op in BATCH_NORMS else None
    if source is None or not _is_plain(source) or source.inputs[1] not in folding.constants:
        return None
    factor, summand = channel_terms(folding.constants, node)
    return folding.scaled(source, node.name, factor, summand)


def _fold_activation(folding: _Folding, node: Node) -> Node | None:
    source = folding.sole(node.inputs[0]) if node.op in ACTIVATIONS else None
    if source is None or source.op not in _TAKE_ACTIVATION or source.attributes.get("activation"):
        return None
    attributes = {**source.attributes, "activation": node.op}
    return folding.replaced(source, name=node.name, attributes=attributes)


def _fold_dilation(folding: _Folding, node: Node) -> Node | None:
    """SpaceToBatchND, a convolution, BatchToSpaceND: how TensorFlow 1 wrote a dilated one."""
    middle = folding.sole(node.inputs[0]) if node.op == "BatchToSpaceND" else None
    if middle is None or middle.op not in CONVOLUTIONS:
        return None
    first = folding.sole(middle.inputs[0])
    if first is None or first.op != "SpaceToBatchND" or middle.attributes["padding"] != "VALID":
        return None
    names = (*first.inputs[1:], *node.inputs[1:])
    if any(name not in folding.constants for name in names):
        return None
    block, pads, end_block, crops = (folding.constants[name] for name in names)
    strides = set(middle.attributes.get("strides", [1]))
    if block.shape != (2,) or not np.array_equal(block, end_block) or strides != {1}:
        return None
    del folding.nodes[first.name]
    # What the pads add beyond the crops only makes the sides divisible by the block.
    around = [int(side) for side in (pads - crops).reshape(-1)]
    attributes = {
        **middle.attributes,
        "padding": "EXPLICIT",
        "explicit_paddings": [0, 0, *around, 0, 0],
        "dilations": [1, int(block[0]), int(block[1]), 1],
    }
    inputs = (first.inputs[0], *middle.inputs[1:])
    return folding.replaced(middle, name=node.name, inputs=inputs, attributes=attributes)


_RULES: tuple[Callable[[_Folding, Node], Node | None], ...] = (
    _fold_bias,
    _fold_factor,
    _fold_batch_norm,
    _fold_activation,
    _fold_dilation,
)
