"""MobileNet V1: Howard et al., "MobileNets" (2017), table 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edgecam.tools.train.layers import Layers, Strides

# Filters and stride of the 13 depthwise separable layers.
_LAYERS: Final = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
    (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
_FIRST = 32
_SHORT = (*_LAYERS[:11], *_LAYERS[9:11])


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """``maps``: feature maps by the name of the layer that makes them; ``features`` the last one.

    ``ends`` are what its blocks end in, in order. ``layers`` adds further ones in the same manner.
    """

    image: Any
    features: Any
    maps: dict[str, Any]
    ends: tuple[Any, ...]
    layers: Layers

    @property
    def scales(self) -> tuple[Any, ...]:
        """The last end of each size, the finest first; of a backbone of a fixed size."""
        last = {tuple(end.shape[1:3]): end for end in self.ends}
        return tuple(last.values())


def build(
    alpha: float = 1.0,
    size: tuple[int, int] | tuple[None, None] = (224, 224),
    *,
    output_stride: int = 32,
    normalised: bool = True,
    short: bool = False,
) -> Backbone:
    """Return the network up to ``conv_pw_13_relu``.

    ``alpha``: the width multiplier; ``size``: (height, width). ``output_stride`` below 32 keeps
    the later maps that large and dilates instead. ``short``: the last two layers
    are as those before them, as in the published PoseNets, so that the stride stays 16.

    Raises:
        ConvertError: TensorFlow is not installed.
    """
    layers, strides = Layers(normalised), Strides(output_stride)
    image = layers.image(size)
    found = layers.convolution(image, int(_FIRST * alpha), 3, 2, "conv1", "conv1_bn")
    found = layers.relu6(found, "conv1_relu")
    maps = {}
    for number, (filters, wanted) in enumerate(_SHORT if short else _LAYERS, 1):
        stride, rate = strides.next(wanted)
        name = f"conv_dw_{number}"
        found = layers.depthwise(found, stride, rate, name, f"{name}_bn")
        found = layers.relu6(found, f"{name}_relu")
        name = f"conv_pw_{number}"
        found = layers.convolution(found, int(filters * alpha), 1, 1, name, f"{name}_bn")
        found = layers.relu6(found, f"{name}_relu")
        maps[f"{name}_relu"] = found
    return Backbone(image, found, maps, tuple(maps.values()), layers)
