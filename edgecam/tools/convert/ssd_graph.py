"""What the Object Detection API's graph of an SSD holds, found by its nodes' names.

What the nodes compute is asked of them: their picture normalisation, anchors and box coder are
read off what they make of known values, whatever constants an optimiser has merged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edgecam.core.tensors import MINUS_ONE_TO_ONE, Normalization
from edgecam.tools.convert import constant_folding as evaluate
from edgecam.tools.convert.graph import Array, ConvertError, Graph, Node, in_order

SCORES: Final = "Postprocessor/convert_scores"
BOXES: Final = "Postprocessor/Decode/transpose_1"
NORMALIZED: Final = "Preprocessor/sub"
# The op in which the API's own export for TFLite ends, with encodings, scores and anchors.
POSTPROCESS: Final = "TFLite_Detection_PostProcess"
# Who takes the box encodings, or is them, as the API's releases name them; the first found counts.
_ENCODINGS: Final = (
    ("Postprocessor/raw_box_encodings", True),
    ("Postprocessor/Reshape_1", True),
    ("Squeeze", False),
    ("concat", False),
)
_ARITHMETIC: Final = ("Add", "AddV2", "Div", "Identity", "Mul", "RealDiv", "Sub")
# Where the loop over the batch's pictures ends.
_LOOP_ENDS: Final = ("TensorArrayGatherV3", "TensorListStack")


@dataclass(frozen=True, slots=True)
class Parts:
    """Tensor names in the graph: the network's input, and what it gives for each anchor."""

    source: str
    encodings: str
    scores: str


def is_detector(graph: Graph) -> bool:
    """Tell whether the graph is an SSD that the Object Detection API made."""
    return exported(graph) is not None or (
        named(graph, SCORES) is not None and named(graph, BOXES) is not None
    )


def parts(graph: Graph) -> Parts:
    """Return where the network begins and ends.

    Raises:
        ConvertError: the nodes of an Object Detection graph are missing, or it has several
            inputs.
    """
    end = exported(graph)
    if end is not None:
        return _checked(graph, *end.inputs[:2])
    scores, boxes = named(graph, SCORES), named(graph, BOXES)
    encodings = _encodings(graph)
    if scores is None or boxes is None or encodings is None:
        wanted = f"{SCORES}, {BOXES} and {' or '.join(name for name, _ in _ENCODINGS)}"
        raise ConvertError(
            f"the graph is no SSD of the Object Detection API: expected the nodes {wanted};"
            f" its outputs are {_few(graph.outputs)}"
        )
    return _checked(graph, encodings, scores.name)


def _checked(graph: Graph, encodings: str, scores: str) -> Parts:
    sources = _sources(graph, (encodings, scores))
    if len(sources) != 1:
        raise ConvertError(
            f"expected one picture as the network's input, found {_few(sorted(sources)) or 'none'}"
        )
    return Parts(sources.pop(), encodings, scores)


def cut(graph: Graph, found: Parts, size: tuple[int, int]) -> Graph:
    """Return the network alone: picture float32[1, H, W, 3] in, encodings and scores out."""
    shape = (1, *size, 3)
    picture = Node(found.source, "Placeholder", (), {"dtype": "float32", "shape": shape})
    nodes = (picture, *(node for node in graph.nodes if node.name != found.source))
    network = Graph(nodes, graph.constants, (found.source,), (found.encodings, found.scores))
    return replace(network, nodes=in_order(network))


def size(graph: Graph) -> tuple[int, int] | None:
    """Return the (height, width) to which the graph resizes pictures, None if it keeps shapes."""
    for node in graph.nodes:
        if not node.op.startswith("Resize") or len(node.inputs) != 2:
            continue
        if not any(word in node.name for word in ("Preprocessor", "ResizeImage", "map/while")):
            continue
        try:
            sides = evaluate.value(graph, node.inputs[1])
        except ConvertError:  # kept in proportion: computed from the picture
            return None
        return int(sides[0]), int(sides[1])
    stated: list[tuple[int, ...] | None] = [
        graph.node(name).attributes.get("shape") for name in graph.inputs
    ]
    match stated:
        case [(1 | -1, height, width, 3)] if exported(graph) is not None and height > 0 < width:
            return height, width
    return None


