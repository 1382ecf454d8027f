"""TensorFlow's frozen graph, a GraphDef protocol buffer, read without TensorFlow.

Field numbers are those of graph.proto, node_def.proto, attr_value.proto, tensor.proto and
tensor_shape.proto in tensorflow/core/framework.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.core import bounded_file
from edgecam.tools.convert.graph import (
    DTYPE_NUMBERS,
    MAX_ELEMENTS,
    Array,
    ConvertError,
    Graph,
    Node,
    Room,
    controls,
    data_inputs,
)
from edgecam.tools.convert.protobuf import (
    Value,
    WireError,
    block,
    fields,
    float32,
    integer,
    signed,
    text,
    varints,
)

_POINTER_BYTES = 8
_SHOWN = 80


def read(path: Path) -> Graph:
    """Return the graph in a frozen ``.pb``; its outputs are the nodes that no other takes.

    Raises:
        ConvertError: the file cannot be read or is no binary GraphDef.
    """
    try:
        raw = bounded_file.read(path, bounded_file.MODEL_BYTES)
    except OSError as error:
        raise ConvertError(f"cannot read {path}: {error.strerror}") from None
    return parse(raw, path.name)


def parse(raw: bytes, name: str) -> Graph:
    """Return the graph in the bytes of a GraphDef; ``name`` is what errors call it.

    Raises:
        ConvertError: they are no GraphDef, or a constant in it is damaged.
    """
    if raw.lstrip()[:6] in (b"node {", b"node{\n"):
        raise ConvertError(f"{name} is a graph in text form: expected a binary frozen graph (.pb)")
    nodes: list[Node] = []
    constants: dict[str, Array] = {}
    waits: dict[str, tuple[str, ...]] = {}
    room = Room.beside(len(raw))
    try:
        for number, value in fields(memoryview(raw)):
            if number != 1:
                continue
            if isinstance(value, int):
                raise ConvertError(
                    f"{name} is a SavedModel, not a frozen graph: give its directory instead"
                )
            node, waits_for = _node(value, room)
            if node.op == "Const":
                constants[node.name] = _constant(node)
                if waits_for:
                    waits[node.name] = waits_for
            else:
                nodes.append(node)
    except (WireError, ValueError) as error:
        raise ConvertError(
            f"{name} is no frozen graph or is damaged: {error}; expected a binary GraphDef"
        ) from None
    if not nodes:
        raise ConvertError(f"{name} holds no nodes: expected a frozen graph (binary GraphDef)")
    taken = {taken.split(":")[0] for node in nodes for taken in node.inputs}
    return Graph(
        nodes=tuple(nodes),
        constants=constants,
        inputs=tuple(n.name for n in nodes if n.op in ("Placeholder", "PlaceholderWithDefault")),
        outputs=tuple(
            node.name
            for node in nodes
            if node.name not in taken and node.op not in ("Assert", "NoOp", "Placeholder")
        ),
        controls=waits,
    )


def _constant(node: Node) -> Array:
    value = node.attributes.get("value")
    if not isinstance(value, np.ndarray):
        raise WireError(f"constant {node.name!r} has no value")
    return value


def _node(message: memoryview, room: Room) -> tuple[Node, tuple[str, ...]]:
    """Return a node, and the names of those that it only waits for."""
    name = op = ""
    inputs: list[str] = []
    attributes: dict[str, Any] = {}
    for number, value in fields(message):
        if number == 1:
            name = text(value)
        elif number == 2:
            op = text(value)
        elif number == 3:
            inputs.append(text(value))
        elif number == 5:
            entry = dict(fields(block(value)))
            if {1, 2} <= entry.keys():
                attributes[text(entry[1])] = _attribute(block(entry[2]), room)
    if not name or not op:
        raise WireError("a node without a name or an operation")
    return Node(name, op, data_inputs(inputs), attributes), controls(inputs)


def _attribute(message: memoryview, room: Room) -> Any:
    for number, value in fields(message):
        if number == 1:
            return [
                _PLAIN[inner](element)
                for inner, items in fields(block(value))
                if inner in _PLAIN
                for element in _unpacked(inner, items)
            ]
        if number in _PLAIN:
            return _PLAIN[number](value)
        if number == 8:
            return _tensor(block(value), room)
    return None


def _unpacked(number: int, value: Value) -> list[Value]:
    """Return the elements of a list's field, which numbers come packed in."""
    if isinstance(value, int) or number in (2, 7):
        return [value]
    if number == 4:
        return [value[at : at + 4] for at in range(0, len(value), 4)]
    return [element & 0xFFFFFFFFFFFFFFFF for element in varints(value)]


