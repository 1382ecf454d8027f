"""A TensorFlow.js model to TFLite: PoseNet, SSDs with what is theirs, others as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgecam.core.tensors import MINUS_ONE_TO_ONE
from edgecam.tools.convert import control_flow, detector, posenet, sizes, ssd_graph, tfjs
from edgecam.tools.convert.beside import Description, description
from edgecam.tools.convert.colours import rgb
from edgecam.tools.convert.conversion import UNSTATED, Converted, Options
from edgecam.tools.convert.cut import cut
from edgecam.tools.convert.float16 import halve
from edgecam.tools.convert.graph import ConvertError, Graph
from edgecam.tools.convert.layout import channels_last
from edgecam.tools.convert.lower import lower
from edgecam.tools.convert.writer import write

_NOTHING_SAID = Description()


def convert(source: Path, options: Options) -> Converted:
    """Convert ``model.json`` and the shards beside it.

    Raises:
        ConvertError: the model is damaged, holds ops that do not convert, or takes no picture.
    """
    return from_graph(tfjs.read(source), source.stem, options, description(source))


def from_graph(
    graph: Graph, name: str, options: Options, said: Description = _NOTHING_SAID
) -> Converted:
    """Convert a graph with one picture as its input; ``name`` is for the file's description.

    ``said``: labels and normalisation from elsewhere; labels that do not fit are left out.

    Raises:
        ConvertError: as ``convert``.
    """
    resolved = control_flow.resolve(graph)
    graph = resolved.graph
    asked = options.postprocess is not None or options.labels is not None
    is_cut = bool(options.inputs or options.outputs)
    if is_cut:
        if asked:
            raise ConvertError("--postprocess, --raw and --labels do not go with a cut graph")
        graph = cut(graph, options.inputs, options.outputs, options.size)
    elif asked or ssd_graph.is_detector(graph):
        if options.bgr:
            raise ConvertError("--bgr does not go with an SSD: published ones take RGB")
        return detector.convert(graph, options)
    graph = channels_last(graph)
    image, shape = _image(graph)
    notes = [*resolved.notes]
    names = None if is_cut else posenet.outputs_by_name(graph)
    if names is not None:
        graph = replace(graph, outputs=tuple(names))
        wanted = options.size or posenet.own_size(shape)
        step = _posenet_step(graph, image, shape[3], names)
        size = posenet.valid_size(wanted, step)
        normalization = options.normalization or posenet.normalization(graph)
        name = "PoseNet"
        if size != wanted:
            notes.append(
                f"PoseNet wants sides of {step}n+1 pixels: {size[0]}x{size[1]} instead of "
                f"{wanted[0]}x{wanted[1]}"
            )
    else:
        size = options.size or (shape[1], shape[2])
        stated = options.normalization or said.normalization
        normalization = stated or MINUS_ONE_TO_ONE
        if stated is None:
            notes.append(UNSTATED)
        graph = sizes.relative(graph, image, shape, size)
    if min(size) < 1:
        raise ConvertError(f"the input {image!r} has no fixed size; give --size HEIGHTxWIDTH")
    if options.bgr:
        graph = rgb(graph, image)
    model = lower(graph, {image: (1, *size, shape[3])}, names)
    shapes = [model.tensors[place].shape for place in model.outputs]
    fits = bool(said.labels) and shapes == [(1, len(said.labels))]
    data = write(
        halve(model) if options.half else model,
        name,
        normalization,
        said.labels if fits else (),
        0 if fits else None,
        guessed=UNSTATED in notes,
    )
    return Converted(data, notes)


def _posenet_step(graph: Graph, image: str, channels: int, names: Mapping[str, str]) -> int:
    """Lower the graph once at a size that suits every stride, to see its grid."""
    side = posenet.DEFAULT_SIZE[0]
    model = lower(graph, {image: (1, side, side, channels)}, names)
    heatmap = next(p for p in model.outputs if model.tensors[p].name == posenet.OUTPUTS[0])
    return posenet.size_step(tuple(model.tensors[heatmap].shape), side)


def _image(graph: Graph) -> tuple[str, tuple[int, ...]]:
    """Return the input's (name, shape), -1 where the graph leaves a side open."""
    shapes = {name: graph.node(name).attributes.get("shape") for name in graph.inputs}
    if len(shapes) == 1:
        ((name, shape),) = shapes.items()
        if shape is None:
            return name, (1, -1, -1, 3)
        if len(shape) == 4 and shape[3] in (1, 3):
            return name, shape
    found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    raise ConvertError(f"expected one picture [1, H, W, 3] as the input, found: {found or 'none'}")
