"""Write a TFLite model as a flatbuffer, the same bytes every time.

The classes that write it are generated from TFLite's schema and come with ai-edge-litert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers

from edgecam.core.tensors import Normalization
from edgecam.inference.tflite.schema import ALIGNMENT, IDENTIFIER, VERSION
from edgecam.tools.convert import metadata
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.lite import LiteModel, LiteOperator

_SIGNATURE = "serving_default"

# Operator -> the schema's table of its options.
_OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SQUEEZE": "SqueezeOptions",
    "SUB": "SubOptions",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
}
# (operator, version) -> the first TensorFlow whose runtime has it; any other is as old as 1.5.0.
# Source: tensorflow/compiler/mlir/lite/tools/versioning/runtime_version.cc.
_RUNTIMES = {
    ("CUSTOM", 1): "1.5.0",
    ("DEPTHWISE_CONV_2D", 2): "1.12.0",
    ("DEQUANTIZE", 3): "1.15.0",
    ("DEPTH_TO_SPACE", 1): "2.1.0",
    ("DIV", 1): "1.6.0",
    ("LEAKY_RELU", 1): "1.13.1",
    ("LOGISTIC", 1): "1.14.0",
    ("MEAN", 1): "1.6.0",
    ("PADV2", 1): "1.9.0",
    ("RESIZE_BILINEAR", 1): "1.7.0",
    ("RESIZE_BILINEAR", 3): "2.2.0",
    ("RESIZE_NEAREST_NEIGHBOR", 1): "1.13.1",
    ("RESIZE_NEAREST_NEIGHBOR", 3): "2.3.0",
    ("SLICE", 1): "1.14.0",
    ("SQUEEZE", 1): "1.6.0",
    ("SUB", 1): "1.6.0",
    ("TANH", 1): "1.14.0",
    ("TRANSPOSE", 1): "1.6.0",
    ("TRANSPOSE_CONV", 1): "1.9.0",
}
_OLDEST_RUNTIME = "1.5.0"


def write(
    model: LiteModel,
    description: str,
    normalization: Normalization,
    labels: Sequence[str] = (),
    label_place: int | None = None,
    label_kind: int = metadata.AXIS_LABELS,
    extra: Mapping[str, bytes] | None = None,
    *,
    guessed: bool = False,
) -> bytes:
    """Return the file, with TFLite metadata: what the input wants, what the outputs are called.

    ``labels`` name the classes of the output at ``label_place``, ``label_kind`` is one of
    metadata's two kinds. ``extra`` are further metadata buffers by name. ``guessed``: nothing said
    the normalisation.

    Raises:
        ConvertError: ai-edge-litert is not installed, or a size is beyond the format's range.
    """
    schema = generated_schema()
    names = [model.tensors[place].name for place in model.outputs]
    kinds = {label_place: label_kind} if labels and label_place is not None else None
    packed = metadata.pack(
        description, normalization, model.tensors[model.inputs[0]].name, names, kinds, guessed
    )
    builder = flatbuffers.Builder(1024)
    root = _model(schema, model, description, {"TFLITE_METADATA": packed, **(extra or {})})
    try:
        builder.Finish(root.Pack(builder), file_identifier=IDENTIFIER)
    except TypeError as error:  # flatbuffers' word for it
        raise ConvertError(f"the model holds a number beyond a .tflite's range: {error}") from None
    data = bytes(builder.Output())
    return metadata.append_files(data, metadata.label_file(labels)) if labels else data


def generated_schema() -> Any:
    """Return the classes that are generated from TFLite's schema.

    Raises:
        ConvertError: ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        raise ConvertError(
            "writing a .tflite needs the package ai-edge-litert, which is not installed; "
            "convert on a 64-bit machine and copy the file"
        ) from None
    return schema_py_generated


