"""A quantised or float network as lists, read from a .tflite and written as one.

It needs nothing but flatbuffers, where ``tools.convert`` needs the classes that come with
ai-edge-litert: 32-bit boards and phones have no such package. Numbers are those of
``schema.fbs``; operators are those that backbones and heads are made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import flatbuffers

from edgecam.inference.tflite.file import ModelFile
from edgecam.inference.tflite.flatbuffer import Table
from edgecam.inference.tflite.schema import (
    ALIGNMENT,
    IDENTIFIER,
    OPERATORS,
    TENSOR_TYPES,
    VERSION,
)
from edgecam.tools.convert.graph import ConvertError

# Operator -> its table of options in the union BuiltinOptions, and the fields' types and defaults.
_OPTIONS: Final[Mapping[str, tuple[int, str, tuple[float, ...]]]] = {
    "ADD": (11, "b?", (0, True)),
    "AVERAGE_POOL_2D": (5, "biiiib", (0, 0, 0, 0, 0, 0)),
    "CONCATENATION": (10, "ib", (0, 0)),
    "CONV_2D": (1, "biibiib", (0, 0, 0, 0, 1, 1, 0)),
    "DEPTHWISE_CONV_2D": (2, "biiibii", (0, 0, 0, 0, 0, 1, 1)),
    "DEQUANTIZE": (38, "", ()),
    "FULLY_CONNECTED": (8, "bb??b", (0, 0, False, False, 0)),
    "HARD_SWISH": (0, "", ()),
    "LOGISTIC": (0, "", ()),
    "MAX_POOL_2D": (5, "biiiib", (0, 0, 0, 0, 0, 0)),
    "MEAN": (27, "?", (False,)),
    "MUL": (21, "b", (0,)),
    "PAD": (22, "", ()),
    "QUANTIZE": (89, "", ()),
    "RELU": (0, "", ()),
    "RELU6": (0, "", ()),
    "RESHAPE": (0, "", ()),  # by its second input
    "SOFTMAX": (9, "f", (0.0,)),
    "SUB": (28, "b?", (0, True)),
}


@dataclass(frozen=True, slots=True)
class FlatTensor:
    """``type`` is a name of ``TENSOR_TYPES``; ``data`` is given for constants.

    Quantisation: ``scales`` and ``zero_points`` per tensor or per channel of ``axis``.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    data: bytes = b""
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0


