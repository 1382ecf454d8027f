"""A TensorFlow.js graph while it is being made: nodes as model.json has them, and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgecam.tools.convert.graph import Array, ConvertError
from edgecam.tools.convert.lite import LiteModel, LiteOperator

TYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32", "bool": "DT_BOOL"}
FLOAT = {"type": "DT_FLOAT"}


@dataclass(slots=True)
class JsGraph:
    """``nodes`` as in model.json, ``weights`` in the order of the manifest.

    With ``scaled`` each kernel is kept as one of -1..1 times a factor for each channel, which a
    Mul node applies: stored as whole it could not be quantised, because folded batch norm leaves
    channels that differ a thousandfold. ``kernels`` names what may be stored in fewer bits.
    """

    model: LiteModel
    scaled: bool = False
    kernels: set[str] = field(default_factory=set)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)

    def name(self, place: int) -> str:
        """Return a tensor's node, adding one for a constant that is taken for the first time."""
        tensor = self.model.tensors[place]
        if tensor.data is not None and tensor.name not in self.weights:
            self.constant(tensor.name, tensor.data)
        return tensor.name

    def constant(self, name: str, values: Array) -> str:
        """Add a constant; return its name."""
        values = values.astype(np.int32) if values.dtype == np.int64 else values
        kind = TYPES[values.dtype.name]
        tensor = {"dtype": kind, "tensorShape": shape_proto(values.shape)}
        self.add("Const", name, (), {"dtype": {"type": kind}, "value": {"tensor": tensor}})
        self.weights[name] = values
        return name

    def kernel(self, name: str, values: Array, channel_axes: int = 1) -> str:
        """Add a kernel whose last ``channel_axes`` axes are its output channels."""
        values = np.ascontiguousarray(values)
        if not self.scaled:
            self.kernels.add(name)
            return self.constant(name, values)
        axes = tuple(range(values.ndim - channel_axes))
        factor = np.abs(values).max(axis=axes)
        factor[factor == 0.0] = 1.0
        unit, by = f"{name}/unit", f"{name}/factor"
        self.kernels.add(self.constant(unit, values / factor))
        self.add("Mul", name, (unit, self.constant(by, factor)), {"T": FLOAT})
        return name

    def add(self, op: str, name: str, inputs: Sequence[str], attributes: Mapping[str, Any]) -> None:
        """Append a node."""
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": dict(attributes)})

    def data(self, operator: LiteOperator, position: int) -> Array:
        """Return a constant input.

        Raises:
            ConvertError: it is computed.
        """
        tensor = self.model.tensors[operator.inputs[position]]
        if tensor.data is None:
            raise ConvertError(f"{operator.op}: expected a constant, {tensor.name!r} is computed")
        return tensor.data

    def bias(self, operator: LiteOperator, channels: int) -> Array:
        """Return an operator's bias, zeros where it has none."""
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:
            return np.zeros(channels, np.float32)
        return self.data(operator, 2)

    def shape(self, place: int) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.model.tensors[place].shape

    def output(self, operator: LiteOperator) -> str:
        """Return the name of an operator's first output."""
        return self.model.tensors[operator.outputs[0]].name


def shape_proto(shape: Sequence[int]) -> dict[str, Any]:
    """Return a TensorShapeProto; -1 is an open side."""
    return {"dim": [{"size": str(side)} for side in shape]}
