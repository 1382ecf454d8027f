"""The names and the metadata of a .tflite that another tool wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers

from edgecam.core.tensors import Normalization
from edgecam.inference.tflite.schema import IDENTIFIER
from edgecam.tools.convert import metadata
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.rewrite import rewrite
from edgecam.tools.convert.writer import generated_schema

_SIGNATURE = "serving_default"
_KEPT = b"min_runtime_version"


def relabel(
    data: bytes,
    description: str,
    normalization: Normalization,
    outputs: Sequence[str],
    *,
    guessed: bool = False,
) -> bytes:
    """Return the model with its outputs named in their order, and metadata for its picture.

    ``guessed``: nothing said the normalisation.

    Raises:
        ConvertError: it has another number of outputs, or ai-edge-litert is not installed.
    """
    schema = generated_schema()
    root = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = root.subgraphs[0]
    if len({*map(int, graph.outputs)}) != len(outputs):
        raise ConvertError(f"expected {len(outputs)} outputs, found {len(graph.outputs)}")
    for place, name in zip(graph.outputs, outputs, strict=True):
        graph.tensors[place].name = name
    image = graph.tensors[graph.inputs[0]].name
    root.description = description
    root.signatureDefs = [_signature(schema, graph)]
    packed = metadata.pack(description, normalization, _text(image), outputs, guessed=guessed)
    root.metadata = [entry for entry in root.metadata or () if entry.name == _KEPT]
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer, buffer.data = "TFLITE_METADATA", len(root.buffers), list(packed)
    root.metadata.append(entry)
    root.buffers.append(buffer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(root.Pack(builder), file_identifier=IDENTIFIER)
    return rewrite(bytes(builder.Output()), {})


def _signature(schema: Any, graph: Any) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = _SIGNATURE, 0
    signature.inputs = [_named(schema, graph, place) for place in graph.inputs]
    signature.outputs = [_named(schema, graph, place) for place in graph.outputs]
    return signature


def _named(schema: Any, graph: Any, place: int) -> Any:
    named = schema.TensorMapT()
    named.name, named.tensorIndex = graph.tensors[place].name, int(place)
    return named


def _text(name: str | bytes | None) -> str:
    """A name that another tool may have left out."""
    return name.decode() if isinstance(name, bytes) else name or ""
