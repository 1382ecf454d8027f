"""A TFLite model with Coral's PoseNet decoder to one without, which any runtime takes."""

from __future__ import annotations

from pathlib import Path

from edgecam.convert.conversion import Converted, Options
from edgecam.convert.graph import ConvertError
from edgecam.tflite_cut import cut_custom_op
from edgecam.tflite_file import POSENET_DECODER_OP, custom_ops, read


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
