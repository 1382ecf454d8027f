"""Cut a custom op off a model, so that its inputs become its outputs; or leave one node alone.

The file is patched in place, byte for byte as long as before: this needs no schema package and
keeps weights, alignment and anything appended to the file where they are.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from mmap import mmap

from edgecam.core.errors import ModelError
from edgecam.inference.tflite.file import ModelFile, read
from edgecam.inference.tflite.flatbuffer import Table, Vector
from edgecam.inference.tflite.graph import FileOp

_INPUTS, _OUTPUTS, _OPERATORS = 1, 2, 3  # slots of SubGraph
_SIGNATURES = 7  # slot of Model


def cut_custom_op(data: bytes, op_name: str, name: str = "the model") -> bytes:
    """Return the model without the op: its inputs that are not constants become outputs.

    They stand in the op's own order, after the outputs that the op does not make. Ops that use
    the cut op's results go with it. ``name`` stands for the model in messages.

    Raises:
        ModelError: the main graph has no such op, or not exactly one.
    """
    model = read(data, name)
    found = [index for index, op in enumerate(model.main.ops) if _is(op, op_name)]
    if len(found) != 1:
        raise ModelError(
            f"{name} has {len(found)} nodes {op_name}, expected one: nothing to cut off"
        )
    cut = _downstream(model, found[0])
    gone = {tensor for index in cut for tensor in model.main.ops[index].outputs}
    kept = [tensor for tensor in model.main.outputs if tensor not in gone]
    op = model.main.ops[found[0]]
    new = [t for t in op.inputs if t >= 0 and not model.main.tensors[t].is_constant]
    outputs = kept + [tensor for tensor in new if tensor not in kept]

    patched = bytearray(data)
    _write_outputs(patched, found[0], outputs, name)
    _drop_operators(patched, cut)
    if any(gone & set(signature.outputs.values()) for signature in model.signatures):
        _set_length(patched, _graph_and_root(patched)[1].vector(_SIGNATURES), 0)
    return bytes(patched)


def _is(op: FileOp, op_name: str) -> bool:
    return op.is_custom and op.name == op_name


def _downstream(model: ModelFile, start: int) -> list[int]:
    """Return the op and every later one that needs its results, in order of execution."""
    cut = [start]
    gone = set(model.main.ops[start].outputs)
    for index in range(start + 1, len(model.main.ops)):
        op = model.main.ops[index]
        if gone & set(op.inputs):
            cut.append(index)
            gone |= set(op.outputs)
    return cut


class Alone:
    """A model's file with room behind it, of which one node at a time is left.

    ``data``: the writable bytes of a file of ``size(file)`` bytes; weights are not touched, so
    that an interpreter that has loaded one node goes on while the next is left alone. ``file``
    is the model as it was read.
    """

    def __init__(self, file: ModelFile, data: bytearray | mmap) -> None:
        whole = file.data
        data[: len(whole)] = whole
        self._file, self._data, self._room = file, data, -(-len(whole) // 4) * 4
        graph, root = _graph_and_root(data)
        self._fields = graph.field(_INPUTS), graph.field(_OUTPUTS)
        if not all(self._fields):
            raise ModelError(f"{file.name}: expected a graph with inputs and outputs, found none")
        self._operators = graph.vector(_OPERATORS)
        self._targets = graph.tables(_OPERATORS, lambda table: table.position)
        if file.signatures:
            _set_length(data, root.vector(_SIGNATURES), 0)

    @staticmethod
    def size(file: ModelFile) -> int:
        """Bytes of the model and of the longest lists of inputs and outputs."""
        widest = max((len(op.inputs) + len(op.outputs) for op in file.main.ops), default=0)
        return -(-len(file.data) // 4) * 4 + 4 * (2 + max(widest, 2))

    def leave(self, nodes: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Leave ``nodes``, in their order, between the tensors ``inputs`` and ``outputs``."""
        at = self._room
        for field, tensors in zip(self._fields, (inputs, outputs), strict=True):
            struct.pack_into(f"<I{len(tensors)}i", self._data, at, len(tensors), *tensors)
            struct.pack_into("<I", self._data, field, at - field)
            at += 4 * (1 + len(tensors))
        _set_operators(self._data, self._operators, [self._targets[node] for node in nodes])


def _graph_and_root(data: bytearray | mmap) -> tuple[Table, Table]:
    root = Table.root(memoryview(data))
    return root.tables(2, lambda table: table)[0], root


def _set_length(data: bytearray | mmap, vector: Vector, length: int) -> None:
    struct.pack_into("<I", data, vector.start - 4, length)


def _write_outputs(data: bytearray, op: int, outputs: Sequence[int], name: str) -> None:
    graph, _ = _graph_and_root(data)
    vector = graph.vector(_OUTPUTS)
    if len(outputs) > vector.length:
        # The op's own list of inputs is about to be unused. It lies behind the graph's table
        # (offsets only point forward), so that the table can point to it.
        vector = graph.tables(_OPERATORS, lambda table: table)[op].vector(1)
        if len(outputs) > vector.length:
            raise ModelError(
                f"{name} leaves no room for {len(outputs)} outputs in place of its custom op"
            )
        field = graph.field(_OUTPUTS)
        struct.pack_into("<I", data, field, vector.start - 4 - field)
    _set_length(data, vector, len(outputs))
    struct.pack_into(f"<{len(outputs)}i", data, vector.start, *outputs)


def _drop_operators(data: bytearray, cut: Sequence[int]) -> None:
    graph, _ = _graph_and_root(data)
    vector = graph.vector(_OPERATORS)
    targets = graph.tables(_OPERATORS, lambda table: table.position)
    kept = [target for index, target in enumerate(targets) if index not in set(cut)]
    _set_operators(data, vector, kept)


def _set_operators(data: bytearray | mmap, vector: Vector, targets: Sequence[int]) -> None:
    for index, target in enumerate(targets):
        at = vector.start + 4 * index
        struct.pack_into("<I", data, at, target - at)
    _set_length(data, vector, len(targets))
