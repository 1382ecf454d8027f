"""The parts of a ``.tflite`` file: its tensors, nodes, graphs and named entry points.

Slots are field numbers of ``schema.fbs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecam.core.tensors import TensorInfo
from edgecam.inference.tflite.flatbuffer import DamagedError, Table
from edgecam.inference.tflite.schema import OPERATORS, TENSOR_TYPES

_CUSTOM = OPERATORS.index("CUSTOM")
_NUMPY_NAMES = {"FLOAT16", "FLOAT32", "FLOAT64", "BOOL", "COMPLEX64", "COMPLEX128"} | {
    f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}


@dataclass(frozen=True, slots=True)
class FileTensor:
    """One tensor: ``shape_signature`` has -1 where a side may change, empty where none may.

    ``scales`` and ``zero_points`` have one entry, or one for each channel of ``axis``.
    ``size_bytes`` is what the file stores for it, 0 for an activation.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    type: str
    buffer: int
    size_bytes: int
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int

    @property
    def is_constant(self) -> bool:
        """Whether the file stores its values."""
        return self.size_bytes > 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type; ``object`` for what numpy lacks (strings, 4-bit, bfloat16)."""
        return np.dtype(self.type.lower() if self.type in _NUMPY_NAMES else "object")

    def info(self) -> TensorInfo:
        """Return the tensor as decoders see it."""
        per_tensor = len(self.scales) == 1
        return TensorInfo(
            index=self.index,
            name=self.name,
            shape=self.shape,
            dtype=self.dtype,
            scale=self.scales[0] if per_tensor else None,
            zero_point=(self.zero_points[0] if self.zero_points else 0) if per_tensor else None,
        )


@dataclass(frozen=True, slots=True)
class FileOp:
    """One node: ``name`` is the builtin's or the custom op's; tensors by index, -1 for none."""

    name: str
    is_custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom_options: bytes


@dataclass(frozen=True, slots=True)
class Subgraph:
    """One graph: ``inputs`` and ``outputs`` are tensor indices."""

    name: str
    tensors: tuple[FileTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ops: tuple[FileOp, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A named entry point: tensor index by the name that callers use."""

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


def read_buffer(view: memoryview, table: Table) -> memoryview:
    """Return the bytes of one buffer of the file ``view``."""
    # Files over 2 GB keep weights behind the flatbuffer: offset and size instead of data.
    offset, size = table.integer(1, "Q"), table.integer(2, "Q")
    if offset <= 1:
        found = table.bytes(0)
    elif offset + size > len(view):
        raise DamagedError(f"a buffer of {size} bytes at byte {offset}")
    else:
        found = view[offset : offset + size]
    # No copy, but what writes the model again makes one of each.
    table.room.take(len(found), 0)
    return found


def read_operator_code(table: Table) -> tuple[str, bool, int]:
    """Return an operator's name, whether it is a custom one, and its version."""
    # Files older than 2020 have the 8-bit code only; newer ones write both.
    number = max(table.integer(0, "b"), table.integer(3, "i"))
    is_custom = number == _CUSTOM
    if is_custom:
        name = table.string(1)
    else:
        name = OPERATORS[number] if 0 <= number < len(OPERATORS) else f"BUILTIN_{number}"
    return name, is_custom, table.integer(2, "i", 1)


def _tensor(table: Table, index: int, buffers: tuple[memoryview, ...]) -> FileTensor:
    number, buffer = table.integer(1, "b"), table.integer(2, "I")
    # Buffer 0 means "no data"; a model without constants may have no buffer at all.
    if buffer >= max(len(buffers), 1):
        raise DamagedError(f"tensor {index} refers to buffer {buffer} of {len(buffers)}")
    quantisation = table.table(4)
    known = 0 <= number < len(TENSOR_TYPES)
    return FileTensor(
        index=index,
        name=table.string(3),
        shape=table.integers(0, "i"),
        shape_signature=table.integers(7, "i"),
        type=TENSOR_TYPES[number] if known else f"TYPE_{number}",
        buffer=buffer,
        size_bytes=len(buffers[buffer]) if buffer else 0,
        scales=quantisation.numbers(2, "f") if quantisation else (),
        zero_points=quantisation.integers(3, "q") if quantisation else (),
        axis=quantisation.integer(6, "i") if quantisation else 0,
    )


def _op(table: Table, codes: tuple[tuple[str, bool, int], ...]) -> FileOp:
    code = table.integer(0, "I")
    if code >= len(codes):
        raise DamagedError(f"a node refers to operator code {code} of {len(codes)}")
    name, is_custom, version = codes[code]
    return FileOp(
        name=name,
        is_custom=is_custom,
        version=version,
        inputs=table.integers(1, "i"),
        outputs=table.integers(2, "i"),
        custom_options=table.copy(5),
    )


def read_subgraph(
    table: Table, codes: tuple[tuple[str, bool, int], ...], buffers: tuple[memoryview, ...]
) -> Subgraph:
    """Return one graph with its tensors and nodes."""
    rows = table.tables(0, lambda row: row)
    return Subgraph(
        name=table.string(4),
        tensors=tuple(_tensor(row, index, buffers) for index, row in enumerate(rows)),
        inputs=table.integers(1, "i"),
        outputs=table.integers(2, "i"),
        ops=table.tables(3, lambda row: _op(row, codes)),
    )


def read_signature(table: Table) -> Signature:
    """Return one named entry point."""

    def pair(row: Table) -> tuple[str, int]:
        return row.string(0), row.integer(1, "I")

    return Signature(
        key=table.string(2),
        subgraph=table.integer(4, "I"),
        inputs=dict(table.tables(0, pair)),
        outputs=dict(table.tables(1, pair)),
    )
