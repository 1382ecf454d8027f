"""A TFLite model while it is being made: tensors and operators in lists, as the file has them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgecam.tools.convert.graph import Array

Shape = tuple[int, ...]


@dataclass(slots=True)
class LiteTensor:
    """``dtype`` is numpy's name; ``data`` is given for constants. All shapes are static."""

    name: str
    shape: Shape
    dtype: str = "float32"
    data: Array | None = None


@dataclass(slots=True)
class LiteOperator:
    """``op`` is the schema's BuiltinOperator, or the custom op's own name with ``custom`` set.

    ``options`` are fields of the op's options table; ``custom`` is the op's flexbuffer.
    """

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    custom: bytes | None = None


@dataclass(slots=True)
class LiteModel:
    """Places in ``tensors`` are what operators, inputs and outputs refer to."""

    tensors: list[LiteTensor] = field(default_factory=list)
    operators: list[LiteOperator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def tensor(self, name: str, shape: Sequence[int], dtype: str = "float32") -> int:
        """Add a tensor that is computed or fed; return its place."""
        self.tensors.append(LiteTensor(name, tuple(int(side) for side in shape), dtype))
        return len(self.tensors) - 1

    def constant(self, name: str, data: Array) -> int:
        """Add a constant; return its place. The name is made unique."""
        taken = {tensor.name for tensor in self.tensors}
        candidates = itertools.chain([name], (f"{name}_{n}" for n in itertools.count(1)))
        unique = next(candidate for candidate in candidates if candidate not in taken)
        # ascontiguousarray would turn a scalar into a vector of one.
        values = np.array(data, order="C")
        self.tensors.append(LiteTensor(unique, values.shape, values.dtype.name, values))
        return len(self.tensors) - 1

    def add(
        self,
        op: str,
        inputs: Sequence[int],
        name: str,
        shape: Sequence[int],
        options: Mapping[str, Any] | None = None,
        version: int = 1,
    ) -> int:
        """Append an operator with one float32 output called ``name``; return its place."""
        output = self.tensor(name, shape)
        self.operators.append(LiteOperator(op, tuple(inputs), (output,), options or {}, version))
        return output

    def add_custom(
        self, op: str, inputs: Sequence[int], outputs: Sequence[int], options: bytes
    ) -> None:
        """Append a custom operator between tensors that are there; ``options``: a flexbuffer."""
        self.operators.append(LiteOperator(op, tuple(inputs), tuple(outputs), custom=options))
