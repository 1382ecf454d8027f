"""A TFLite model with Coral's PoseNet decoder to one without, which any runtime takes."""

from __future__ import annotations

from pathlib import Path

from edgecam.inference.tflite.cut import cut_custom_op
from edgecam.inference.tflite.file import POSENET_DECODER_OP, custom_ops, read
from edgecam.tools.convert.conversion import Converted, Options
from edgecam.tools.convert.graph import ConvertError


def convert(source: Path, options: Options) -> Converted:
    """Cut the decoder op off; weights stay byte for byte.

    Raises:
        ConvertError: the model has no such op, or something else is asked of it.
        ModelError: the file cannot be read.
    """
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