@dataclass(frozen=True, slots=True)
class FlatOp:
    """``options``: the values of the operator's table in its schema's order; () is its defaults."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: tuple[float, ...] = ()
    version: int = 1


@dataclass(slots=True)
class FlatModel:
    """Tensors, and operators in the order of execution, that refer to them by place."""

    tensors: list[FlatTensor]
    ops: list[FlatOp]
    input: int
    output: int


def read(file: ModelFile, ends: Sequence[int]) -> tuple[FlatModel, Mapping[int, int]]:
    """Return what the tensors ``ends`` are computed of, and their places in it.

    Raises:
        ConvertError: an operator among them is none that is known here.
    """
    graph = file.main
    makers = {tensor: place for place, op in enumerate(graph.ops) for tensor in op.outputs}
    places: set[int] = set()
    waiting = [makers[end] for end in ends if end in makers]
    while waiting:
        place = waiting.pop()
        if place not in places:
            places.add(place)
            waiting += [makers[t] for t in graph.ops[place].inputs if t in makers]
    ops = [_read_op(file, place) for place in sorted(places)]
    used = {graph.inputs[0], *ends, *(t for op in ops for t in (*op.inputs, *op.outputs) if t >= 0)}
    kept = sorted(used)
    to = {old: new for new, old in enumerate(kept)} | {-1: -1}
    tensors = [_read_tensor(file, place) for place in kept]
    moved = [
        replace(
            op,
            inputs=tuple(to[tensor] for tensor in op.inputs),
            outputs=tuple(to[tensor] for tensor in op.outputs),
        )
        for op in ops
    ]
    return FlatModel(tensors, moved, to[graph.inputs[0]], -1), {end: to[end] for end in ends}


def _read_tensor(file: ModelFile, place: int) -> FlatTensor:
    tensor = file.main.tensors[place]
    data = bytes(file.buffers[tensor.buffer]) if tensor.is_constant else b""
    quantisation = (tensor.scales, tensor.zero_points, tensor.axis)
    return FlatTensor(tensor.name, tensor.shape, tensor.type, data, *quantisation)


def _read_op(file: ModelFile, place: int) -> FlatOp:
    op = file.main.ops[place]
    if op.is_custom or op.name not in _OPTIONS:
        raise ConvertError(
            f"{file.name}: expected a backbone of {', '.join(_OPTIONS)}, found {op.name}"
        )
    _, kinds, defaults = _OPTIONS[op.name]
    graph = Table.root(memoryview(file.data)).tables(2, lambda table: table)[0]
    table = graph.tables(3, lambda row: row)[place].table(4)
    if table is None or not kinds:
        return FlatOp(op.name, op.inputs, op.outputs, defaults, op.version)
    values = tuple(
        table.integer(slot, "b" if kind == "?" else kind, int(default))
        for slot, (kind, default) in enumerate(zip(kinds, defaults, strict=True))
    )
    return FlatOp(op.name, op.inputs, op.outputs, values, op.version)


def write(model: FlatModel, description: str, metadata: Mapping[str, bytes]) -> bytes:
    """Return the file, the same bytes every time; ``metadata`` are buffers by name."""
    return _Writer(model).file(description, metadata)


class _Writer:
    """Tables are written before what refers to them, as flatbuffers wants it."""

    def __init__(self, model: FlatModel) -> None:
        self._model = model
        self._builder = flatbuffers.Builder(1024)
        self._buffers = [b""]  # by convention the first is empty
        self._codes: dict[tuple[str, int], int] = {}

    def file(self, description: str, metadata: Mapping[str, bytes]) -> bytes:
        build = self._builder
        graph = self._graph()
        entries = []
        for name, content in metadata.items():
            entries.append(
                self._table(2, (0, "o", build.CreateString(name)), (1, "I", self._buffer(content)))
            )
        signature = self._signature()
        codes = self._offsets([self._code(name, version) for name, version in self._codes])
        buffers = self._offsets([self._contents(content) for content in self._buffers])
        graphs, signatures = self._offsets([graph]), self._offsets([signature])
        root = self._table(
            8,
            (0, "I", VERSION),
            (1, "o", codes),
            (2, "o", graphs),
            (3, "o", build.CreateString(description)),
            (4, "o", buffers),
            (6, "o", self._offsets(entries)),
            (7, "o", signatures),
        )
        build.Finish(root, IDENTIFIER)
        return bytes(build.Output())

    def _graph(self) -> int:
        model = self._model
        tensors = self._offsets([self._tensor(tensor) for tensor in model.tensors])
        ops = self._offsets([self._op(op) for op in model.ops])
        inputs, outputs = self._numbers("i", [model.input]), self._numbers("i", [model.output])
        name = self._builder.CreateString("main")
        fields = enumerate((tensors, inputs, outputs, ops, name))
        return self._table(5, *((slot, "o", value) for slot, value in fields))

    def _tensor(self, tensor: FlatTensor) -> int:
        shape = self._numbers("i", tensor.shape)
        name = self._builder.CreateString(tensor.name)
        quantisation = 0
        if tensor.scales:
            scales = self._numbers("f", tensor.scales)
            points = self._numbers("q", tensor.zero_points)
            quantisation = self._table(7, (2, "o", scales), (3, "o", points), (6, "i", tensor.axis))
        number = TENSOR_TYPES.index(tensor.type)
        buffer = self._buffer(tensor.data) if tensor.data else 0
        fields = [(0, "o", shape), (1, "b", number), (2, "I", buffer), (3, "o", name)]
        return self._table(9, *fields, (4, "o", quantisation), (8, "?", True))

    def _op(self, op: FlatOp) -> int:
        kind, kinds, defaults = _OPTIONS[op.name]
        values = op.options or defaults
        fields = zip(range(len(kinds)), kinds, values, strict=True)
        options = self._table(len(kinds), *fields) if kind else 0
        code = self._codes.setdefault((op.name, op.version), len(self._codes))
        inputs, outputs = self._numbers("i", op.inputs), self._numbers("i", op.outputs)
        ends = ((0, "I", code), (1, "o", inputs), (2, "o", outputs))
        return self._table(5, *ends, (3, "B", kind), (4, "o", options))

    def _code(self, name: str, version: int) -> int:
        number = OPERATORS.index(name)
        # Readers of before 2020 look at the byte only.
        return self._table(4, (0, "b", min(number, 127)), (2, "i", version), (3, "i", number))

    def _signature(self) -> int:
        ends = []
        for place in (self._model.input, self._model.output):
            name = self._builder.CreateString(self._model.tensors[place].name)
            ends.append(self._offsets([self._table(2, (0, "o", name), (1, "I", place))]))
        key = self._builder.CreateString("serving_default")
        return self._table(5, (0, "o", ends[0]), (1, "o", ends[1]), (2, "o", key))

    def _buffer(self, content: bytes) -> int:
        self._buffers.append(content)
        return len(self._buffers) - 1

    def _contents(self, content: bytes) -> int:
        """A buffer's table, its bytes aligned as the schema demands."""
        build, vector = self._builder, 0
        if content:
            build.StartVector(1, len(content), ALIGNMENT)
            build.head -= len(content)
            build.Bytes[build.head : build.head + len(content)] = content
            vector = build.EndVector()
        return self._table(1, (0, "o", vector))

    def _offsets(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())

    def _numbers(self, kind: str, values: Sequence[float]) -> int:
        size = 8 if kind == "q" else 4
        add = {
            "i": self._builder.PrependInt32,
            "f": self._builder.PrependFloat32,
            "q": self._builder.PrependInt64,
        }[kind]
        self._builder.StartVector(size, len(values), size)
        for value in reversed(values):
            add(value)
        return int(self._builder.EndVector())

    def _table(self, slots: int, *fields: tuple[int, str, float]) -> int:
        """A table of scalars by slot; "o" is an offset, 0 for none. Every scalar is written."""
        build = self._builder
        build.StartObject(slots)
        for slot, kind, value in fields:
            if kind == "o":
                if value:
                    build.PrependUOffsetTRelativeSlot(slot, int(value), 0)
                continue
            add = {
                "?": build.PrependBool,
                "B": build.PrependUint8,
                "I": build.PrependUint32,
                "b": build.PrependInt8,
                "f": build.PrependFloat32,
                "i": build.PrependInt32,
            }[kind]
            add(value)
            build.Slot(slot)
        return int(build.EndObject())
