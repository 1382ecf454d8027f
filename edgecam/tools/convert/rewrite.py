"""A finished .tflite written again: constants inside the flatbuffer, packed files behind it.

Quantisers move constants behind the flatbuffer, where older runtimes do not look for them, and
drop what was packed there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from edgecam.inference.tflite.schema import IDENTIFIER
from edgecam.tools.convert import metadata
from edgecam.tools.convert.writer import AlignedBuffer, generated_schema

_OUTSIDE = 1  # a buffer's offset and size are real from here on; 0 and 1 stand for "inside"


def rewrite(data: bytes, files: Mapping[str, bytes]) -> bytes:
    """Return the model with its constants inside and ``files`` packed behind it.

    Raises:
        ConvertError: ai-edge-litert is not installed.
    """
    schema = generated_schema()
    root = schema.ModelT.InitFromPackedBuf(data, 0)
    contents = [_content(buffer, data) for buffer in root.buffers]
    return _packed(schema, root, contents, files)


def widen(data: bytes, files: Mapping[str, bytes]) -> bytes:
    """Return the model with float16 constants as the float32 that the runtime makes of them.

    Raises:
        ConvertError: ai-edge-litert is not installed.
    """
    schema = generated_schema()
    root = schema.ModelT.InitFromPackedBuf(data, 0)
    contents = [_content(buffer, data) for buffer in root.buffers]
    codes = [code.builtinCode for code in root.operatorCodes]
    for graph in root.subgraphs:
        moved: dict[int, int] = {}
        for operator in list(graph.operators):
            if codes[operator.opcodeIndex] != schema.BuiltinOperator.DEQUANTIZE:
                continue
            narrow, wide = int(operator.inputs[0]), int(operator.outputs[0])
            tensor = graph.tensors[narrow]
            if tensor.type != schema.TensorType.FLOAT16 or not contents[tensor.buffer]:
                continue
            values = np.frombuffer(contents[tensor.buffer], np.float16).astype("<f4")
            graph.tensors[wide].buffer = len(contents)
            contents.append(values.tobytes())
            graph.operators.remove(operator)
            moved[narrow] = wide
        _drop_tensors(root, graph, set(moved))
    kept = {0, *(tensor.buffer for graph in root.subgraphs for tensor in graph.tensors)}
    kept |= {entry.buffer for entry in root.metadata or ()}
    contents = [content if place in kept else b"" for place, content in enumerate(contents)]
    return _packed(schema, root, contents, files)


def part(data: bytes, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """Return the main graph from ``inputs`` to ``outputs``, tensor numbers, without metadata.

    Operations, tensors and weights that the outputs do not need are gone.

    Raises:
        ConvertError: ai-edge-litert is not installed.
    """
    schema = generated_schema()
    root = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = root.subgraphs[0]
    needed, kept = set(outputs) - set(inputs), []
    for operator in reversed(graph.operators):
        if needed & set(map(int, operator.outputs)):
            kept.append(operator)
            needed |= {int(place) for place in operator.inputs} - {-1, *inputs}
    graph.operators, graph.inputs, graph.outputs = kept[::-1], list(inputs), list(outputs)
    used = {*inputs, *outputs} | needed
    used |= {int(place) for operator in kept for place in operator.outputs}
    root.signatureDefs, root.metadata = [], []
    _drop_tensors(root, graph, set(range(len(graph.tensors))) - used)
    contents = [_content(buffer, data) for buffer in root.buffers]
    live = {0, *(tensor.buffer for one in root.subgraphs for tensor in one.tensors)}
    contents = [content if place in live else b"" for place, content in enumerate(contents)]
    return _packed(schema, root, contents, {})


def _drop_tensors(root: Any, graph: Any, dropped: set[int]) -> None:
    """Take tensors out of a graph that nothing refers to any more; places behind them move up."""
    kept = [place for place in range(len(graph.tensors)) if place not in dropped]
    place_of = {old: new for new, old in enumerate(kept)} | {-1: -1}

    def moved(places: Iterable[int]) -> list[int]:
        return [place_of[int(place)] for place in places]

    graph.tensors = [graph.tensors[place] for place in kept]
    graph.inputs, graph.outputs = moved(graph.inputs), moved(graph.outputs)
    for operator in graph.operators:
        operator.inputs, operator.outputs = moved(operator.inputs), moved(operator.outputs)
    for signature in root.signatureDefs or ():
        if root.subgraphs[signature.subgraphIndex or 0] is graph:
            for entry in (*signature.inputs, *signature.outputs):
                entry.tensorIndex = place_of[entry.tensorIndex]


def _content(buffer: Any, data: bytes) -> bytes:
    if (buffer.offset or 0) > _OUTSIDE:
        return data[buffer.offset : buffer.offset + buffer.size]
    return b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()


def _packed(schema: Any, root: Any, contents: list[bytes], files: Mapping[str, bytes]) -> bytes:
    root.buffers = [AlignedBuffer(schema, content) for content in contents]
    builder = flatbuffers.Builder(1024)
    builder.Finish(root.Pack(builder), file_identifier=IDENTIFIER)
    written = bytes(builder.Output())
    return metadata.append_files(written, files) if files else written
