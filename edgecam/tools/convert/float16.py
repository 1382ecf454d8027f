"""Weights as float16: half the file, the same speed, because the runtime widens them at load."""

from __future__ import annotations

import numpy as np

from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.lite import LiteModel, LiteOperator

_DEQUANTIZE_VERSION = 3  # the first that takes float16
_LARGEST = float(np.finfo(np.float16).max)


def halve(model: LiteModel) -> LiteModel:
    """Return the model with float32 constants as float16, each behind a DEQUANTIZE operator.

    Constants of custom ops stay as they are: nothing widens them.

    Raises:
        ConvertError: a weight is too large for float16.
    """
    halved = LiteModel([*model.tensors], [], [*model.inputs], [*model.outputs])
    custom = {p for op in model.operators if op.custom is not None for p in op.inputs if p >= 0}
    widened: dict[int, int] = {}
    for place, tensor in enumerate(model.tensors):
        if tensor.data is None or tensor.dtype != "float32" or place in custom:
            continue
        largest = float(np.abs(tensor.data).max(initial=0.0))
        if not largest <= _LARGEST:
            raise ConvertError(
                f"the weights {tensor.name} reach {largest:g}, expected at most {_LARGEST:g} for "
                "float16; convert without --quantize fp16"
            )
        narrow = halved.constant(f"{tensor.name}_float16", tensor.data.astype(np.float16))
        widened[place] = halved.tensor(tensor.name, tensor.shape)
        halved.operators.append(
            LiteOperator("DEQUANTIZE", (narrow,), (widened[place],), version=_DEQUANTIZE_VERSION)
        )
    for operator in model.operators:
        inputs = tuple(widened.get(place, place) for place in operator.inputs)
        halved.operators.append(
            LiteOperator(
                operator.op,
                inputs,
                operator.outputs,
                operator.options,
                operator.version,
                operator.custom,
            )
        )
    return _without_unused(halved)


def _without_unused(model: LiteModel) -> LiteModel:
    """Return the model without the constants that nothing takes any more."""
    used = {place for op in model.operators for place in (*op.inputs, *op.outputs) if place >= 0}
    used.update(model.inputs, model.outputs)
    kept = sorted(used)
    to = {old: new for new, old in enumerate(kept)} | {-1: -1}
    operators = [
        LiteOperator(
            op.op,
            tuple(to[place] for place in op.inputs),
            tuple(to[place] for place in op.outputs),
            op.options,
            op.version,
            op.custom,
        )
        for op in model.operators
    ]
    return LiteModel(
        [model.tensors[place] for place in kept],
        operators,
        [to[place] for place in model.inputs],
        [to[place] for place in model.outputs],
    )
