"""What the ops write into while a graph is lowered: the TFLite model so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgecam.tools.convert.graph import Array, ConvertError, Node, Room
from edgecam.tools.convert.lite import LiteModel, Shape


@dataclass(slots=True)
class Lowering:
    """The TFLite model so far, and what the graph's names stand for in it.

    ``known`` are values that do not depend on the picture: constants and computed shapes, for which
    there is so much ``room``.
    """

    model: LiteModel
    known: dict[str, Array]
    names: Mapping[str, str]
    room: Room
    places: dict[str, int] = field(default_factory=dict)

    def place(self, name: str) -> int:
        """Return the tensor that a graph's name stands for; a constant is added when taken."""
        if name not in self.places:
            self.places[name] = self.model.constant(name, self.known[name])
        return self.places[name]

    def shape(self, name: str) -> Shape:
        """Return a constant's or tensor's shape by its name."""
        if name in self.known:
            return tuple(self.known[name].shape)
        return self.model.tensors[self.places[name]].shape

    def constant(self, node: Node, position: int) -> Array:
        """Return the value of an input that TFLite wants as a constant.

        Raises:
            ConvertError: the input is missing or computed.
        """
        name = node.inputs[position] if -len(node.inputs) <= position < len(node.inputs) else ""
        if name not in self.known:
            raise ConvertError(
                f"{node.op} {node.name!r}: expected a constant as input {position}, "
                f"found {name or 'none'!r}"
            )
        return self.known[name]

    def emit(
        self,
        node: Node,
        op: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: Mapping[str, Any] | None = None,
        version: int = 1,
    ) -> None:
        """Append the operator that computes the node's output."""
        if any(side < 1 for side in shape):
            raise ConvertError(
                f"{node.op} {node.name!r} would give the shape {tuple(shape)}; "
                "the input size is too small for this model"
            )
        name = self.names.get(node.name, node.name)
        self.places[node.name] = self.model.add(op, inputs, name, shape, options, version)

    def sliced(self, place: int, name: str, axis: int, begin: int, side: int) -> int:
        """Append a SLICE of ``side`` along one axis; return its place."""
        shape = [*self.model.tensors[place].shape]
        begins = np.zeros(len(shape), np.int32)
        begins[axis], shape[axis] = begin, side
        inputs = (
            place,
            self.model.constant(f"{name}/begin", begins),
            self.model.constant(f"{name}/size", np.array(shape, np.int32)),
        )
        return self.model.add("SLICE", inputs, name, shape)

    def edges_repeated(self, node: Node, pads: Array) -> tuple[int, Shape]:
        """Pad a MaxPool's picture by its own edges: its greatest values stay what they are.

        TFLite pads with no value less than all others, unless it pads by SAME.

        Raises:
            ConvertError: a window would lie in the padding alone.
        """
        place, shape = self.place(node.inputs[0]), [*self.shape(node.inputs[0])]
        if (pads.max(axis=1) >= np.array(node.attributes["ksize"])).any():
            raise ConvertError(f"{node.op} {node.name!r}: padding {pads.tolist()} is too large")
        for axis, (before, after) in enumerate(pads.tolist()):
            begin, end = f"{node.name}/first_{axis}", f"{node.name}/last_{axis}"
            last = shape[axis] - 1
            first_rows = [self.sliced(place, begin, axis, 0, 1)] * before if before else []
            last_rows = [self.sliced(place, end, axis, last, 1)] * after if after else []
            if first_rows or last_rows:
                shape[axis] += before + after
                parts = (*first_rows, place, *last_rows)
                name = f"{node.name}/padded_{axis}"
                place = self.model.add("CONCATENATION", parts, name, shape, {"axis": axis})
        return place, tuple(shape)


def slid(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Return the output pixels of a window that slides over ``size`` pixels."""
    if padding == "SAME":
        return -(-size // stride)
    return -(-(size - (kernel - 1) * dilation) // stride)


def broadcast(first: Shape, second: Shape) -> Shape:
    """Return the shape that two shapes have together."""
    return tuple(int(side) for side in np.broadcast_shapes(first, second))
