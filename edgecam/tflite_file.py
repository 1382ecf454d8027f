"""What a ``.tflite`` file says about itself, read without a runtime.

Slots are field numbers of ``schema.fbs``. Reading takes a few milliseconds and touches no weights.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.flatbuffer import DamagedError, Table
from edgecam.tflite_schema import OPERATORS, TENSOR_TYPES
from edgecam.types import ModelError, TensorInfo

IDENTIFIER = b"TFL3"
EDGETPU_OP = "edgetpu-custom-op"
POSENET_DECODER_OP = "PosenetDecoderOp"
SSD_POSTPROCESS_OP = "TFLite_Detection_PostProcess"

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


@dataclass(frozen=True, slots=True, eq=False)
class ModelFile:
    """A parsed model; ``name`` is its path or a word for bytes, ``data`` the whole file.

    ``metadata`` maps each entry's name to its raw bytes.
    """

    name: str
    data: bytes
    version: int
    description: str
    operator_codes: tuple[str, ...]
    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...]
    metadata: Mapping[str, memoryview]
    buffers: tuple[memoryview, ...]

    @property
    def main(self) -> Subgraph:
        return self.subgraphs[0]

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return tuple(self.main.tensors[index].info() for index in self.main.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """As the file states them: a shape is ``()`` where only the runtime works it out."""
        return tuple(self.main.tensors[index].info() for index in self.main.outputs)

    @property
    def needs_edgetpu(self) -> bool:
        return EDGETPU_OP in self.operator_codes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def producer(self, tensor: int) -> FileOp | None:
        """Return the op of the main graph that makes ``tensor``, None for inputs and constants."""
        return next((op for op in self.main.ops if tensor in op.outputs), None)

    def constant(self, tensor: int) -> np.ndarray[Any, np.dtype[Any]]:
        """Return a constant of the main graph in its own shape and dtype (a read-only view)."""
        found = self.main.tensors[tensor]
        return np.frombuffer(self.buffers[found.buffer], found.dtype).reshape(found.shape)


def read(source: str | Path | bytes, name: str = "the model") -> ModelFile:
    """Parse a model file or its bytes (then ``name`` stands for it in messages).

    Raises:
        ModelError: the file is missing, empty, truncated or no TFLite model.
    """
    if isinstance(source, bytes):
        data = source
    else:
        name = str(source)
        data = _load(Path(source))
    _check_identifier(data, name)
    try:
        model = _parse(data, name)
        _check_references(model)
    except DamagedError as error:
        raise ModelError(
            f"{name} is damaged or cut short ({len(data)} bytes; {error}): fetch it again"
        ) from error
    return model


def custom_ops(model: ModelFile) -> tuple[str, ...]:
    """Return the names of the custom ops that the model's nodes use, in order of first use."""
    names = (op.name for graph in model.subgraphs for op in graph.ops if op.is_custom)
    return tuple(dict.fromkeys(names))


def custom_options(op: FileOp, name: str = "the model") -> Mapping[str, int | float | bool]:
    """Return the options of a custom op that keeps them as a flexbuffer map of numbers.

    Raises:
        ModelError: they are something else; ``name`` stands for the model in the message.
    """
    from flatbuffers import flexbuffers

    try:
        found = flexbuffers.Loads(op.custom_options) if op.custom_options else {}
    except (ValueError, IndexError, TypeError, struct.error, RecursionError) as error:
        raise ModelError(f"{name}: the options of {op.name} are damaged ({error})") from error
    if not isinstance(found, dict):
        raise ModelError(f"{name}: the options of {op.name} are no map: found {found!r}")
    return {str(key): value for key, value in found.items() if isinstance(value, int | float)}


def _load(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"model {path} does not exist: check the path") from error
    except OSError as error:
        raise ModelError(f"model {path} cannot be read: {error.strerror or error}") from error


def _check_identifier(data: bytes, name: str) -> None:
    if not data:
        raise ModelError(f"{name} is empty: expected a TFLite model")
    if data[4:8] == IDENTIFIER:
        return
    start = data[:24]
    if start.startswith(b"version https://git-lfs"):
        found = "a Git LFS pointer (run `git lfs pull`)"
    elif all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start):
        found = f"text that begins {start.decode('ascii')!r}"
    else:
        found = f"bytes that begin {start[:8].hex(' ')}"
    raise ModelError(f"{name} is not a TFLite model: expected TFL3 at byte 4, found {found}")


def _parse(data: bytes, name: str) -> ModelFile:
    view = memoryview(data)
    root = Table.root(view)
    buffers = root.tables(4, lambda table: _buffer(view, table))
    codes = root.tables(1, _operator_code)
    entries = root.tables(6, lambda table: (table.string(0), table.integer(1, "I")))
    for entry, index in entries:
        if index >= len(buffers):
            raise DamagedError(f"metadata {entry!r} refers to buffer {index} of {len(buffers)}")
    return ModelFile(
        name=name,
        data=data,
        version=root.integer(0, "I"),
        description=root.string(3),
        operator_codes=tuple(code_name for code_name, _, _ in codes),
        subgraphs=root.tables(2, lambda table: _subgraph(table, codes, buffers)),
        signatures=root.tables(7, _signature),
        metadata={entry: buffers[index] for entry, index in entries},
        buffers=buffers,
    )


def _buffer(view: memoryview, table: Table) -> memoryview:
    # Files over 2 GB keep weights behind the flatbuffer: offset and size instead of data.
    offset, size = table.integer(1, "Q"), table.integer(2, "Q")
    if offset <= 1:
        return table.bytes(0)
    if offset + size > len(view):
        raise DamagedError(f"a buffer of {size} bytes at byte {offset}")
    return view[offset : offset + size]


def _operator_code(table: Table) -> tuple[str, bool, int]:
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
        custom_options=bytes(table.bytes(5)),
    )


def _subgraph(
    table: Table, codes: tuple[tuple[str, bool, int], ...], buffers: tuple[memoryview, ...]
) -> Subgraph:
    rows = table.tables(0, lambda row: row)
    return Subgraph(
        name=table.string(4),
        tensors=tuple(_tensor(row, index, buffers) for index, row in enumerate(rows)),
        inputs=table.integers(1, "i"),
        outputs=table.integers(2, "i"),
        ops=table.tables(3, lambda row: _op(row, codes)),
    )


def _signature(table: Table) -> Signature:
    def pair(row: Table) -> tuple[str, int]:
        return row.string(0), row.integer(1, "I")

    return Signature(
        key=table.string(2),
        subgraph=table.integer(4, "I"),
        inputs=dict(table.tables(0, pair)),
        outputs=dict(table.tables(1, pair)),
    )


def _check_references(model: ModelFile) -> None:
    if not model.subgraphs:
        raise DamagedError("it holds no graph")
    for graph in model.subgraphs:
        count = len(graph.tensors)
        uses = [*graph.inputs, *graph.outputs]
        for op in graph.ops:
            uses += [*op.inputs, *op.outputs]
        wrong = next((index for index in uses if not -1 <= index < count), None)
        if wrong is not None:
            raise DamagedError(f"tensor {wrong} of {count} is used")
    for tensor in model.main.tensors:
        if any(side < 0 for side in tensor.shape):
            raise DamagedError(f"tensor {tensor.index} has shape {list(tensor.shape)}")
