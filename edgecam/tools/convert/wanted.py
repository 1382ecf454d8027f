"""What a model's input wants, as a run would have it: its normalisation and its fit."""

from __future__ import annotations

import numpy as np

from edgecam.core.errors import ModelError
from edgecam.core.tensors import Normalization, TensorInfo
from edgecam.inference.decoders import context_of, recognise
from edgecam.inference.tflite import metadata as tflite_metadata
from edgecam.inference.tflite.file import ModelFile
from edgecam.tools.convert.graph import ConvertError


def normalization(file: ModelFile, image: TensorInfo) -> Normalization:
    """Return what the input ``image`` wants, as ``Model`` would have it of the whole network.

    Raises:
        ConvertError: neither the file nor its family says it.
    """
    stated = tflite_metadata.normalization(tflite_metadata.metadata(file), file.name)
    if stated is not None:
        return stated
    if image.dtype.kind != "f":
        # Raw pixels, less 128 for int8: what its quantisation makes of them.
        scale, point = image.scale or 1.0, float(image.zero_point or 0)
        mean, std = point + (128.0 if image.dtype == np.int8 else 0.0), 1.0 / scale
        return Normalization((mean,) * 3, (std,) * 3)
    try:
        return recognise(file.inputs, file.outputs, context_of(file)).normalization
    except ModelError:
        raise ConvertError(
            f"{file.name} does not say how its input is normalised: convert it again, with "
            "--mean and --std"
        ) from None
