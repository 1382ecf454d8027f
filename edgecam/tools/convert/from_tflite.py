"""A .tflite to a part of it: without Coral's PoseNet decoder, or between tensors of its graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgecam.core.tensors import MINUS_ONE_TO_ONE, RAW_PIXELS, Normalization
from edgecam.inference.tflite import metadata
from edgecam.inference.tflite.cut import cut_custom_op
from edgecam.inference.tflite.file import POSENET_DECODER_OP, ModelFile, custom_ops, read
from edgecam.inference.tflite.graph import FileTensor
from edgecam.tools.convert.conversion import UNSTATED, Converted, Options
from edgecam.tools.convert.cut import resolve
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.relabel import relabel
from edgecam.tools.convert.rewrite import part


def convert(source: Path, options: Options) -> Converted:
    """Cut a model out of a larger one; weights stay byte for byte.

    Without names of inputs or outputs Coral's decoder op is cut off.

    Raises:
        ConvertError: there is nothing to cut off, or something else is asked of it.
        ModelError: the file cannot be read.
    """
    if options.inputs or options.outputs:
        return _between(source, options)
    if options != Options():
        raise ConvertError(
            f"{source.name}: only Coral's decoder op can be cut off a .tflite; --size, --mean, "
            "--std and float16 weights need the model that it was made from"
        )
    file = read(source)
    if POSENET_DECODER_OP not in custom_ops(file):
        raise ConvertError(
            f"{source.name} has no {POSENET_DECODER_OP}: nothing to cut off; "
            "edgecam quantize makes a .tflite smaller"
        )
    return Converted(cut_custom_op(file.data, POSENET_DECODER_OP, source.name))


def _between(source: Path, options: Options) -> Converted:
    asked = replace(options, inputs=(), outputs=(), normalization=None)
    if asked != Options():
        raise ConvertError(
            f"{source.name}: a part of a .tflite keeps its size and weights; give --inputs, "
            "--outputs, --mean and --std alone"
        )
    file = read(source)
    inputs, outputs = _places(file, options)
    picture = file.main.tensors[inputs[0]]
    said = options.normalization
    if said is None and not options.inputs:
        said = metadata.normalization(metadata.metadata(file), source.name)
    notes = [UNSTATED] if said is None and picture.type == "FLOAT32" else []
    said = said or _of_pixels(picture)
    names = [file.main.tensors[place].name for place in outputs]
    data = relabel(part(file.data, inputs, outputs), source.stem, said, names, guessed=bool(notes))
    return Converted(data, notes)


def _of_pixels(picture: FileTensor) -> Normalization:
    """Return what an input takes for which nothing says it: -1..1, or pixels as they are."""
    if picture.type == "FLOAT32":
        return MINUS_ONE_TO_ONE
    if not picture.scales:
        return RAW_PIXELS
    # A stated normalisation goes before the input's own scale, which here is to change nothing.
    zero = picture.zero_points[0] + (128 if picture.type == "INT8" else 0)
    return Normalization((float(zero),) * 3, (1.0 / picture.scales[0],) * 3)


def _places(file: ModelFile, options: Options) -> tuple[list[int], list[int]]:
    """Return the tensors between which the graph is cut, as the person named them."""
    graph = file.main
    computed = {tensor for op in graph.ops for tensor in op.outputs}
    places = {graph.tensors[t].name: t for t in sorted(computed | set(graph.inputs))}
    names = list(places)
    inputs = [places[resolve(name, names, "--inputs")] for name in options.inputs]
    outputs = [places[resolve(name, names, "--outputs")] for name in options.outputs]
    inputs, outputs = inputs or list(graph.inputs), outputs or list(graph.outputs)
    left = _sources(file, inputs, outputs)
    if left - set(inputs):
        other = graph.tensors[min(left - set(inputs))].name
        raise ConvertError(
            f"{file.name}: the outputs also need the input {other!r}; cut where all of them pass"
        )
    unused = set(inputs) - left
    if unused or set(inputs) & set(outputs):
        name = graph.tensors[min(unused or set(inputs) & set(outputs))].name
        raise ConvertError(f"{file.name}: no output is computed from {name!r}")
    shape = graph.tensors[inputs[0]].shape
    if len(inputs) != 1 or len(shape) != 4 or shape[3] not in (1, 3):
        found = ", ".join(f"{graph.tensors[t].name} {graph.tensors[t].shape}" for t in inputs)
        raise ConvertError(f"expected one picture [1, H, W, 3] as the input, found: {found}")
    return inputs, outputs


def _sources(file: ModelFile, inputs: list[int], outputs: list[int]) -> set[int]:
    """Return the tensors that nothing computes, and those of ``inputs``, that the outputs need."""
    makers = {tensor: op for op in file.main.ops for tensor in op.outputs}
    found: set[int] = set()
    waiting, seen = [*outputs], set()
    while waiting:
        tensor = waiting.pop()
        if tensor in seen or tensor < 0:
            continue
        seen.add(tensor)
        if tensor in inputs or tensor not in makers:
            if tensor in inputs or not file.main.tensors[tensor].is_constant:
                found.add(tensor)
            continue
        waiting += makers[tensor].inputs
    return found
