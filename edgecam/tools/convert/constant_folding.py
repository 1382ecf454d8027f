"""Compute what a graph computes from constants alone: anchors, shapes, batch norm's factors.

Every operation is TensorFlow's of that name, in numpy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgecam.tools.convert.graph import Array, ConvertError, Graph, Node, Room, in_order

Operation = Callable[[Node, list[Array]], Any]
_MAX_ITEM_BYTES = 8


def value(graph: Graph, name: str, fed: Mapping[str, Array] | None = None) -> Array:
    """Return the tensor ``name``, where ``fed`` takes the place of what nodes would compute.

    Raises:
        ConvertError: it depends on the picture, or on an op that is not known here.
    """
    known = {**graph.constants, **(fed or {})}
    room = room_of(known)
    for node in in_order(replace(graph, constants=known, outputs=(name,))):
        known.update(results(node, known, room))
    if name not in known:
        raise ConvertError(f"the graph has no tensor {name!r}")
    return known[name]


def fold_constants(graph: Graph) -> Graph:
    """Return an equal graph, in order, without what takes constants alone or divides by one."""
    known = dict(graph.constants)
    room = room_of(known)
    kept = []
    for node in in_order(graph):
        fixed = node.inputs and all(name in known for name in node.inputs)
        if fixed and node.op in OPERATIONS and node.name not in (*graph.inputs, *graph.outputs):
            known.update(results(node, known, room))
        elif node.op == "RealDiv" and _is_scalar_one(known.get(node.inputs[1])):
            kept.append(Node(node.name, "Identity", node.inputs[:1], {}))
        else:
            kept.append(node)
    return replace(graph, nodes=tuple(kept), constants=known)


def _is_scalar_one(divisor: Array | None) -> bool:
    return divisor is not None and divisor.ndim == 0 and divisor == 1


def room_of(constants: Mapping[str, Array]) -> Room:
    """Return how much may be computed from these."""
    return Room.beside(sum(array.nbytes for array in constants.values()))


def results(node: Node, known: Mapping[str, Array], room: Room) -> dict[str, Array]:
    """Return the node's outputs by tensor name; ``known`` holds its inputs.

    Raises:
        ConvertError: the op is not known here, its inputs do not fit together, or the outputs
            would not find ``room``.
    """
    operation = OPERATIONS.get(node.op)
    if operation is None:
        raise ConvertError(
            f"{node.op} {node.name!r} cannot be computed ahead: expected constants alone"
        )
    try:
        values = [known[name] for name in node.inputs]
        if any(value.dtype.hasobject for value in values):
            raise TypeError("texts")
        room.take(_count(node.op, values) * _MAX_ITEM_BYTES)
        with np.errstate(all="ignore"):
            found = operation(node, values)
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise ConvertError(
            f"{node.op} {node.name!r} is malformed ({type(error).__name__}: {error})"
        ) from None
    outputs = found if isinstance(found, list) else [found]
    arrays = [np.asarray(output) for output in outputs]
    return {
        node.name if place == 0 else f"{node.name}:{place}": array
        for place, array in enumerate(arrays)
    }


def _binary(function: Callable[[Array, Array], Any]) -> Operation:
    return lambda _, values: function(values[0], values[1])


def _unary(function: Callable[[Array], Any]) -> Operation:
    return lambda _, values: function(values[0])


def _reduction(function: Callable[..., Any]) -> Operation:
    def reduce(node: Node, values: list[Array]) -> Any:
        axes = tuple(int(axis) for axis in values[1].reshape(-1))
        keep = bool(node.attributes.get("keep_dims", False))
        # numpy would widen int32 to the machine's integer.
        return np.asarray(function(values[0], axis=axes, keepdims=keep), values[0].dtype)

    return reduce


def _axis(node: Node, default: int = 0) -> int:
    return int(node.attributes.get("axis", default))


_BROADCASTING = re.compile(
    "Add(V2)?|(Real)?Div|Floor(Div|Mod)|(Not)?Equal|(Greater|Less)(Equal)?|Logical(And|Or)|"
    "Maximum|Minimum|Mul|Pow|Select(V2)?|Sub"
)


def _count(op: str, values: Sequence[Array]) -> float:
    """At least as many elements as the outputs have together; no array is made for it."""
    match op:
        case "BroadcastTo" | "Fill":
            return float(math.prod(_sides(values[op == "BroadcastTo"])))
        case "SparseToDense":
            return float(math.prod(_sides(values[1])))
        case "Tile":
            return float(values[0].size * math.prod(_sides(values[1])))
        case "Range":
            start, limit, delta = (float(item) for item in values)
            return max(0.0, (limit - start) / delta)
        case "Gather" | "GatherV2":
            axis = int(values[2]) if len(values) > 2 else 0
            return float(values[0].size // max(values[0].shape[axis], 1) * values[1].size)
        case "Pack" | "Concat" | "ConcatV2":
            return float(sum(value.size for value in values))
        case _ if _BROADCASTING.fullmatch(op):
            return float(math.prod(np.broadcast_shapes(*(value.shape for value in values))))
    return float(max((value.size for value in values), default=1))


def _fill(_: Node, values: list[Array]) -> Any:
    return np.full(_sides(values[0]), values[1])


def _sparse_to_dense(_: Node, values: list[Array]) -> Any:
    places, sides, found, default = values
    dense = np.full(_sides(sides), default)
    if found.size:
        dense[tuple(places.reshape(found.size, -1).T)] = found
    return dense


def _tile(_: Node, values: list[Array]) -> Any:
    return np.tile(values[0], _sides(values[1]))


def _sides(values: Array) -> list[int]:
    return [int(side) for side in values.reshape(-1)]


def _squeeze(node: Node, values: list[Array]) -> Any:
    axes = node.attributes.get("squeeze_dims") or None
    return np.squeeze(values[0], tuple(axes) if axes else None)


def _slice(_: Node, values: list[Array]) -> Any:
    source, begins, sizes = values
    return source[
        tuple(
            slice(begin, None if size < 0 else begin + size)
            for begin, size in zip(_sides(begins), _sides(sizes), strict=True)
        )
    ]


def strided_slice(node: Node, values: list[Array]) -> Any:
    """Return ``x[begin:end:step, ...]`` by the five masks of TensorFlow's StridedSlice."""
    source, *bounds = values
    masks = {
        name: int(node.attributes.get(f"{name}_mask", 0))
        for name in ("begin", "end", "shrink_axis", "ellipsis", "new_axis")
    }
    index: list[Any] = []
    for axis, (low, high, step) in enumerate(zip(*map(_sides, bounds), strict=True)):
        bit = 1 << axis
        if masks["ellipsis"] & bit:
            index.append(Ellipsis)
        elif masks["new_axis"] & bit:
            index.append(np.newaxis)
        elif masks["shrink_axis"] & bit:
            index.append(low)
        else:
            start = None if masks["begin"] & bit else low
            stop = None if masks["end"] & bit else high
            index.append(slice(start, stop, step))
    return source[tuple(index)]


