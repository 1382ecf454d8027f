"""Cut the part of a network between named tensors out: ``edgecam convert --inputs --outputs``.

Published networks often begin with the normalisation of their picture and end in ops that no
delegate takes. The part between keeps its names, by which decoders tell outputs of one shape apart.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgecam.tools.convert import lower
from edgecam.tools.convert.graph import ConvertError, Graph, Node, reached
from edgecam.tools.convert.lite import Shape

_SHOWN = 3


def resolve(wanted: str, names: Sequence[str], option: str) -> str:
    """Return the one of ``names`` that a person means: itself, or all behind a slash of it.

    Raises:
        ConvertError: none is called so, or several are.
    """
    plain = wanted.removesuffix(":0")
    if plain in names:
        return plain
    found = [name for name in names if name.endswith(f"/{plain}")]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        raise ConvertError(f"{option} {wanted!r}: {len(found)} tensors end so; give one of {shown}")
    # Published names begin alike: their ends tell them apart.
    depth = plain.count("/") + 1
    ends = {"/".join(name.split("/")[-depth:]): name for name in reversed(names)}
    near = [ends[end] for end in difflib.get_close_matches(plain, ends, _SHOWN, cutoff=0.5)]
    hint = f"; near it are {', '.join(near)}" if near else ""
    raise ConvertError(f"{option} {wanted!r}: the graph holds no tensor of that name{hint}")


def cut(
    graph: Graph, inputs: Sequence[str], outputs: Sequence[str], size: tuple[int, int] | None
) -> Graph:
    """Return the part of the graph from ``inputs`` to ``outputs``; what is empty stays as it is.

    ``size``: (height, width) of the graph's own picture, where the graph leaves it open.

    Raises:
        ConvertError: a name is not there, a new input's shape is unknown, or the outputs need
            a picture that is not among the inputs.
    """
    names = [node.name for node in graph.nodes]
    if outputs:
        ends = tuple(resolve(name, names, "--outputs") for name in outputs)
        graph = replace(graph, outputs=tuple(dict.fromkeys(ends)))
    if inputs:
        begins = tuple(resolve(name, names, "--inputs") for name in inputs)
        graph = _begun(graph, tuple(dict.fromkeys(begins)), size)
    needed = reached(graph)
    missing = [name for name in graph.inputs if name not in needed]
    if missing:
        raise ConvertError(
            f"--outputs {', '.join(graph.outputs)}: nothing of it is computed from {missing[0]!r}"
        )
    for name in graph.outputs:
        if name in graph.inputs:
            raise ConvertError(f"--outputs {name!r} is an input too; nothing would be computed")
    return graph


def _begun(graph: Graph, inputs: tuple[str, ...], size: tuple[int, int] | None) -> Graph:
    known = _known_shapes(replace(graph, outputs=inputs), size)
    picture = next((graph.node(name).attributes.get("shape") for name in graph.inputs), None)
    nodes = []
    for node in graph.nodes:
        if node.name not in inputs:
            nodes.append(node)
            continue
        own = node.attributes.get("shape") if node.name in graph.inputs else None
        # What stands between a picture and its normalisation rarely converts, and keeps its shape.
        attributes = {"shape": own or known.get(node.name, picture)}
        nodes.append(Node(node.name, "Placeholder", (), attributes))
    begun = replace(graph, nodes=tuple(nodes), inputs=inputs)
    needed = reached(begun)
    left = [name for name in graph.inputs if name in needed and name not in inputs]
    if left:
        raise ConvertError(
            f"--inputs {', '.join(inputs)}: the outputs also need the graph's own input "
            f"{left[0]!r}; cut where all of them pass"
        )
    return begun


def _known_shapes(graph: Graph, size: tuple[int, int] | None) -> Mapping[str, Shape]:
    """Return the shapes that are known before the cut, by name."""
    shapes = {name: graph.node(name).attributes.get("shape") or () for name in graph.inputs}
    if size is not None:
        shapes = {name: (*shape[:1], *size, *shape[3:]) for name, shape in shapes.items()}
    if any(side < 1 for shape in shapes.values() for side in shape):
        return {}
    return lower.shapes(graph, shapes)
