"""Everything that can be said about a model without a picture: what ``edgecam inspect`` shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.core.errors import DelegateError, ModelError
from edgecam.core.protocols import Decoder
from edgecam.core.tensors import Normalization, TensorInfo
from edgecam.inference import catalog as bundled
from edgecam.inference import labels, probe, runtime
from edgecam.inference.delegates import choose
from edgecam.inference.interpreter import Interpreter
from edgecam.inference.naming import recognise_named
from edgecam.inference.opening import runnable
from edgecam.inference.tflite.file import ModelFile, read
from edgecam.inference.tflite.graph import FileOp, FileTensor
from edgecam.inference.tflite.metadata import Metadata, metadata, normalization
from edgecam.tools.convert.conversion import UNSTATED

# What is asked for with --delegate, and what that really means.
_DELEGATES = {"xnnpack": "cpu", "edgetpu": "edgetpu", "gpu": "gpu", "nnapi": "nnapi"}
_WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}


@dataclass(frozen=True, slots=True)
class TensorRow:
    """A tensor; ``scale`` and ``zero_point`` have an entry per channel of ``axis``, or one."""

    index: int
    name: str
    shape: tuple[int, ...]
    type: str
    constant: bool
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int


@dataclass(frozen=True, slots=True)
class Layer:
    """A node that multiplies: ``macs`` multiply-accumulates, ``parameters`` weights and biases."""

    node: int
    op: str
    name: str
    shape: tuple[int, ...]
    macs: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Delegation:
    """What a delegate takes: ``nodes`` of ``total`` in ``partitions``, and the ops it leaves.

    ``nodes`` is None where that cannot be known here; ``reason`` then says why.
    """

    delegate: str
    nodes: int | None
    total: int
    partitions: int | None
    left: Mapping[str, int]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """One model; ``family`` is None where it is refused, ``why`` says by what, or why not.

    ``warnings``: what is not stated and was guessed, here or when it was made.
    """

    path: str
    sha256: str
    size_bytes: int
    description: str
    inputs: tuple[TensorRow, ...]
    outputs: tuple[TensorRow, ...]
    tensors: tuple[TensorRow, ...]
    ops: Mapping[str, int]
    layers: tuple[Layer, ...]
    macs: int
    parameters: int
    family: str | None
    why: str
    normalization: str
    labels: tuple[str, ...]
    signatures: tuple[str, ...]
    delegates: tuple[Delegation, ...]
    card: Mapping[str, Any] | None
    warnings: tuple[str, ...] = ()


def inspect(path: Path, label_file: Path | None = None) -> Inspection:
    """Inspect the model at ``path``.

    Raises:
        ModelError: the file, its card, its metadata or its labels cannot be read.
    """
    whole = read(path)
    card = bundled.card_of(path)
    if card is not None:
        bundled.verify(card, whole.data)
    file = runnable(whole)
    found = metadata(file)
    loaded, refusal = _probed(path, file)
    inputs = loaded.inputs if loaded is not None else file.inputs
    outputs = loaded.outputs if loaded is not None else file.outputs
    named = card.fields.get("labels") if card is not None else None
    decoder: Decoder | None = None
    try:
        decoder = recognise_named(file, (inputs, outputs), path, label_file, named)
    except ModelError as error:
        names = labels.resolve(label_file, path, path.with_name(named) if named else None, found)
        why = str(error).splitlines()[0].removesuffix("; it has")
    else:
        names, why = decoder.labels, decoder.why
    wanted = _values(decoder.normalization) if decoder is not None else ""
    layers = tuple(_layers(file))
    return Inspection(
        path=str(path),
        sha256=whole.sha256,
        size_bytes=len(whole.data),
        description=whole.description,
        inputs=_rows(file, inputs),
        outputs=_rows(file, outputs),
        tensors=_rows(file, [tensor.info() for tensor in file.main.tensors]),
        ops=dict(Counter(op.name for op in whole.main.ops).most_common()),
        layers=layers,
        macs=sum(layer.macs for layer in layers),
        parameters=sum(layer.parameters for layer in layers),
        family=decoder.family if decoder is not None else None,
        why=why,
        normalization=_normalization(file, found, wanted),
        labels=names or (),
        signatures=tuple(signature.key for signature in file.signatures),
        delegates=tuple(_delegations(file, loaded, refusal)),
        card=dict(card.fields) if card is not None else None,
        warnings=tuple(_warnings(file, card, found, wanted)),
    )


def _probed(path: Path, file: ModelFile) -> tuple[Interpreter | None, str]:
    """Load the model if it survives an invoke in a child process, else say why not."""
    if not file.needs_edgetpu:
        try:
            probe.check(path, path.read_bytes(), runtime.find(), ("1", "-", "cpu"))
        except ModelError as error:
            return None, str(error)
    return _load(file, "cpu")


def _load(file: ModelFile, spec: str) -> tuple[Interpreter | None, str]:
    """Return the model in the installed runtime, or None and why it does not load."""
    if file.needs_edgetpu and spec != "edgetpu":
        return None, "compiled for the Edge TPU"
    try:
        choice = choose(spec, file.needs_edgetpu)
        return Interpreter(file.data, file.name, runtime.find(), 1, choice, required=True), ""
    except DelegateError as error:
        return None, error.reason
    except ModelError as error:
        return None, str(error)


def _normalization(file: ModelFile, found: Metadata, wanted: str) -> str:
    said = normalization(found, file.name)
    if any(info.dtype == np.uint8 for info in file.inputs):
        return "raw pixels (uint8 input)"
    if said is not None:
        return f"{_values(said)} ({'guessed' if _is_guessed(found) else 'metadata'})"
    if any(info.dtype.kind in "iu" for info in file.inputs):
        return "raw pixels (integer input)"
    return f"{wanted} (the family's)" if wanted else "unknown"


def _is_guessed(found: Metadata) -> bool:
    return any(entry.guessed for entry in found.inputs)


def _warnings(
    file: ModelFile, card: bundled.Card | None, found: Metadata, wanted: str
) -> Iterator[str]:
    notes = card.fields.get("notes", ()) if card is not None else ()
    yield from (notes if isinstance(notes, list) else ())
    if _is_guessed(found) and UNSTATED not in notes:
        yield UNSTATED
    silent = normalization(found, file.name) is None
    if silent and not any(info.dtype.kind in "iu" for info in file.inputs):
        what = f"{wanted} is what its family wants" if wanted else "it is unknown what it wants"
        yield (
            f"the file does not say how its input is normalised: {what}; convert it with --mean "
            "and --std if it was trained otherwise"
        )


def _values(normalization: Normalization) -> str:
    """Return "mean 127.5, std 127.5": one value where the channels agree."""
    parts = []
    for key, values in (("mean", normalization.mean), ("std", normalization.std)):
        shown = values[:1] if len(set(values)) == 1 else values
        parts.append(f"{key} {' '.join(f'{value:g}' for value in shown)}")
    return ", ".join(parts)


def _rows(file: ModelFile, infos: Sequence[TensorInfo]) -> tuple[TensorRow, ...]:
    return tuple(_row(file.main.tensors[info.index], info.shape) for info in infos)


def _row(tensor: FileTensor, shape: tuple[int, ...]) -> TensorRow:
    return TensorRow(
        index=tensor.index,
        name=tensor.name,
        shape=shape,
        type=tensor.type.lower(),
        constant=tensor.is_constant,
        scale=tensor.scales,
        zero_point=tensor.zero_points,
        axis=tensor.axis,
    )


def _layers(file: ModelFile) -> list[Layer]:
    tensors = file.main.tensors
    layers = []
    for node, op in enumerate(file.main.ops):
        if op.name not in _WEIGHTS or len(op.inputs) < 2:
            continue
        weights, output = tensors[op.inputs[_WEIGHTS[op.name]]], tensors[op.outputs[0]]
        stored = [tensors[t] for t in op.inputs if t >= 0 and _is_stored(file, t)]
        if op.name == "TRANSPOSE_CONV":
            stored = [tensor for tensor in stored if tensor.index != op.inputs[0]]
        layers.append(
            Layer(
                node=node,
                op=op.name,
                name=output.name,
                shape=output.shape,
                macs=_macs(op, tensors, weights),
                parameters=sum(math.prod(tensor.shape) for tensor in stored),
            )
        )
    return layers


def _macs(op: FileOp, tensors: Sequence[FileTensor], weights: FileTensor) -> int:
    """Each weight is used once for each place: of the output, or of the input if transposed."""
    over = tensors[op.inputs[2] if op.name == "TRANSPOSE_CONV" else op.outputs[0]]
    return math.prod(over.shape[:-1]) * math.prod(weights.shape)


def _is_stored(file: ModelFile, tensor: int) -> bool:
    """Whether a tensor is in the file, as it is or as a float16 that is widened first."""
    if file.main.tensors[tensor].is_constant:
        return True
    maker = file.producer(tensor)
    return (
        maker is not None
        and maker.name in ("DEQUANTIZE", "DENSIFY")
        and _is_stored(file, maker.inputs[0])
    )


def _delegations(file: ModelFile, loaded: Interpreter | None, refusal: str) -> list[Delegation]:
    total = len(file.main.ops)
    rows = []
    for name, spec in _DELEGATES.items():
        interpreter, reason = loaded, refusal
        if name == "edgetpu" and not file.needs_edgetpu:
            rows.append(Delegation(name, 0, total, 0, {}, "not compiled for the Edge TPU"))
            continue
        if spec != "cpu":
            interpreter, reason = _load(file, spec)
        if interpreter is None or interpreter.delegated is None:
            rows.append(Delegation(name, None, total, None, {}, reason or "the runtime is silent"))
            continue
        taken = interpreter.delegated
        left = Counter(op.name for i, op in enumerate(file.main.ops) if i not in taken)
        partitions = interpreter.delegate.partitions
        rows.append(Delegation(name, len(taken), total, partitions, dict(left.most_common())))
    return rows
