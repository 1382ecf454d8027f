"""Registry of the model families: a family is one file here and its name in ``FAMILIES``.

Its file has ``recognise``, which returns a decoder for the models that are its own, and
``LAYOUT``, the tensors by which it knows them. The decoder states all that differs between
families: see ``core.protocols.Decoder``.
"""

from __future__ import annotations

import importlib
import logging
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from edgecam.core.errors import ModelError
from edgecam.core.geometry import FITS
from edgecam.core.protocols import Decoder
from edgecam.core.tensors import TensorInfo
from edgecam.inference.decoders.family import FamilyContext, PostProcess
from edgecam.inference.tflite.file import SSD_POSTPROCESS_OP, ModelFile, custom_options
from edgecam.inference.tflite.metadata import ANCHORS_NAME, FIT_NAME, Metadata, metadata

if TYPE_CHECKING:
    from edgecam.inference.calibration import Calibration
    from edgecam.inference.decoders.anchors import Anchors


class Family(Protocol):
    """What a family's file has.

    ``LAYOUT``: the shapes of its outputs for people, a line for each that it knows.
    """

    LAYOUT: str

    def recognise(
        self,
        inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo],
        context: FamilyContext,
        /,
    ) -> Decoder | None:
        """Return the decoder for a model of this family, None for any other.

        Raises:
            ModelError: it is of this family, but the labels or the file do not fit.
        """
        ...


log = logging.getLogger(__name__)

# One file each, asked in this order; no model may fit two of them.
FAMILIES = (
    "posenet",
    "ssd",
    "movenet",
    "movenet_heads",
    "movenet_multipose",
    "movenet_multipose_heads",
    "nanodet",
    "fomo",
    "mediapipe_person",
    "mediapipe_pose",
    "yolo",
    "classifier",
    "documents",
)

# What changes the form of a tensor and not what it means.
_TRANSPARENT = frozenset({"RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE", "CONCATENATION"})


def families() -> Iterator[Family]:
    """Yield each in turn, loaded only when it is asked: most models need but the first."""
    for name in FAMILIES:
        yield cast("Family", importlib.import_module(f"edgecam.inference.decoders.{name}"))


def _foreign(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder | None:
    """Ask the plugins, which come last: what edgecam knows they do not change."""
    if not context.plugins:
        return None
    from edgecam.core import plugins

    for name, family in plugins.listed("decoders", context.plugins).items():
        try:
            decoder = cast("Family", family).recognise(inputs, outputs, context)
        except ModelError:
            raise
        except Exception as error:  # noqa: BLE001 - of others' code: any fault
            log.error("%s", plugins.refusal(name, "decoders", error))
            continue
        if decoder is not None:
            return decoder
    return None


def _foreign_layouts(context: FamilyContext) -> list[str]:
    from edgecam.core import plugins

    return [family.LAYOUT for family in plugins.listed("decoders", context.plugins).values()]


def recognise(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], context: FamilyContext
) -> Decoder:
    """Return the decoder of the family that the tensors belong to.

    Raises:
        ModelError: none fits (the message has the tensor table and the known layouts), or the
            labels do not fit the model.
    """
    for family in families():
        decoder = family.recognise(inputs, outputs, context)
        if decoder is not None:
            return _calibrated(decoder, context)
    if (decoder := _foreign(inputs, outputs, context)) is not None:
        return decoder
    table = "\n".join(
        f"  {kind} {place}: {_row(info)}"
        for kind, infos in (("input", inputs), ("output", outputs))
        for place, info in enumerate(infos)
    )
    layouts = [family.LAYOUT for family in families()]
    layouts += _foreign_layouts(context)
    known = textwrap.indent("\n".join(layouts), "  ")
    raise ModelError(
        f"the model is of no known family; it has\n{table}\n"
        f"known layouts (input [1, H, W, 3]):\n{known}"
    )


def _calibrated(decoder: Decoder, context: FamilyContext) -> Decoder:
    if context.calibration is None or decoder.finds not in ("boxes", "classes"):
        return decoder
    from edgecam.inference.decoders.calibrated import calibrated

    return calibrated(decoder, context.calibration)


def context_of(
    model: ModelFile,
    labels: tuple[str, ...] | None = None,
    decoder: str = "auto",
    listed_plugins: Sequence[str] = (),
) -> FamilyContext:
    """Return what a model's file says about decoding, with the labels to use.

    Raises:
        ModelError: its metadata, anchors or calibration are damaged.
    """
    found = metadata(model)
    return FamilyContext(
        labels=labels,
        metadata_output_names=tuple(output.name for output in found.outputs),
        decoder=decoder,
        anchors=_anchors(model),
        output_ops=tuple(_maker(model, tensor) for tensor in model.main.outputs),
        postprocess=_postprocess(model),
        signature_output_names=_signature_names(model),
        plugins=tuple(listed_plugins),
        calibration=_calibration(found),
        fit=_fit(model),
    )


def _anchors(model: ModelFile) -> Anchors | None:
    if ANCHORS_NAME not in model.metadata:
        return None
    from edgecam.inference.decoders import anchors

    return anchors.of(model)


def _calibration(found: Metadata) -> Calibration | None:
    if all(output.calibration_file is None for output in found.outputs):
        return None
    from edgecam.inference.calibration import calibration

    return calibration(found)


def _fit(model: ModelFile) -> str | None:
    said = bytes(model.metadata.get(FIT_NAME, b"")).decode("ascii", "replace")
    return said if said in FITS else None


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
