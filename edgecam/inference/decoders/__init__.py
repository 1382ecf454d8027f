"""The model families, and which of them a model belongs to."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence

from edgecam.core.result import Decoder, ModelError, TensorInfo
from edgecam.inference.decoders import anchors
from edgecam.inference.decoders.family import FamilyContext, PostProcess
from edgecam.inference.tflite.file import SSD_POSTPROCESS_OP, ModelFile, custom_options
from edgecam.inference.tflite.metadata import metadata

Recognise = Callable[
    [Sequence[TensorInfo], Sequence[TensorInfo], FamilyContext],
    Decoder | None,
]

# One file each; no model may fit two of them.
FAMILIES = ("posenet", "ssd", "movenet", "classifier", "documents")

LAYOUTS = """\
known layouts (input [1, H, W, 3]):
  PoseNet: heatmaps [1, h, w, 17], offsets [1, h, w, 34] and displacements, forward and backward
    [1, h, w, 32] each or [1, h, w, 64] together
  SSD with TFLite_Detection_PostProcess: boxes [1, N, 4], classes [1, N], scores [1, N], count [1]
  SSD without it: box encodings [1, A, 4] and class scores [1, A, C], and anchors
  MoveNet single pose: [1, 1, 17, 3]
  classification: [1, C] or [1, 1, 1, C]
  document edges: [1, h, w, 1], called after edges"""

# What changes the form of a tensor and not what it means.
_TRANSPARENT = frozenset({"RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE", "CONCATENATION"})


def families() -> Iterator[Recognise]:
    """Each in turn, loaded only when it is asked: a model of an early one never needs the rest."""
    for name in FAMILIES:
        yield importlib.import_module(f"edgecam.inference.decoders.{name}").recognise


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder:
    """Return the decoder of the family that the tensors belong to.

    Raises:
        ModelError: none fits (the message has the tensor table and the known layouts), or the
            labels do not fit the model.
    """
    for family in families():
        decoder = family(inputs, outputs, context)
        if decoder is not None:
            return decoder
    table = "\n".join(
        f"  {kind} {place}: {_row(info)}"
        for kind, infos in (("input", inputs), ("output", outputs))
        for place, info in enumerate(infos)
    )
    raise ModelError(f"the model is of no known family; it has\n{table}\n{LAYOUTS}")


def context_of(
    model: ModelFile, labels: tuple[str, ...] | None = None, decoder: str = "auto"
) -> FamilyContext:
    """Return what a model's file says about decoding, with the labels to use.

    Raises:
        ModelError: its metadata or anchors are damaged.
    """
    found = metadata(model)
    return FamilyContext(
        labels=labels,
        metadata_output_names=tuple(output.name for output in found.outputs),
        decoder=decoder,
        anchors=anchors.of(model),
        output_ops=tuple(_maker(model, tensor) for tensor in model.main.outputs),
        postprocess=_postprocess(model),
        signature_output_names=_signature_names(model),
    )


def _signature_names(model: ModelFile) -> tuple[str, ...]:
    """What the first signature calls each output of the main graph, "" where it does not say."""
    called = {
        tensor: name
        for signature in reversed(model.signatures)
        if signature.subgraph == 0
        for name, tensor in signature.outputs.items()
    }
    return tuple(called.get(tensor, "") for tensor in model.main.outputs)


def _maker(model: ModelFile, tensor: int) -> str:
    op = model.producer(tensor)
    while op is not None and op.name in _TRANSPARENT and op.inputs:
        makers = {maker.name for t in op.inputs if (maker := model.producer(t)) is not None}
        if op.name == "CONCATENATION" and len(makers) > 1:
            break
        op = model.producer(op.inputs[0])
    return op.name if op is not None else ""


def _postprocess(model: ModelFile) -> PostProcess | None:
    op = next((op for op in model.main.ops if op.name == SSD_POSTPROCESS_OP), None)
    if op is None or len(op.outputs) != 4:
        return None
    classes = custom_options(op, model.name).get("num_classes")
    return PostProcess(op.outputs, int(classes) if classes is not None else None)


def _row(info: TensorInfo) -> str:
    text = f"{info.name!r} {list(info.shape)} {info.dtype}"
    if info.scale is None:
        return text
    return f"{text} scale {info.scale:.6g} zero point {info.zero_point}"