def _unpack(node: Node, values: list[Array]) -> Any:
    axis = _axis(node)
    return [np.take(values[0], place, axis) for place in range(values[0].shape[axis])]


def _gather(node: Node, values: list[Array]) -> Any:
    axis = int(values[2]) if len(values) > 2 else 0
    if int(node.attributes.get("batch_dims", 0)):
        raise ValueError("a gather by batch")
    return np.take(values[0], values[1], axis)


def _range(_: Node, values: list[Array]) -> Any:
    start, limit, delta = (item.item() for item in values)
    return np.arange(start, limit, delta, dtype=values[0].dtype)


def _concat(values: Sequence[Array], axis: Array) -> Any:
    return np.concatenate(values, int(axis))


def _divide(first: Array, second: Array) -> Any:
    """Div: what C does, so integers are cut off towards zero."""
    if np.issubdtype(first.dtype, np.integer):
        return np.trunc(first / second).astype(first.dtype)
    return first / second


OPERATIONS: Mapping[str, Operation] = {
    "Abs": _unary(np.abs),
    "Add": _binary(np.add),
    "AddV2": _binary(np.add),
    "BroadcastTo": lambda _, values: np.broadcast_to(values[0], _sides(values[1])),
    "Cast": lambda node, values: values[0].astype(node.attributes["DstT"]),
    "Ceil": _unary(np.ceil),
    "Concat": lambda _, values: _concat(values[1:], values[0]),
    "ConcatV2": lambda _, values: _concat(values[:-1], values[-1]),
    "Div": _binary(_divide),
    "Equal": _binary(np.equal),
    "Exp": _unary(np.exp),
    "ExpandDims": lambda _, values: np.expand_dims(values[0], int(values[1])),
    "Fill": _fill,
    "Floor": _unary(np.floor),
    "FloorDiv": _binary(np.floor_divide),
    "FloorMod": _binary(np.mod),
    "Gather": _gather,
    "GatherV2": _gather,
    "Greater": _binary(np.greater),
    "GreaterEqual": _binary(np.greater_equal),
    "Identity": _unary(lambda source: source),
    "Less": _binary(np.less),
    "LessEqual": _binary(np.less_equal),
    "Log": _unary(np.log),
    "LogicalAnd": _binary(np.logical_and),
    "LogicalNot": _unary(np.logical_not),
    "LogicalOr": _binary(np.logical_or),
    "Max": _reduction(np.max),
    "Maximum": _binary(np.maximum),
    "Mean": _reduction(np.mean),
    "Min": _reduction(np.min),
    "Minimum": _binary(np.minimum),
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "NotEqual": _binary(np.not_equal),
    "OnesLike": _unary(np.ones_like),
    "Pack": lambda node, values: np.stack(values, _axis(node)),
    "Pow": _binary(np.power),
    "Prod": _reduction(np.prod),
    "Range": _range,
    "Rank": _unary(lambda source: np.int32(source.ndim)),
    "RealDiv": _binary(np.divide),
    "Reciprocal": _unary(lambda source: 1 / source),
    "Reshape": lambda _, values: values[0].reshape(_sides(values[1])),
    "Round": _unary(np.round),
    "Rsqrt": _unary(lambda source: 1 / np.sqrt(source)),
    "Select": lambda _, values: np.where(*values),
    "SelectV2": lambda _, values: np.where(*values),
    "Shape": _unary(lambda source: np.array(source.shape, np.int32)),
    "Size": _unary(lambda source: np.int32(source.size)),
    "Slice": _slice,
    "SparseToDense": _sparse_to_dense,
    "Split": lambda node, values: np.split(
        values[1], int(node.attributes["num_split"]), int(values[0])
    ),
    "Sqrt": _unary(np.sqrt),
    "Square": _unary(np.square),
    "Squeeze": _squeeze,
    "StridedSlice": strided_slice,
    "Sub": _binary(np.subtract),
    "Sum": _reduction(np.sum),
    "Tile": _tile,
    "Transpose": lambda _, values: np.transpose(values[0], _sides(values[1])),
    "Unpack": _unpack,
    "ZerosLike": _unary(np.zeros_like),
}
