"""Nearest-neighbour upsampling as the Object Detection API writes it, turned into one node.

Its feature pyramids repeat every pixel by a product with ones in six dimensions, or by stacking
a tensor on itself twice; neither has more than one TFLite operator that means the same.
Source: ``nearest_neighbor_upsampling`` in object_detection/utils/ops.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from edgecam.tools.convert.graph import Graph, Node

# The op of the node that stands for it: input [1, H, W, C], attribute ``scale``.
NEAREST_UPSAMPLING: Final = "NearestUpsampling"


def fold(graph: Graph) -> Graph:
    """Return the graph with each such group of nodes as one; the others stay until unused."""
    by_name = {node.name: node for node in graph.nodes}
    nodes = tuple(_folded(graph, by_name, node) for node in graph.nodes)
    return replace(graph, nodes=nodes)


def _folded(graph: Graph, by_name: dict[str, Node], node: Node) -> Node:
    middle = by_name.get(node.inputs[0]) if node.op == "Reshape" and node.inputs else None
    if middle is None:
        return node
    found = _stacked(by_name, middle) or _multiplied(graph, by_name, middle)
    if found is None:
        return node
    source, scale = found
    return Node(node.name, NEAREST_UPSAMPLING, (source,), {"scale": scale})


def _stacked(by_name: dict[str, Node], outer: Node) -> tuple[str, int] | None:
    """stack([stack([x] * n, axis=3)] * n, axis=2): [1, H, W, C] to [1, H, n, W, n, C]."""
    if outer.op != "Pack" or int(outer.attributes.get("axis", 0)) != 2:
        return None
    inner = by_name.get(outer.inputs[0])
    if inner is None or inner.op != "Pack" or int(inner.attributes.get("axis", 0)) != 3:
        return None
    same = len({*outer.inputs}) == len({*inner.inputs}) == 1
    scale = len(outer.inputs)
    return (inner.inputs[0], scale) if same and len(inner.inputs) == scale else None


def _multiplied(graph: Graph, by_name: dict[str, Node], product: Node) -> tuple[str, int] | None:
    """reshape(x, [1, H, 1, W, 1, C]) * ones([1, 1, n, 1, n, 1])."""
    if product.op != "Mul":
        return None
    for taken, factor in (product.inputs, product.inputs[::-1]):
        ones, spread = graph.constants.get(factor), by_name.get(taken)
        if ones is None or spread is None or spread.op != "Reshape" or ones.ndim != 6:
            continue
        scale = ones.shape[2]
        if ones.shape == (1, 1, scale, 1, scale, 1) and np.all(ones == 1):
            return spread.inputs[0], scale
    return None
