"""A backbone with a new head: global average pooling, then classes or nothing.

The backbone's operators and weights stay as they are, quantised or not; the head is float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.convert import metadata
from edgecam.convert.graph import ConvertError
from edgecam.convert.rewrite import contents_of, drop_tensors, packed
from edgecam.convert.writer import generated_schema
from edgecam.teach.backbone import Backbone, shapes_at
from edgecam.tflite_graph import FileTensor

Floats = NDArray[np.float32]

FEATURES, SCORES = "features", "scores"
_METADATA = "TFLITE_METADATA"
_RUNTIME = "min_runtime_version"
_OLDEST_RUNTIME = b"1.15.0"  # has every operator of the head


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A softmax over ``labels``, K names, of the features of the map at ``layer`` of the backbone.

    ``weights``: float32[K, C]; ``bias``: float32[K].
    """

    layer: int
    labels: Sequence[str]
    weights: Floats
    bias: Floats


def features(backbone: Backbone, size: tuple[int, int] | None) -> bytes:
    """Return the backbone for pictures of ``size`` (None: its own), every map averaged.

    The output is float32[1, D]: the averages of all maps, one map behind the other.

    Raises:
        ConvertError: the network does not fit that size, or ai-edge-litert is not installed.
    """
    made = _Graft(backbone, backbone.maps, size)
    return made.packed(made.joined([made.pooled(tensor) for tensor in backbone.maps]), "", ())


def classifier(
    backbone: Backbone, size: tuple[int, int] | None, head: Head, description: str
) -> bytes:
    """Return the backbone up to the head's map, and the head.

    Raises:
        ConvertError: as ``features``, or the head does not fit the map.
    """
    tensor = backbone.maps[head.layer]
    if head.weights.shape != (len(head.labels), tensor.shape[3]):
        raise ConvertError(
            f"expected a head of {len(head.labels)}x{tensor.shape[3]} weights, found "
            f"{list(head.weights.shape)}"
        )
    made = _Graft(backbone, (tensor,), size)
    return made.packed(made.classes(made.pooled(tensor), head), description, head.labels)