def _model(schema: Any, model: LiteModel, description: str, entries: Mapping[str, bytes]) -> Any:
    root = schema.ModelT()
    root.version = VERSION
    root.description = description
    runtime = _min_runtime(model).encode().ljust(16, b"\0")
    buffers = [b""]  # by convention the first is empty
    graph = schema.SubGraphT()
    graph.name = "main"
    graph.tensors = [_tensor(schema, model, place, buffers) for place in range(len(model.tensors))]
    graph.inputs, graph.outputs = list(model.inputs), list(model.outputs)
    codes: dict[tuple[str, int], int] = {}
    graph.operators = [_operator(schema, operator, codes) for operator in model.operators]
    root.operatorCodes = [_operator_code(schema, name, version) for name, version in codes]
    root.subgraphs = [graph]
    root.metadata = []
    for name, content in {"min_runtime_version": runtime, **entries}.items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(buffers)
        root.metadata.append(entry)
        buffers.append(content)
    root.buffers = [AlignedBuffer(schema, data) for data in buffers]
    root.signatureDefs = [_signature(schema, model)]
    return root


def _tensor(schema: Any, model: LiteModel, place: int, buffers: list[bytes]) -> Any:
    source = model.tensors[place]
    tensor = schema.TensorT()
    tensor.name, tensor.shape = source.name, list(source.shape)
    tensor.type = getattr(schema.TensorType, source.dtype.upper())
    tensor.hasRank = True
    tensor.buffer = 0
    if source.data is not None:
        tensor.buffer = len(buffers)
        little = source.data.astype(source.data.dtype.newbyteorder("<"), copy=False)
        buffers.append(little.tobytes())
    return tensor


def _operator(schema: Any, source: LiteOperator, codes: dict[tuple[str, int], int]) -> Any:
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = list(source.inputs), list(source.outputs)
    key = (source.op, -1 if source.custom is not None else source.version)
    operator.opcodeIndex = codes.setdefault(key, len(codes))
    if source.custom is not None:
        operator.customOptions = list(source.custom)
        return operator
    if source.op in _OPTIONS:
        name = _OPTIONS[source.op]
        options = getattr(schema, f"{name}T")()
        for attribute, value in source.options.items():
            setattr(options, attribute, value)
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = options
    return operator


def _operator_code(schema: Any, name: str, version: int) -> Any:
    code = schema.OperatorCodeT()
    if version < 0:
        code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = name
        version = 1
    else:
        code.builtinCode = getattr(schema.BuiltinOperator, name)
    # Readers older than schema 3a look at the byte only; 127 sends newer ones to builtinCode.
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    return code


def _signature(schema: Any, model: LiteModel) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey = _SIGNATURE
    signature.subgraphIndex = 0
    signature.inputs = [_named(schema, model, place) for place in model.inputs]
    signature.outputs = [_named(schema, model, place) for place in model.outputs]
    return signature


def _named(schema: Any, model: LiteModel, place: int) -> Any:
    named = schema.TensorMapT()
    named.name, named.tensorIndex = model.tensors[place].name, place
    return named


def _min_runtime(model: LiteModel) -> str:
    versions = [_OLDEST_RUNTIME]
    for operator in model.operators:
        name = "CUSTOM" if operator.custom is not None else operator.op
        versions.append(_RUNTIMES.get((name, operator.version), _OLDEST_RUNTIME))
    return max(versions, key=lambda version: tuple(map(int, version.split("."))))


class AlignedBuffer:
    """A constant's bytes, aligned as the schema demands, which the generated classes ignore.

    Named as they are.
    """

    def __init__(self, schema: Any, data: bytes) -> None:
        self._schema, self._data = schema, data

    def Pack(self, builder: Any) -> int:  # noqa: N802
        """Write the buffer's table; return its offset."""
        vector = None
        if self._data:
            builder.StartVector(1, len(self._data), ALIGNMENT)
            builder.head -= len(self._data)
            builder.Bytes[builder.head : builder.head + len(self._data)] = self._data
            vector = builder.EndVector()
        self._schema.BufferStart(builder)
        if vector is not None:
            self._schema.BufferAddData(builder, vector)
        return int(self._schema.BufferEnd(builder))
