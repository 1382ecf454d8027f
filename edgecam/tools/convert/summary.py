"""What is in a published model that is not TFLite yet, and where a conversion would cut it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgecam.tools.convert import control_flow, graphdef, posenet, ssd_graph, tfjs
from edgecam.tools.convert.constant_folding import OPERATIONS
from edgecam.tools.convert.fuse import TRANSPARENT, UNFUSED
from edgecam.tools.convert.graph import ConvertError, Graph, Node, reached
from edgecam.tools.convert.lite import Shape
from edgecam.tools.convert.lower import shapes
from edgecam.tools.convert.ops import LOWERINGS

# Suffix -> what the format is called and its reader.
FORMATS = {
    ".pb": ("TensorFlow frozen graph", graphdef.read),
    ".json": ("TensorFlow.js graph model", tfjs.read),
}
_DTYPE_ATTRIBUTES = ("DstT", "dtype", "out_type", "T")


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node's output; ``shape`` and ``dtype`` are None where they are unknown.

    ``needed``: the proposed outputs depend on it. An open side of an input is -1.
    """

    name: str
    op: str
    shape: Shape | None
    dtype: str | None
    needed: bool


@dataclass(frozen=True, slots=True)
class Outline:
    """``inputs`` and ``outputs`` are the tensors that a conversion takes; ``why`` says so.

    ``unknown`` counts the ops on the way that do not convert. ``parameters`` counts the elements
    of all constants.
    """

    path: str
    format: str
    nodes: tuple[NodeRow, ...]
    ops: Mapping[str, int]
    constants: int
    parameters: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    why: str
    unknown: Mapping[str, int]


def outline(path: Path) -> Outline:
    """Read a ``.pb`` or ``model.json``.

    Raises:
        ConvertError: it is damaged or of another kind.
    """
    form, read = FORMATS[path.suffix.lower()]
    graph = control_flow.resolve(read(path)).graph
    network, size, why = _network(graph)
    needed = reached(network)
    known = _shapes(network, size)
    rows = tuple(
        NodeRow(
            node.name,
            node.op,
            known.get(node.name, node.attributes.get("shape")),
            _dtype(node),
            node.name in needed,
        )
        for node in graph.nodes
    )
    unknown = Counter(
        node.op
        for node in network.nodes
        if node.name in needed
        and node.op not in {*LOWERINGS, *OPERATIONS, *TRANSPARENT, *UNFUSED}
        and node.name not in network.inputs
    )
    return Outline(
        path=str(path),
        format=form,
        nodes=rows,
        ops=dict(Counter(node.op for node in graph.nodes).most_common()),
        constants=len(graph.constants),
        parameters=sum(values.size for values in graph.constants.values()),
        inputs=network.inputs,
        outputs=network.outputs,
        why=why,
        unknown=dict(unknown.most_common()),
    )


def _network(graph: Graph) -> tuple[Graph, tuple[int, int] | None, str]:
    """Return the part that a conversion takes, at what size, and how it was recognised."""
    if ssd_graph.is_detector(graph):
        found = ssd_graph.parts(graph)
        size = ssd_graph.size(graph)
        cut = replace(graph, inputs=(found.source,), outputs=(found.encodings, found.scores))
        return cut, size, f"an SSD of the Object Detection API, by its node {found.scores}"
    names = posenet.outputs_by_name(graph)
    if names is not None:
        stated = graph.node(graph.inputs[0]).attributes.get("shape") if graph.inputs else None
        size = posenet.own_size(stated or (1, -1, -1, 3))
        return replace(graph, outputs=tuple(names)), size, "PoseNet, by its outputs"
    return graph, None, "its placeholders, and the nodes that no other takes"


def _shapes(network: Graph, size: tuple[int, int] | None) -> Mapping[str, Shape]:
    """Return the shapes that follow from the inputs', none if one of them is open."""
    given: dict[str, Shape] = {}
    for name in network.inputs:
        node = network.node(name)
        stated = node.attributes.get("shape")
        if size is not None:
            given[name] = (1, *size, 3)
        elif stated is not None and len(stated) > 1 and min(stated[1:]) > 0:
            given[name] = (abs(stated[0]), *stated[1:])
        else:
            return {}
    try:
        return shapes(network, given)
    except ConvertError:  # a loop, say: the nodes are listed all the same
        return {}


def _dtype(node: Node) -> str | None:
    for attribute in _DTYPE_ATTRIBUTES:
        value = node.attributes.get(attribute)
        if isinstance(value, str):
            return value
    return None
