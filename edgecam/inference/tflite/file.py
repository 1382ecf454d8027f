"""What a ``.tflite`` file says about itself, read without a runtime.

Slots are field numbers of ``schema.fbs``. Reading takes a few milliseconds and touches no weights.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.core import bounded_file
from edgecam.core.errors import ModelError
from edgecam.core.places import hidden_by_the_service
from edgecam.core.tensors import TensorInfo
from edgecam.inference.catalog import foreign
from edgecam.inference.digest import sha256
from edgecam.inference.tflite.flatbuffer import DamagedError, Table
from edgecam.inference.tflite.graph import (
    FileOp,
    Signature,
    Subgraph,
    read_buffer,
    read_operator_code,
    read_signature,
    read_subgraph,
)
from edgecam.inference.tflite.schema import IDENTIFIER

EDGETPU_OP = "edgetpu-custom-op"
POSENET_DECODER_OP = "PosenetDecoderOp"
SSD_POSTPROCESS_OP = "TFLite_Detection_PostProcess"
_MAX_OPTIONS_BYTES = 4096


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
        """First graph of the file."""
        return self.subgraphs[0]

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Inputs of the main graph."""
        return tuple(self.main.tensors[index].info() for index in self.main.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """As the file states them: a shape is ``()`` where only the runtime works it out."""
        return tuple(self.main.tensors[index].info() for index in self.main.outputs)

    @property
    def has_open_size(self) -> bool:
        """Whether height and width of its one picture are left to people who run it."""
        if len(self.main.inputs) != 1:
            return False
        stated = self.main.tensors[self.main.inputs[0]].shape_signature
        return len(stated) == 4 and stated[1] == stated[2] == -1

    @property
    def needs_edgetpu(self) -> bool:
        """Whether the file is compiled for an Edge TPU."""
        return EDGETPU_OP in self.operator_codes

    @property
    def computes_in_integers(self) -> bool:
        """Whether its convolutions take int8 or uint8, as a fully quantised model's do."""
        return any(
            self.main.tensors[op.inputs[0]].type in ("INT8", "UINT8")
            for op in self.main.ops
            if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D")
        )

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return sha256(self.data)

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
        data = load(Path(source))
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

    if not op.custom_options:
        return {}
    if len(op.custom_options) > _MAX_OPTIONS_BYTES:
        raise ModelError(
            f"{name}: the options of {op.name} have {len(op.custom_options)} bytes, expected at "
            f"most {_MAX_OPTIONS_BYTES}"
        )
    try:
        root = flexbuffers.GetRoot(op.custom_options)
        if not root.IsMap:
            raise ModelError(f"{name}: the options of {op.name} are no map")
        # Not all of it: lists in lists may share their places, and be endless.
        found, options = root.AsMap, {}
        for key, value in zip(found.Keys, found.Values, strict=True):
            if value.IsNumeric or value.IsBool:
                options[key.AsKey] = value.Value
    except (AssertionError, LookupError, TypeError, ValueError, struct.error) as error:
        raise ModelError(f"{name}: the options of {op.name} are damaged ({error})") from error
    return options


def load(path: Path) -> bytes:
    """Return a model file's bytes.

    Raises:
        ModelError: it is missing or cannot be read.
    """
    try:
        return bounded_file.read(path, bounded_file.MODEL_BYTES)
    except FileNotFoundError as error:
        hidden = hidden_by_the_service(path) or "check the path"
        raise ModelError(f"model {path} does not exist: {hidden}") from error
    except IsADirectoryError as error:
        raise ModelError(f"model {path} is a folder: name the .tflite file in it") from error
    except OSError as error:
        remedy = hidden_by_the_service(path)
        reason = f"{error.strerror or error}" + (f"; {remedy}" if remedy else "")
        raise ModelError(f"model {path} cannot be read: {reason}") from error


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
    found = foreign(name) or found
    raise ModelError(f"{name} is not a TFLite model: expected TFL3 at byte 4, found {found}")


def _parse(data: bytes, name: str) -> ModelFile:
    view = memoryview(data)
    root = Table.root(view)
    buffers = root.tables(4, lambda table: read_buffer(view, table))
    codes = root.tables(1, read_operator_code)
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
        subgraphs=root.tables(2, lambda table: read_subgraph(table, codes, buffers)),
        signatures=root.tables(7, read_signature),
        metadata={entry: buffers[index] for entry, index in entries},
        buffers=buffers,
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