def normalization(graph: Graph) -> Normalization:
    """Return what the graph makes of a pixel before the network takes it.

    A graph without its preprocessor is one that was exported for TFLite: [-1, 1].

    Raises:
        ConvertError: it is more than a factor and a summand per channel.
    """
    node = named(graph, NORMALIZED)
    if node is None:
        return MINUS_ONE_TO_ONE
    taken, source = node.name, node
    by_name = {node.name: node for node in graph.nodes}
    while source.op in _ARITHMETIC:
        variable = [name for name in source.inputs if not _is_constant(graph, by_name, name)]
        if len(variable) != 1:
            break
        taken = variable[0]
        source = by_name.get(taken.split(":")[0], Node("", "", (), {}))
    dark, middle, bright = (
        _channels(evaluate.value(graph, node.name, {taken: np.full((1, 1, 1, 3), pixel, "f4")}))
        for pixel in (0.0, 127.5, 255.0)
    )
    slope = (bright - dark) / 255.0
    if not np.allclose(middle, (dark + bright) / 2, atol=1e-3) or not np.all(slope > 0):
        raise ConvertError(f"{node.name!r} is no factor and summand: cannot state what it wants")
    return Normalization(_three(-dark / slope), _three(1.0 / slope))


def exported(graph: Graph) -> Node | None:
    """Return the node that an export ends in, None without one."""
    nodes = (node for node in graph.nodes if node.op == POSTPROCESS and len(node.inputs) == 3)
    return next(nodes, None)


def named(graph: Graph, suffix: str) -> Node | None:
    """Return the node of that name, also below a scope; the shortest name of several."""
    found = [
        node for node in graph.nodes if node.name == suffix or node.name.endswith(f"/{suffix}")
    ]
    return min(found, key=lambda node: len(node.name), default=None)


def _encodings(graph: Graph) -> str | None:
    for name, is_taker in _ENCODINGS:
        node = named(graph, name)
        if node is not None:
            return node.inputs[0] if is_taker else node.name
    return None


def _sources(graph: Graph, ends: tuple[str, ...]) -> set[str]:
    """Return where the ways back from the network's ends leave it."""
    by_name = {node.name: node for node in graph.nodes}
    normalized = named(graph, NORMALIZED)
    sources: set[str] = set()
    seen: set[str] = set()
    ways = list(ends)
    while ways:
        name = ways.pop().split(":")[0]
        if name in seen or name in graph.constants:
            continue
        seen.add(name)
        node = by_name.get(name)
        if node is None:
            raise ConvertError(f"a node takes {name!r}, which the graph does not hold")
        if node == normalized or node.op in _LOOP_ENDS or name in graph.inputs:
            sources.add(name)
        else:
            ways += node.inputs
    return sources


def _is_constant(graph: Graph, by_name: dict[str, Node], name: str) -> bool:
    while name in by_name and by_name[name].op == "Identity":
        name = by_name[name].inputs[0]
    return name in graph.constants


def _channels(pixel: Array) -> Array:
    if pixel.size != 3:
        raise ConvertError(f"expected pixels of 3 channels, found the shape {pixel.shape}")
    return pixel.reshape(3).astype(np.float64)


def _three(values: Array) -> tuple[float, float, float]:
    # float32 arithmetic gives 127.50000x for 127.5; and -0.0 for 0.
    red, green, blue = (float(f"{value:.6g}") + 0.0 for value in values)
    return red, green, blue


def _few(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(names[:6])
    return f"{shown}, ..." if len(names) > 6 else shown
