"""Which layers of a model are quantised, and how: what each mode means."""

from __future__ import annotations

import re
from typing import Any, Literal

from edgecam.inference.tflite.file import ModelFile
from edgecam.tools.convert.graph import ConvertError

Mode = Literal["fp16", "dynamic", "int8", "int8-mixed"]
CALIBRATED: frozenset[Mode] = frozenset({"int8", "int8-mixed"})

_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
# MobileNet V1's Conv2d_0 to Conv2d_3: the first one, then three depthwise and pointwise pairs.
# Their few channels have weights and activations of very different sizes, and what is lost there
# is lost for all that follows: PoseNet of 353x481 has 19.8 AP with them in int8, 21.0 without,
# 21.1 in float.
_SENSITIVE_LAYERS = 7


def heads(model: ModelFile) -> set[int]:
    """Places of the operations from the outputs back to the first that has weights, with it.

    An output in int8 has 256 values for offsets of -100 to 80 pixels or scores near 0.
    """
    graph = model.main
    makers = {tensor: place for place, op in enumerate(graph.ops) for tensor in op.outputs}
    found: set[int] = set()
    waiting = [makers[tensor] for tensor in graph.outputs if tensor in makers]
    while waiting:
        place = waiting.pop()
        if place in found:
            continue
        found.add(place)
        if graph.ops[place].name not in _WEIGHTED:
            waiting += [makers[t] for t in graph.ops[place].inputs if t in makers]
    return found


def sensitive(model: ModelFile) -> set[int]:
    """Places of the first operations, up to the last sensitive layer."""
    weighted = [place for place, op in enumerate(model.main.ops) if op.name in _WEIGHTED]
    if len(weighted) <= _SENSITIVE_LAYERS:
        raise ConvertError(
            f"{model.name} has {len(weighted)} layers with weights, and int8-mixed leaves the "
            f"first {_SENSITIVE_LAYERS} in float; use int8"
        )
    return set(range(weighted[_SENSITIVE_LAYERS - 1] + 1))


def _scope(model: ModelFile, places: set[int]) -> str:
    """A regular expression for the operations as litert-quantizer calls them: by outputs."""
    ops = model.main.ops
    names = (
        "".join(f"{model.main.tensors[tensor].name};" for tensor in ops[place].outputs)
        for place in sorted(places)
    )
    return "^(" + "|".join(re.escape(name) for name in names) + ")$"


def recipe(model: ModelFile, mode: Mode) -> Any:
    """The recipe manager of litert-quantizer that says what ``mode`` means for this model.

    Weights are quantised per channel; per tensor a PoseNet finds no people. int8 modes keep inputs
    and outputs float and leave the layers that make the outputs alone, int8-mixed the first ones
    too. Custom operations are never touched.

    Raises:
        ConvertError: litert-quantizer is not installed, or the model is too small for the mode.
    """
    try:
        from litert_quantizer import algorithm_manager, qtyping, recipe_manager
    except ImportError as error:
        raise ConvertError(
            f"quantising needs litert-quantizer ({error}); install edgecam with the extra "
            "[quantize]: pip install 'edgecam[quantize]'"
        ) from None
    algorithms, operations = algorithm_manager.AlgorithmName, qtyping.TFLOperationName
    manager = recipe_manager.RecipeManager()
    everything = {"regex": ".*", "operation_name": operations.ALL_SUPPORTED}
    if mode == "fp16":
        casting = algorithms.FLOAT_CASTING
        manager.add_weight_only_config(**everything, num_bits=16, algorithm_key=casting)
        return manager
    if mode == "dynamic":
        manager.add_dynamic_config(**everything, num_bits=8)
        return manager
    manager.add_static_config(**everything, activation_num_bits=8, weight_num_bits=8)
    spared = heads(model) | (sensitive(model) if mode == "int8-mixed" else set())
    untouched = algorithms.NO_QUANTIZE
    manager.add_quantization_config(
        _scope(model, spared), operations.ALL_SUPPORTED, algorithm_key=untouched
    )
    for end in (operations.INPUT, operations.OUTPUT):
        manager.add_quantization_config(".*", end, algorithm_key=untouched)
    return manager
