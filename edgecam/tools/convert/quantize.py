"""A float .tflite to a smaller one: float16 weights, int8 weights, or int8 altogether."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.inference.tflite import metadata as tflite_metadata
from edgecam.inference.tflite.file import ModelFile, read
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.recipe import CALIBRATED, Mode, recipe
from edgecam.tools.convert.rewrite import rewrite, widen

# Ranges are widened to this many significant bits: another processor rounds its sums otherwise
# in the last place, and would make another file of the same model and pictures.
_RANGE_BITS = 8


def quantize(model: ModelFile, mode: Mode, pictures: Iterable[NDArray[np.float32]]) -> bytes:
    """Return the model quantised, with its metadata and packed files; the same bytes every time.

    ``pictures`` are inputs, float32[1, H, W, 3], normalised; only the int8 modes look at them.

    Raises:
        ConvertError: the model is quantised already, litert-quantizer is missing or gives it up.
    """
    packed = tflite_metadata.metadata(model).files
    if any(tensor.type == "FLOAT16" for tensor in model.main.tensors):
        model = read(widen(model.data, packed), model.name)
    _check_float(model)
    plan = recipe(model, mode)
    from litert_quantizer import quantizer

    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        # The library draws a bar for each picture, and warns that calibration keeps all tensors.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        ranges = _ranges(model, plan, pictures) if mode in CALIBRATED else None
        made = quantizer.Quantizer(model.data, plan.get_quantization_recipe())
        try:
            result = made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        except (ValueError, RuntimeError) as error:
            raise ConvertError(f"{model.name} cannot be quantised as {mode}: {error}") from None
    data = rewrite(bytes(result.quantized_model), packed)
    _check_metadata(model, read(data, model.name))
    return data


def _check_float(model: ModelFile) -> None:
    constants = [t for t in model.main.tensors if t.is_constant and t.size_bytes > 4]
    kinds = {tensor.type for tensor in constants}
    if model.inputs[0].dtype != np.float32 or kinds & {"INT8", "UINT8", "INT16"}:
        found = ", ".join(sorted(kinds))
        raise ConvertError(
            f"{model.name}: expected a float model, found an input of "
            f"{model.inputs[0].dtype} and constants of {found.lower()}; quantise the float "
            "model that it was made from"
        )


def _check_metadata(before: ModelFile, after: ModelFile) -> None:
    lost = [
        name for name, value in before.metadata.items() if after.metadata.get(name, b"") != value
    ]
    if lost or tflite_metadata.metadata(before) != tflite_metadata.metadata(after):
        raise ConvertError(f"quantising {before.name} lost its metadata {', '.join(lost)}")


def _ranges(model: ModelFile, plan: Any, pictures: Iterable[NDArray[np.float32]]) -> dict[str, Any]:
    """The least and largest value of each activation over all pictures.

    A moving average, the library's default, clips the rare high values that are a PoseNet's
    keypoints.
    """
    from litert_quantizer import calibrator
    from litert_quantizer.utils import qsv_utils

    calibration = calibrator.Calibrator(
        model.data, num_threads=2, qsv_update_func=qsv_utils.min_max_update
    )
    signatures = calibration.get_signature_list()
    if len(signatures) != 1:
        raise ConvertError(
            f"{model.name}: expected one signature, found {len(signatures)}; make the float model "
            "with edgecam convert"
        )
    ((key, signature),) = signatures.items()
    seen = 0
    for tensor in pictures:
        calibration.calibrate({key: [{signature["inputs"][0]: tensor}]}, plan)
        seen += 1
    if not seen:
        raise ConvertError("calibration got no picture; name a directory or clip that has some")
    activations = {tensor.name for tensor in model.main.tensors if not tensor.is_constant}
    return {
        name: {key: _widened(values) for key, values in range_.items()}
        if name in activations
        else range_
        for name, range_ in calibration.get_model_qsvs().items()
    }


def _widened(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each value away from 0 to the next one of few significant bits."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    steps = np.sign(mantissa) * np.ceil(np.abs(mantissa) * 2**_RANGE_BITS)
    return np.asarray(np.ldexp(steps / 2**_RANGE_BITS, exponent), np.float32)