class _Graft:
    """A model being cut and extended, as the objects of TFLite's generated schema."""

    def __init__(
        self, backbone: Backbone, ends: Sequence[FileTensor], size: tuple[int, int] | None
    ) -> None:
        self._schema = generated_schema()
        data = backbone.file.data
        self._root = self._schema.ModelT.InitFromPackedBuf(data, 0)
        self._contents = contents_of(self._root, data)
        self._backbone = backbone
        self._graph = self._root.subgraphs[0]
        self._root.subgraphs = [self._graph]
        self._places = self._cut([end.index for end in ends])
        if size not in (None, backbone.file.inputs[0].shape[1:3]):
            self._resize(ends, size)

    def _resize(self, ends: Sequence[FileTensor], size: tuple[int, int]) -> None:
        # Cut it fits sizes that the whole network's head may not; the same ends, the same places.
        plain = _Graft(self._backbone, ends, None)
        data = plain.packed(plain.joined([plain.pooled(end) for end in ends]), "", ())
        for place, shape in shapes_at(data, self._backbone.file.name, size).items():
            if place < len(self._graph.tensors):
                self._graph.tensors[place].shape = list(shape)
                self._graph.tensors[place].shapeSignature = None

    def _cut(self, ends: Sequence[int]) -> dict[int, int]:
        """Drop what the ends do not need; return their places among the tensors left."""
        graph = self._graph
        makers = {int(t): op for op in graph.operators for t in op.outputs}
        needed, waiting = {int(graph.inputs[0]), *ends}, [*ends]
        kept: set[int] = set()
        while waiting:
            maker = makers.get(waiting.pop())
            if maker is None or id(maker) in kept:
                continue
            kept.add(id(maker))
            taken = [int(t) for t in maker.inputs if t >= 0]
            needed.update(taken, map(int, maker.outputs))
            waiting += taken
        graph.operators = [op for op in graph.operators if id(op) in kept]
        graph.outputs = [*ends]
        self._root.signatureDefs = []
        drop_tensors(self._root, graph, set(range(len(graph.tensors))) - needed)
        return dict(zip(ends, map(int, graph.outputs), strict=True))

    def pooled(self, end: FileTensor) -> int:
        """Add the average of a map; return its tensor."""
        place = self._places[end.index]
        tensor = self._graph.tensors[place]
        name = f"{_text(tensor.name)}/average"
        if tensor.type != self._schema.TensorType.FLOAT32:
            shape = [int(side) for side in tensor.shape]
            place = self._add("DEQUANTIZE", [place], f"{name}/map", shape, "DequantizeOptions")
        axes = self._constant(f"{name}/axes", np.array([1, 2], np.int32))
        return self._add("MEAN", [place, axes], name, [1, end.shape[3]], "ReducerOptions")

    def joined(self, places: Sequence[int]) -> int:
        """Add the concatenation of rows; return its tensor."""
        width = sum(int(self._graph.tensors[place].shape[1]) for place in places)
        options = self._schema.ConcatenationOptionsT()
        options.axis = 1
        kind = "ConcatenationOptions"
        return self._add("CONCATENATION", places, FEATURES, [1, width], kind, options)

    def classes(self, features: int, head: Head) -> int:
        """Add the dense layer and softmax; return the tensor of probabilities."""
        weights = self._constant("head_weights", head.weights.astype("<f4"))
        bias = self._constant("head_bias", head.bias.astype("<f4"))
        shape = [1, len(head.labels)]
        inputs = [features, weights, bias]
        logits = self._add("FULLY_CONNECTED", inputs, "logits", shape, "FullyConnectedOptions")
        options = self._schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self._add("SOFTMAX", [logits], SCORES, shape, "SoftmaxOptions", options)

    def _add(
        self,
        op: str,
        inputs: Sequence[int],
        name: str,
        shape: Sequence[int],
        kind: str,
        options: Any = None,
    ) -> int:
        operator = self._schema.OperatorT()
        operator.inputs, operator.outputs = list(inputs), [self._tensor(name, shape, "FLOAT32")]
        operator.opcodeIndex = self._code(getattr(self._schema.BuiltinOperator, op))
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, kind)
        operator.builtinOptions = options or getattr(self._schema, f"{kind}T")()
        self._graph.operators.append(operator)
        return int(operator.outputs[0])

    def _code(self, builtin: int) -> int:
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
        self._root.operatorCodes.append(code)
        return len(self._root.operatorCodes) - 1

    def _tensor(self, name: str, shape: Sequence[int], kind: str) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.hasRank = name, list(shape), True
        tensor.type, tensor.buffer = getattr(self._schema.TensorType, kind), 0
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _constant(self, name: str, values: NDArray[Any]) -> int:
        place = self._tensor(name, values.shape, values.dtype.name.upper())
        self._graph.tensors[place].buffer = len(self._contents)
        self._contents.append(values.tobytes())
        return place

    def packed(self, output: int, description: str, labels: Sequence[str]) -> bytes:
        """Return the file with ``output`` as the only one, and metadata for picture and labels."""
        graph, root = self._graph, self._root
        graph.outputs = [output]
        root.description = description
        image = _text(graph.tensors[graph.inputs[0]].name)
        name = _text(graph.tensors[output].name)
        kinds = {0: metadata.AXIS_LABELS} if labels else None
        about = metadata.pack(description, self._backbone.normalization, image, [name], kinds)
        root.metadata = []
        for entry_name, content in ((_RUNTIME, self._runtime()), (_METADATA, about)):
            entry = self._schema.MetadataT()
            entry.name, entry.buffer = entry_name, len(self._contents)
            root.metadata.append(entry)
            self._contents.append(content)
        root.signatureDefs = [self._signature(image, name)]
        self._drop_codes()
        self._drop_buffers()
        files = metadata.label_file(labels) if labels else {}
        return packed(self._schema, root, self._contents, files)

    def _runtime(self) -> bytes:
        stated = bytes(self._backbone.file.metadata.get(_RUNTIME, b"")).rstrip(b"\0")
        newest = max(stated, _OLDEST_RUNTIME, key=_version)
        return newest.ljust(16, b"\0")

    def _signature(self, image: str, output: str) -> Any:
        signature = self._schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        pairs = ((image, self._graph.inputs), (output, self._graph.outputs))
        signature.inputs, signature.outputs = (
            [self._named(name, int(places[0]))] for name, places in pairs
        )
        return signature

    def _named(self, name: str, place: int) -> Any:
        named = self._schema.TensorMapT()
        named.name, named.tensorIndex = name, place
        return named

    def _drop_codes(self) -> None:
        used = sorted({int(op.opcodeIndex) for op in self._graph.operators})
        self._root.operatorCodes = [self._root.operatorCodes[code] for code in used]
        for operator in self._graph.operators:
            operator.opcodeIndex = used.index(int(operator.opcodeIndex))

    def _drop_buffers(self) -> None:
        """Keep the buffers in use; the first is empty by convention."""
        holders = [*self._graph.tensors, *self._root.metadata]
        used = sorted({0, *(int(holder.buffer) for holder in holders)})
        self._contents = [self._contents[buffer] for buffer in used]
        for holder in holders:
            holder.buffer = used.index(int(holder.buffer))


def _version(text: bytes) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in text.split(b"."))


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
