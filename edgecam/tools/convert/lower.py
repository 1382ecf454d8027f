"""Lower a plain graph to TFLite operators, every shape known beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from edgecam.tools.convert import upsampling
from edgecam.tools.convert.constant_folding import OPERATIONS, fold_constants, results, room_of
from edgecam.tools.convert.fuse import TRANSPARENT, simplify, unfused
from edgecam.tools.convert.graph import ConvertError, Graph, Node, in_order, malformed
from edgecam.tools.convert.lite import LiteModel, Shape
from edgecam.tools.convert.lowering import Lowering
from edgecam.tools.convert.ops import LOWERINGS


def lower(
    graph: Graph, input_shapes: Mapping[str, Shape], names: Mapping[str, str] | None = None
) -> LiteModel:
    """Return the TFLite model of a graph.

    ``input_shapes``: the static shape of every graph input. ``names`` renames inputs and outputs.

    Raises:
        ConvertError: the graph holds ops without a TFLite form here (all are named), is broken,
            does not fit the input shapes, or has weights that are no finite numbers.
    """
    with np.errstate(all="ignore"):  # what overflows while folding is refused below
        model = _lowered(graph, input_shapes, names or {})
    for tensor in model.tensors:
        if tensor.data is not None and not np.isfinite(tensor.data).all():
            raise ConvertError(
                f"the weights {tensor.name!r} hold NaN or infinity: the model is damaged"
            )
    return model


def _lowered(
    graph: Graph, input_shapes: Mapping[str, Shape], names: Mapping[str, str]
) -> LiteModel:
    originals = graph.outputs
    graph = simplify(upsampling.fold(fold_constants(graph)))
    # An output may have got another node's name on the way.
    given = dict(names)
    given |= {
        now: given.get(before, before)
        for before, now in zip(originals, graph.outputs, strict=True)
        if now not in graph.inputs
    }
    _refuse_unknown(graph)
    lowering = Lowering(LiteModel(), dict(graph.constants), given, room_of(graph.constants))
    for name in graph.inputs:
        lowering.places[name] = lowering.model.tensor(given.get(name, name), input_shapes[name])
        lowering.model.inputs.append(lowering.places[name])
    for node in graph.nodes:
        if node.name in graph.inputs:
            continue
        with malformed(node):
            _take(lowering, node)
    lowering.model.outputs += [lowering.place(name) for name in graph.outputs]
    return lowering.model


def shapes(graph: Graph, input_shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of each node that the outputs need, as far as the ops are known here.

    Unlike ``lower`` it leaves the nodes apart and passes over what does not convert.

    Raises:
        ConvertError: the graph is broken.
    """
    graph = upsampling.fold(fold_constants(graph))
    lowering = Lowering(LiteModel(), dict(graph.constants), {}, room_of(graph.constants))
    for name in graph.inputs:
        lowering.places[name] = lowering.model.tensor(name, input_shapes[name])
    for node in in_order(graph):
        if node.name in graph.inputs:
            continue
        try:
            if node.op in TRANSPARENT:
                lowering.places[node.name] = lowering.place(node.inputs[0])
            else:
                _take(lowering, unfused(node))
        except (ConvertError, IndexError, KeyError, ValueError, TypeError):
            continue  # its shape and that of what follows are unknown
    found = {name: tuple(values.shape) for name, values in lowering.known.items()}
    return found | {n: lowering.model.tensors[at].shape for n, at in lowering.places.items()}


def _take(lowering: Lowering, node: Node) -> None:
    """Compute the node now if it needs no picture, as with a static shape, else lower it."""
    if node.op == "Shape":
        lowering.known[node.name] = np.array(lowering.shape(node.inputs[0]), np.int32)
    elif node.op in OPERATIONS and all(name in lowering.known for name in node.inputs):
        lowering.known |= results(node, lowering.known, lowering.room)
    else:
        LOWERINGS[node.op](lowering, node)


def _refuse_unknown(graph: Graph) -> None:
    static = {*graph.constants}
    unknown: Counter[str] = Counter()
    for node in graph.nodes:
        is_static = node.op == "Shape" or all(name.split(":")[0] in static for name in node.inputs)
        if node.name in graph.inputs:
            continue
        if is_static and node.op in OPERATIONS:
            static.add(node.name)
        elif node.op not in LOWERINGS:
            unknown[node.op] += 1
    if unknown:
        found = ", ".join(f"{op} ({count})" for op, count in sorted(unknown.items()))
        raise ConvertError(f"the graph holds ops that cannot be converted: {found}")
