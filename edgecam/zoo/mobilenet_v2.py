"""MobileNet V2: Sandler et al., "MobileNetV2" (2018), table 2."""

from __future__ import annotations

from typing import Any, Final

from edgecam.zoo.layers import Layers, Strides
from edgecam.zoo.mobilenet_v1 import Backbone

# Expansion, filters, repeats and first stride of the inverted residual blocks.
_BLOCKS: Final = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_FIRST, _LAST = 32, 1280
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
) -> Backbone:
    """Return the network up to ``out_relu``; what is asked is as for V1.

    The last layer is never thinner than at ``alpha`` 1 (section 4 of the paper).

    Raises:
        ConvertError: TensorFlow is not installed.
    """
    layers, strides = Layers(normalised), Strides(output_stride)
    image = layers.image(size)
    found = layers.convolution(image, channels(_FIRST * alpha), 3, 2, "Conv1", "bn_Conv1")
    found = layers.relu6(found, "Conv1_relu")
    maps: dict[str, Any] = {}
    number = 0
    for expansion, filters, repeats, first_stride in _BLOCKS:
        for repeat in range(repeats):
            stride, rate = strides.next(first_stride if repeat == 0 else 1)
            width = channels(filters * alpha)
            found = _block(layers, found, number, expansion, width, stride, rate, maps)
            number += 1
    last = channels(_LAST * alpha) if alpha > 1.0 else _LAST
    found = layers.convolution(found, last, 1, 1, "Conv_1", "Conv_1_bn")
    found = layers.relu6(found, "out_relu")
    maps["out_relu"] = found
    return Backbone(image, found, maps, layers)


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
