"""Whether a .tflite that another tool wrote is what was asked for: looked at, then run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from edgecam.inference import runtime
from edgecam.inference.tflite import file as tflite_file
from edgecam.inference.tflite.file import ModelFile
from edgecam.tools.convert.graph import Array, ConvertError

# Share of an output's largest value by which TFLite's arithmetic may differ.
FLOAT32_TOLERANCE: Final = 1e-3
FLOAT16_TOLERANCE: Final = 2e-2
_VARIABLES = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_SCALES = ("ADD", "MUL", "SUB")


def prove(
    data: bytes, name: str, picture: Array, expected: Mapping[str, Array], *, is_half: bool = False
) -> list[str]:
    """Run the file on ``picture`` and compare with the outputs that the source gave for it.

    Returns:
        Notes for the person: what is right and could be better.

    Raises:
        ConvertError: its batch is not one, a shape is open, it holds variables or custom ops,
            its outputs are others, not finite, or not those expected.
    """
    file = tflite_file.read(data, name)
    _check_form(file, tuple(expected))
    found = _invoked(data, name, picture)
    tolerance = FLOAT16_TOLERANCE if is_half else FLOAT32_TOLERANCE
    for output, values in expected.items():
        _check_values(name, output, found[output], values, tolerance)
    count = _unfolded(file)
    if count:
        return [f"{count} products or sums behind convolutions are not folded into them"]
    return []


def _check_form(file: ModelFile, names: tuple[str, ...]) -> None:
    graph = file.main
    foreign = tflite_file.custom_ops(file)
    if foreign:
        raise ConvertError(f"{file.name} became custom ops: {', '.join(foreign)}")
    if any(op.name in _VARIABLES for op in graph.ops):
        raise ConvertError(
            f"{file.name} keeps weights in variables that nothing fills; save it with its weights"
        )
    for place in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[place]
        if -1 in tensor.shape_signature:
            raise ConvertError(
                f"{file.name}: {tensor.name} came out as {list(tensor.shape_signature)}, "
                "expected a shape without open sides"
            )
    shape = graph.tensors[graph.inputs[0]].shape
    if len(graph.inputs) != 1 or shape[0] != 1:
        raise ConvertError(f"{file.name}: expected one input [1, H, W, C], found {list(shape)}")
    found = tuple(graph.tensors[place].name for place in graph.outputs)
    if found != names:
        raise ConvertError(f"{file.name}: expected the outputs {names}, found {found}")


def _invoked(data: bytes, name: str, picture: Array) -> Mapping[str, Array]:
    try:
        interpreter = runtime.find().interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise ConvertError(f"{name} was converted to what does not run: {error}") from None
    return {
        detail["name"]: interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_output_details()
    }


def _check_values(name: str, output: str, found: Array, wanted: Array, tolerance: float) -> None:
    if found.shape != wanted.shape:
        raise ConvertError(f"{name}: {output} is {found.shape} after, {wanted.shape} before")
    if not np.isfinite(found).all():
        cause = "by the conversion" if np.isfinite(wanted).all() else "in the source as well"
        raise ConvertError(f"{name}: {output} is not finite on a random picture, {cause}")
    limit = tolerance * float(np.abs(wanted).max(initial=1e-6))
    difference = float(np.abs(found.astype(np.float64) - wanted).max(initial=0.0))
    if difference > limit:
        raise ConvertError(
            f"{name}: {output} differs by {difference:.3g} from the source on a random picture, "
            f"expected at most {limit:.3g}"
        )


def _unfolded(file: ModelFile) -> int:
    """Return how many per-channel products and sums take what a convolution gives."""
    graph = file.main
    makers = {output: op.name for op in graph.ops for output in op.outputs}
    return sum(
        any(makers.get(place) in _CONVOLUTIONS for place in op.inputs)
        and any(
            graph.tensors[place].is_constant and len(graph.tensors[place].shape) == 1
            for place in op.inputs
        )
        for op in graph.ops
        if op.name in _SCALES
    )
