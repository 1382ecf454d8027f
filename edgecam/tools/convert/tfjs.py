"""Read a TensorFlow.js model, of nodes or of layers: model.json with its weight shards.

The format is described by @tensorflow/tfjs-core's ``io/types.ts`` and ``io/io_utils.ts``.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.core import bounded_file
from edgecam.tools.convert import layers_model
from edgecam.tools.convert.graph import (
    DTYPE_NAMES,
    DTYPE_NUMBERS,
    MAX_ELEMENTS,
    Array,
    ConvertError,
    Graph,
    Node,
    as_float32,
    data_inputs,
    reached,
)

_STORED = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint16": "<u2", "uint8": "u1"}
_STORED |= {"bool": "?"}
_SHOWN = 3
# Topologies of hundreds of layers have a tenth of it.
TOPOLOGY_BYTES = 32 << 20
_MAX_SIDES = 8


def read(path: Path) -> Graph:
    """Read ``model.json`` and the shards that it names, beside it.

    Raises:
        ConvertError: not such a model, a shard is missing or of another length than the
            manifest says, or the manifest does not fit the graph.
    """
    try:
        document = json.loads(bounded_file.read(path, TOPOLOGY_BYTES))
    except OSError as error:
        raise ConvertError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConvertError(
            f"{path} is not JSON ({error}); expected a TensorFlow.js model.json"
        ) from None
    topology = document.get("modelTopology") if isinstance(document, dict) else None
    is_layers = layers_model.is_layers_model(topology) and "weightsManifest" in document
    nodes = [] if is_layers else _nodes_of(document, path)
    try:
        weights = _weights(document["weightsManifest"], path)
        if is_layers:
            return layers_model.graph_of(document["modelTopology"], weights)
        return _graph(nodes, weights, _signature(document), path)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConvertError(f"{path} is no sound model: {type(error).__name__}: {error}") from error


def _nodes_of(document: Any, path: Path) -> list[dict[str, Any]]:
    topology = document.get("modelTopology") if isinstance(document, dict) else None
    nodes = topology.get("node") if isinstance(topology, dict) else None
    if isinstance(nodes, list) and nodes and "weightsManifest" in document:
        return nodes
    raise ConvertError(f"{path} is no TensorFlow.js model: no nodes or layers with weights in it")


def _signature(document: Mapping[str, Any]) -> tuple[str, ...]:
    metadata = document.get("userDefinedMetadata") or {}
    signature = document.get("signature") or metadata.get("signature") or {}
    return data_inputs(entry["name"] for entry in (signature.get("outputs") or {}).values())


def _graph(
    source: Sequence[Mapping[str, Any]],
    weights: Mapping[str, Array],
    outputs: tuple[str, ...],
    path: Path,
) -> Graph:
    nodes = []
    constants = {}
    for entry in source:
        attributes = {key: _attribute(value) for key, value in entry.get("attr", {}).items()}
        node = Node(
            str(entry["name"]), str(entry["op"]), data_inputs(entry.get("input", ())), attributes
        )
        if node.op != "Const":
            nodes.append(node)
        elif node.name in weights:
            constants[node.name] = _shaped(node, weights[node.name], path)
        else:
            raise ConvertError(f"{path}: its manifest has no weights for the node {node.name!r}")
    if not outputs:
        taken = {name for node in nodes for name in node.inputs}
        outputs = tuple(node.name for node in nodes if node.name not in taken)
    inputs = tuple(node.name for node in nodes if node.op.startswith("Placeholder"))
    graph = Graph(tuple(nodes), constants, inputs, outputs)
    needed = reached(graph)
    return replace(graph, inputs=tuple(i for i in inputs if i in needed) or inputs)


def _shaped(node: Node, values: Array, path: Path) -> Array:
    stated = node.attributes.get("value")
    if not isinstance(stated, tuple) or _is_shape(values.shape, stated):
        return values
    if stated == () and values.size == 1:  # some converters list scalars as vectors of one
        return values.reshape(())
    raise ConvertError(
        f"{path}: the manifest gives {node.name!r} the shape {values.shape}, the graph says "
        f"{stated}; the file is damaged, get it again"
    )


def _is_shape(found: tuple[int, ...], stated: tuple[int, ...]) -> bool:
    """Whether a shape is what the graph says, -1 being any side."""
    return len(found) == len(stated) and all(
        wanted in (-1, side) for side, wanted in zip(found, stated, strict=True)
    )


def _attribute(value: Mapping[str, Any]) -> Any:
    """Return one AttrValue as a plain value."""
    kind, content = next(iter(value.items()), ("", None))
    if kind == "list":
        lists = (content or {}).items()
        return [_plain(key, item) for key, items in lists for item in items]
    return _plain(kind, content)


def _plain(kind: str, content: Any) -> Any:
    match kind:
        case "s":
            raw = bytes(content) if isinstance(content, list) else base64.b64decode(content)
            return raw.decode("utf-8", "replace")
        case "i":
            return int(content)
        case "f":
            return float(content)
        case "b":
            return bool(content)
        case "type":
            return _dtype(content)
        case "shape":
            return _shape(content)
        case "tensor":
            return _shape(content["tensorShape"]) if "tensorShape" in content else None
        case _:
            return None


def _dtype(content: int | str) -> str:
    names: Mapping[Any, str] = DTYPE_NUMBERS if isinstance(content, int) else DTYPE_NAMES
    return names.get(content, str(content))


def _shape(content: Mapping[str, Any]) -> tuple[int, ...] | None:
    if content.get("unknownRank"):
        return None
    return tuple(int(side.get("size", -1)) for side in content.get("dim") or ())


def _weights(manifest: Sequence[Mapping[str, Any]], path: Path) -> dict[str, Array]:
    """Return every weight by name."""
    weights: dict[str, Array] = {}
    left = bounded_file.MODEL_BYTES
    elements = MAX_ELEMENTS
    for group in manifest:
        data = _shards(group["paths"], path, left)
        left -= len(data)
        start = 0
        for entry in group["weights"]:
            dtype, shape = _layout(entry, path)
            size = math.prod(shape) * dtype.itemsize
            elements -= math.prod(shape)
            if elements < 0:
                raise ConvertError(f"{path}: its manifest has more than {MAX_ELEMENTS} weights")
            if start + size <= len(data):
                values = np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape)
                weights[str(entry["name"])] = _restored(values, entry)
            start += size
        if start != len(data):
            shown = ", ".join(group["paths"][:_SHOWN])
            shown += ", ..." if len(group["paths"]) > _SHOWN else ""
            raise ConvertError(
                f"{path}: its manifest describes {start} bytes of weights, {shown} "
                f"{'holds' if len(group['paths']) == 1 else 'hold'} {len(data)}; the download "
                "is cut off or the manifest is wrong, get the model again"
            )
    return weights


def _shards(names: Sequence[str], path: Path, left: int) -> bytes:
    parts: list[bytes] = []
    for name in names:
        shard = path.parent / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ConvertError(f"{path}: its shard {name} lies outside of the model's folder")
        try:
            # One that is named again and again counts each time.
            parts.append(bounded_file.read(shard, left - sum(map(len, parts))))
        except OSError as error:
            raise ConvertError(
                f"cannot read the weight shard {shard}: {error.strerror or error}; "
                f"{path.name} needs it beside itself"
            ) from None
    return b"".join(parts)


def _layout(entry: Mapping[str, Any], path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return how a weight is stored: (type, shape)."""
    name = str(entry.get("quantization", entry)["dtype"])
    shape = tuple(entry["shape"])
    if name not in _STORED:
        raise ConvertError(
            f"{path}: weights {entry['name']!r} are stored as {name}, expected one of "
            f"{', '.join(_STORED)}"
        )
    if len(shape) > _MAX_SIDES or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise ConvertError(
            f"{path}: weights {entry['name']!r:.80} have the shape {str(list(shape))[:80]}"
        )
    return np.dtype(_STORED[name]), shape


def _restored(values: Array, entry: Mapping[str, Any]) -> Array:
    """Return a weight in the type that the graph computes with."""
    quantization = entry.get("quantization")
    if quantization is None:
        native = np.dtype(values.dtype.newbyteorder("="))
        return as_float32(values) if native == np.float16 else values.astype(native)
    if quantization["dtype"] == "float16":
        return as_float32(values)
    # JavaScript computes in float64 and rounds at the end.
    scale, low = float(quantization["scale"]), float(quantization["min"])
    restored = values.astype(np.float64) * scale + low
    if entry["dtype"] == "float32":
        return as_float32(restored)
    return np.rint(restored).astype(entry["dtype"])
