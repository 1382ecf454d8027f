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


def slid(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Return the output pixels of a window that slides over ``size`` pixels."""
    if padding == "SAME":
        return -(-size // stride)
    return -(-(size - (kernel - 1) * dilation) // stride)


def broadcast(first: Shape, second: Shape) -> Shape:
    return tuple(int(side) for side in np.broadcast_shapes(first, second))
