"""Lower a plain graph to TFLite operators, every shape known beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from edgecam.convert import shapes as shape_ops
from edgecam.convert.fold import simplify
from edgecam.convert.graph import ConvertError, Graph
from edgecam.convert.lite import LiteModel, Shape
from edgecam.convert.lowering import Lowering
from edgecam.convert.ops import LOWERINGS


def lower(
    graph: Graph, input_shapes: Mapping[str, Shape], names: Mapping[str, str] | None = None
) -> LiteModel:
    """Return the TFLite model of a graph.

    ``input_shapes``: the static shape of every graph input. ``names`` renames inputs and outputs.

    Raises:
        ConvertError: the graph holds ops without a TFLite form here (all are named), is broken,
            or does not fit the input shapes.
    """
    originals = graph.outputs
    graph = simplify(graph)
    # An output may have got another node's name on the way.
    given = dict(names or {})
    given |= {
        now: given.get(before, before)
        for before, now in zip(originals, graph.outputs, strict=True)
        if now not in graph.inputs
    }
    _refuse_unknown(graph)
    lowering = Lowering(LiteModel(), dict(graph.constants), given)
    for name in graph.inputs:
        lowering.places[name] = lowering.model.tensor(given.get(name, name), input_shapes[name])
        lowering.model.inputs.append(lowering.places[name])
    for node in graph.nodes:
        if node.name in graph.inputs:
            continue
        try:
            value = shape_ops.evaluate(node, lowering.known, lowering.shape)
            if value is not None:
                lowering.known[node.name] = value
            else:
                LOWERINGS[node.op](lowering, node)
        except (IndexError, KeyError, ValueError, TypeError) as error:
            raise ConvertError(
                f"{node.op} {node.name!r} is malformed: its inputs, attributes and shapes do not "
                f"fit together ({type(error).__name__}: {error})"
            ) from error
    lowering.model.outputs += [lowering.place(name) for name in graph.outputs]
    return lowering.model


def _refuse_unknown(graph: Graph) -> None:
    unknown = Counter(
        node.op
        for node in graph.nodes
        if node.op not in LOWERINGS
        and node.op not in shape_ops.EVALUATED
        and node.name not in graph.inputs
    )
    if unknown:
        found = ", ".join(f"{op} ({count})" for op, count in sorted(unknown.items()))
        raise ConvertError(f"the graph holds ops that cannot be converted: {found}")
