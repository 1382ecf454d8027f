"""An SSD's TFLite file: the model with its labels, anchors and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecam.inference import labels
from edgecam.tools.convert import metadata, ssd
from edgecam.tools.convert.conversion import Converted, Options
from edgecam.tools.convert.float16 import halve
from edgecam.tools.convert.graph import Graph
from edgecam.tools.convert.writer import write


def convert(graph: Graph, options: Options) -> Converted:
    """Convert a graph of the Object Detection API, with post-processing if nothing else is asked.

    Raises:
        ConvertError: it is none, holds ops that do not convert, or does not fit the size.
        ModelError: the label file cannot be read or does not fit the classes.
    """
    inside = not options.for_tfjs if options.postprocess is None else options.postprocess
    made = ssd.convert(graph, options.size, postprocess=inside)
    data = write(
        halve(made.model) if options.half else made.model,
        "SSD",
        options.normalization or made.normalization,
        _labels(options.labels, made),
        made.label_place,
        made.label_kind,
        made.extra,
    )
    height, width = made.size_px
    plural = "" if made.classes == 1 else "es"
    notes = [f"SSD of {made.classes} class{plural} for {height}x{width}, {made.anchors} anchors"]
    if options.for_tfjs:
        notes.append(
            "its outputs are raw: the page decodes boxes by the anchors and drops overlaps"
        )
    elif options.labels is None:
        notes.append("the graph holds no labels: give --labels FILE to pack them into the model")
    return Converted(data, notes)


def _labels(path: Path | None, made: ssd.Detector) -> Sequence[str]:
    if path is None:
        return ()
    found = labels.load(path)
    if made.label_kind == metadata.VALUE_LABELS:
        return labels.fit(found, made.classes, "the model")
    return labels.fit_with_background(found, made.classes + 1, "the model")
