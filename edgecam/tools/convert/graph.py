"""A published model as a plain graph: what every reader gives and the lowering takes.

It has the shape of TensorFlow's GraphDef, because a TensorFlow.js graph model is one in JSON.
Constants are taken out of the nodes, control inputs are dropped, tensors are NHWC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import EdgecamError

Array = NDArray[Any]
MAX_ELEMENTS = 1 << 28  # a gigabyte of float32: a shape beyond it is a lie or a bomb

# Weights in bytes become floats, and each node on their way has its own.
_MAX_GROWTH = 32
_MIN_ROOM_BYTES = 16 << 20

# TensorFlow's DataType: name -> (number in the protobuf, name in numpy).
_DTYPES: Mapping[str, tuple[int, str]] = {
    "DT_FLOAT": (1, "float32"),
    "DT_DOUBLE": (2, "float64"),
    "DT_INT32": (3, "int32"),
    "DT_UINT8": (4, "uint8"),
    "DT_INT16": (5, "int16"),
    "DT_INT8": (6, "int8"),
    "DT_STRING": (7, "string"),
    "DT_INT64": (9, "int64"),
    "DT_BOOL": (10, "bool"),
    "DT_HALF": (19, "float16"),
}
DTYPE_NAMES: Mapping[str, str] = {name: dtype for name, (_, dtype) in _DTYPES.items()}
DTYPE_NUMBERS: Mapping[int, str] = dict(_DTYPES.values())


class ConvertError(EdgecamError):
    """A published model cannot be read or holds something that has no TFLite form here."""

    page = "convert"

    def __init__(self, message: str) -> None:
        # Names from a damaged file may hold line breaks.
        super().__init__(" ".join(message.split()))


@dataclass(slots=True)
class Room:
    """How many more bytes constants may take that no file holds: one value may fill any shape."""

    bytes: int

    @classmethod
    def beside(cls, size_bytes: int) -> Room:
        """Room for constants computed from, or stated in, so many bytes."""
        return cls(_MAX_GROWTH * size_bytes + _MIN_ROOM_BYTES)

    def take(self, size_bytes: float) -> None:
        """
        Raises:
            ValueError: there are not so many left.
        """
        if not size_bytes <= self.bytes:
            raise ValueError("its constants would be much larger than the file")
        self.bytes -= int(size_bytes)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. An input is a node's or constant's name; ``NAME:1`` is a further output.

    Attribute values are plain: str, int, float, bool, a list of them, a shape as a tuple with -1
    for an unknown side (None for an unknown rank), a data type as numpy's name for it.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """``nodes`` hold no Const; ``inputs`` name Placeholder nodes, ``outputs`` tensors.

    ``controls``: of constants in one branch of a condition, the nodes that take that branch.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    controls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            ConvertError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise ConvertError(f"the graph has no node {name!r}")


@contextmanager
def malformed(node: Node) -> Iterator[None]:
    """Turn what goes wrong with a node that does not fit together into one line.

    Raises:
        ConvertError: instead of an index, key, shape or division that failed.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConvertError(
            f"{node.op} {node.name!r} is malformed: its inputs, attributes and shapes do not fit "
            f"together ({type(error).__name__}: {reason})"
        ) from error


def data_inputs(references: Iterable[str]) -> tuple[str, ...]:
    """Return a node's inputs without control inputs (``^name``) and without ``:0``."""
    return tuple(
        reference.removesuffix(":0") for reference in references if not reference.startswith("^")
    )


def controls(references: Iterable[str]) -> tuple[str, ...]:
    """Return the nodes that a node only waits for, from its inputs."""
    return tuple(reference[1:] for reference in references if reference.startswith("^"))


def in_order(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes that the outputs need, each after those that it takes.

    Raises:
        ConvertError: a node or output takes what the graph does not hold, or takes itself.
    """
    by_name = {node.name: node for node in graph.nodes}
    ordered: dict[str, Node] = {}
    open_: set[str] = set()
    stack: list[tuple[str, str, bool]] = [
        (name.split(":")[0], "the outputs", False) for name in reversed(graph.outputs)
    ]
    while stack:
        name, taker, is_closing = stack.pop()
        if is_closing:
            ordered[name] = by_name[name]
            open_.discard(name)
            continue
        if name in ordered or name in graph.constants:
            continue
        if name not in by_name:
            raise ConvertError(f"{taker} take {name!r}, which the graph does not hold")
        if name in open_:
            raise ConvertError(f"the graph has a loop through {name!r}: only straight ones convert")
        open_.add(name)
        stack.append((name, taker, True))
        if name not in graph.inputs:
            stack += [
                (taken.split(":")[0], f"the inputs of {name!r}", False)
                for taken in reversed(by_name[name].inputs)
            ]
    return tuple(ordered.values())


def reached(graph: Graph) -> frozenset[str]:
    """Return the names of the nodes that the outputs need, those in loops too."""
    by_name = {node.name: node for node in graph.nodes}
    found: set[str] = set()
    ways = [name.split(":")[0] for name in graph.outputs]
    while ways:
        name = ways.pop()
        if name not in by_name or name in found:
            continue
        found.add(name)
        if name not in graph.inputs:
            ways += (taken.split(":")[0] for taken in by_name[name].inputs)
    return frozenset(found)


def as_float32(values: Array) -> NDArray[np.float32]:
    """Return the values as float32, C-contiguous, any shape."""
    return np.ascontiguousarray(values, dtype=np.float32)
