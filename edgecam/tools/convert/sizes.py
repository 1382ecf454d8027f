"""A network of one size at another: resizes that state pixels state a scale in their place."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from edgecam.tools.convert import lower
from edgecam.tools.convert.graph import ConvertError, Graph, Node
from edgecam.tools.convert.lite import Shape

_RESIZES = ("ResizeBilinear", "ResizeNearestNeighbor")


def relative(graph: Graph, image: str, shape: Shape, size: tuple[int, int]) -> Graph:
    """Return the graph for a picture of ``size``, (height, width), where it states another.

    A resize whose size is a constant is by the same scale at any size.

    Raises:
        ConvertError: at that size it would give no whole pixels.
    """
    stated = tuple(shape[1:3])
    if stated == size or min(stated) < 1:
        return graph
    before = lower.shapes(graph, {image: (1, *stated, shape[3])})
    if not any(_is_fixed(graph, node) for node in graph.nodes):
        return graph
    for of, now in zip(stated, size, strict=True):
        step = _step(graph, before, of)
        if now % step:
            raise ConvertError(
                f"size {size[0]}x{size[1]}: expected sides that are multiples of {step}, for the "
                f"network resizes by the scales that it has at {stated[0]}x{stated[1]}"
            )
    return replace(graph, nodes=tuple(_scaled(graph, before, node) for node in graph.nodes))


def _is_fixed(graph: Graph, node: Node) -> bool:
    return node.op in _RESIZES and node.inputs[1] in graph.constants


def _step(graph: Graph, before: dict[str, Shape], side: int) -> int:
    """Return what a side must be a multiple of: the pixels for one cell of the smallest map."""
    smallest = side
    for node in graph.nodes:
        if _is_fixed(graph, node) and node.inputs[0] in before:
            smallest = min(smallest, before[node.inputs[0]][1], before[node.name][1])
    return max(1, side // smallest)


def _scaled(graph: Graph, before: dict[str, Shape], node: Node) -> Node:
    if not _is_fixed(graph, node) or node.inputs[0] not in before:
        return node
    taken = before[node.inputs[0]]
    wanted = (int(side) for side in graph.constants[node.inputs[1]].reshape(-1))
    scales = [Fraction(made, side) for made, side in zip(wanted, taken[1:3], strict=True)]
    return replace(node, attributes={**node.attributes, "scales": scales})
