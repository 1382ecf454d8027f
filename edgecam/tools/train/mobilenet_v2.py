"""MobileNet V2: Sandler et al., "MobileNetV2" (2018), table 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edgecam.tools.train.layers import BN_MOMENTUM, Layers, Strides
from edgecam.tools.train.mobilenet_v1 import Backbone


@dataclass(frozen=True, slots=True)
class Plan:
    """``first``: filters of the first convolution. ``blocks``: expansion, filters, repeats and
    first stride of the inverted residuals. ``last``: filters of the last convolution, if any.
    """

    first: int
    blocks: tuple[tuple[int, int, int, int], ...]
    last: int | None


PUBLISHED: Final = Plan(
    32,
    (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ),
    1280,
)
_DIVISOR = 8


def channels(filters: float) -> int:
    """Round to a multiple of 8, and not below nine tenths of it.

    Source: ``_make_divisible``, slim/nets/mobilenet/mobilenet.py.
    """
    rounded = max(_DIVISOR, int(filters + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return rounded + _DIVISOR if rounded < 0.9 * filters else rounded


def build(
    alpha: float = 1.0,
    size: tuple[int, int] | tuple[None, None] = (224, 224),
    *,
    output_stride: int = 32,
    normalised: bool = True,
    plan: Plan = PUBLISHED,
    momentum: float = BN_MOMENTUM,
) -> Backbone:
    """Return the network up to ``out_relu``, or its last block; what is asked is as for V1.

    At ``alpha`` 1 its widths are those of the plan. The last layer is never thinner than that
    (section 4 of the paper). ``momentum`` is that of batch normalisation.

    Raises:
        ConvertError: TensorFlow is not installed.
    """

    def width(filters: int) -> int:
        return filters if alpha == 1.0 else channels(filters * alpha)

    layers, strides = Layers(normalised, momentum), Strides(output_stride)
    image = layers.image(size)
    found = layers.convolution(image, width(plan.first), 3, 2, "Conv1", "bn_Conv1")
    found = layers.relu6(found, "Conv1_relu")
    maps: dict[str, Any] = {}
    ends: list[Any] = []
    for expansion, filters, repeats, first_stride in plan.blocks:
        for repeat in range(repeats):
            stride, rate = strides.next(first_stride if repeat == 0 else 1)
            found = _block(layers, found, len(ends), expansion, width(filters), stride, rate, maps)
            ends.append(found)
    if plan.last is not None:
        last = max(plan.last, width(plan.last))
        found = layers.convolution(found, last, 1, 1, "Conv_1", "Conv_1_bn")
        found = layers.relu6(found, "out_relu")
        maps["out_relu"] = found
        ends.append(found)
    return Backbone(image, found, maps, tuple(ends), layers)


def _block(
    layers: Layers,
    tensor: Any,
    number: int,
    expansion: int,
    width: int,
    stride: int,
    rate: int,
    maps: dict[str, Any],
) -> Any:
    """Expand, filter by channel, project; add the input where the shape stays."""
    name = f"block_{number}" if number else "expanded_conv"
    taken = tensor.shape[-1]
    found = tensor
    if number:
        found = layers.convolution(
            found, expansion * taken, 1, 1, f"{name}_expand", f"{name}_expand_BN"
        )
        found = layers.relu6(found, f"{name}_expand_relu")
        maps[f"{name}_expand_relu"] = found
    found = layers.depthwise(found, stride, rate, f"{name}_depthwise", f"{name}_depthwise_BN")
    found = layers.relu6(found, f"{name}_depthwise_relu")
    found = layers.convolution(found, width, 1, 1, f"{name}_project", f"{name}_project_BN")
    if taken == width and stride == 1:
        found = layers.keras.layers.Add(name=f"{name}_add")([tensor, found])
    return found
