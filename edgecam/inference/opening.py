"""From a model file to an interpreter that runs it, not yet recognised."""

from __future__ import annotations

from pathlib import Path

from edgecam.core.errors import DelegateError, ModelError
from edgecam.inference import runtime
from edgecam.inference.delegates import DelegateChoice, choose
from edgecam.inference.interpreter import Interpreter
from edgecam.inference.tflite.file import (
    POSENET_DECODER_OP,
    SSD_POSTPROCESS_OP,
    ModelFile,
    custom_ops,
    read,
)


def runnable(file: ModelFile) -> ModelFile:
    """The model without Coral's decoder op: no runtime here has it, edgecam decodes."""
    if POSENET_DECODER_OP not in custom_ops(file):
        return file
    from edgecam.inference.tflite.cut import cut_custom_op

    return read(cut_custom_op(file.data, POSENET_DECODER_OP, file.name), file.name)


def open_file(
    file: ModelFile,
    threads: int,
    size: tuple[int, int] | None,
    choice: DelegateChoice,
    required: bool,
) -> Interpreter:
    """Open a model file in an interpreter; arguments as there.

    Raises:
        ModelError: it does not load, needs an Edge TPU that is not there, or takes no picture.
        DelegateError: the delegate is required and does not run it.
    """
    if file.needs_edgetpu and choice.library is None:
        raise ModelError(
            f"{file.name} is compiled for the Edge TPU and runs on nothing else; use "
            "--delegate edgetpu with one attached, or the same model not compiled for it"
        )
    try:
        interpreter = Interpreter(
            file.data,
            file.name,
            runtime.find(),
            threads,
            choice,
            input_size=size,
            required=required or file.needs_edgetpu,
        )
    except DelegateError as error:
        if not file.needs_edgetpu:
            raise
        raise ModelError(
            f"{file.name} is compiled for the Edge TPU, which cannot be used here ({error.reason});"
            " attach one and install libedgetpu1-std, or use the same model not compiled for it"
        ) from None
    if len(interpreter.inputs) != 1 or len(interpreter.inputs[0].shape) != 4:
        shapes = [list(info.shape) for info in interpreter.inputs]
        raise ModelError(f"{file.name}: expected one input [1, H, W, 3], found {shapes}")
    return interpreter


def hidden_floats(file: ModelFile, delegated: frozenset[int] | None) -> dict[int, str]:
    """The floats, by index and name, in which the op behind an SSD sees no box if they are NaN."""
    return {
        index: file.main.tensors[index].name
        for number, op in enumerate(file.main.ops)
        if op.name == SSD_POSTPROCESS_OP and number not in (delegated or ())
        for index in op.inputs[:2]
        if file.main.tensors[index].type == "FLOAT32"
    }


def open_interpreter(
    path: Path, threads: int, size: tuple[int, int] | None, spec: str
) -> Interpreter:
    """Load a model file as ``Model`` does, without recognising it; for the probe.

    Raises:
        ModelError, DelegateError: as ``Model``.
    """
    file = runnable(read(path))
    return open_file(file, threads, size, choose(spec, file.needs_edgetpu), required=False)
