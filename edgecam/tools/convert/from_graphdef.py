"""TensorFlow's frozen graph to TFLite: SSDs of the Object Detection API, others as they are."""

from __future__ import annotations

from pathlib import Path

from edgecam.tools.convert import graphdef
from edgecam.tools.convert.conversion import Converted, Options
from edgecam.tools.convert.from_tfjs import from_graph


def convert(source: Path, options: Options) -> Converted:
    """Convert a ``.pb`` of frozen variables.

    Raises:
        ConvertError: it is damaged, holds ops that do not convert, or takes no picture.
    """
    return from_graph(graphdef.read(source), source.stem, options)