def _shape(message: memoryview) -> tuple[int, ...] | None:
    sides: list[int] = []
    for number, value in fields(message):
        if number == 2:
            size = dict(fields(block(value))).get(1, 0)
            sides.append(signed(size))
        elif number == 3 and value:
            return None
    return tuple(sides)


_PLAIN: Mapping[int, Callable[[Value], Any]] = {
    2: lambda value: str(block(value), "utf-8", "replace"),
    3: signed,
    4: float32,
    5: lambda value: bool(integer(value)),
    6: lambda value: DTYPE_NUMBERS.get(integer(value), f"DataType {value}"),
    7: lambda value: _shape(block(value)),
}

# TensorProto's repeated fields of values: number -> how its packed bytes read, None for varints.
_VALUES: Mapping[int, str | None] = {5: "<f4", 6: "<f8", 7: None, 10: None, 11: None, 13: None}


def _tensor(message: memoryview, room: Room) -> Array:
    """Return a TensorProto's values; ``bytes`` objects where they are strings.

    Raises:
        WireError: its values do not fill its shape, or are of a type that no model stores.
    """
    dtype = ""
    shape: tuple[int, ...] | None = ()
    content = memoryview(b"")
    strings: list[bytes] = []
    values: list[float] = []
    for number, value in fields(message):
        if number == 1:
            dtype = DTYPE_NUMBERS.get(integer(value), f"DataType {value}")
        elif number == 2:
            shape = _shape(block(value))
        elif number == 4:
            content = block(value)
        elif number == 8:
            strings.append(bytes(block(value)))
        elif number in _VALUES:
            values += _numbers(_VALUES[number], value)
    count = math.prod(shape or ()) if shape is not None and min(shape, default=0) >= 0 else -1
    if not 0 <= count <= MAX_ELEMENTS:
        raise WireError(f"a constant of the impossible shape {str(shape)[:_SHOWN]}")
    assert shape is not None
    if dtype == "string":
        room.take(count * _POINTER_BYTES)
        return np.array([*strings, *[b""] * count][:count], dtype=object).reshape(shape)
    if dtype not in DTYPE_NUMBERS.values():
        raise WireError(f"a constant of {dtype or 'no type'}, which no model stores")
    kind = np.dtype(dtype).newbyteorder("<")
    if content:
        if len(content) != count * kind.itemsize:
            raise WireError(
                f"a constant {dtype}{list(shape)} of {len(content)} bytes in place of"
                f" {count * kind.itemsize}"
            )
        return np.frombuffer(content, kind).reshape(shape)
    room.take(count * kind.itemsize)
    return _filled(values, kind, shape, count)


def _filled(values: list[float], dtype: np.dtype[Any], shape: tuple[int, ...], count: int) -> Array:
    """Return the values with the last one repeated up to the shape, as TensorFlow reads them."""
    if len(values) > count:
        raise WireError(f"a constant of shape {list(shape)} with {len(values)} values")
    result = np.zeros(count, dtype)
    if dtype == np.float16:  # half_val holds the bits of each
        result = result.view(np.uint16)
    if values:
        try:
            result[: len(values)] = values
            result[len(values) :] = values[-1]
        except OverflowError:
            raise WireError(f"a constant of {dtype} with a value beyond it") from None
    return result.view(dtype).reshape(shape)


def _numbers(packed: str | None, value: Value) -> list[float]:
    if packed is None:
        return list(varints(value))
    raw = block(value)
    if len(raw) % int(packed[-1]):
        raise WireError(f"{len(raw)} bytes in place of numbers of {packed[-1]}")
    found: list[float] = np.frombuffer(raw, packed).tolist()
    return found
