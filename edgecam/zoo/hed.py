"""A holistically nested edge detector on a thin MobileNetV2.

Source: Xie and Tu, "Holistically-nested edge detection" (ICCV 2015): a side output at each of
five scales, all trained on the edges, and their fusion; the trunk is the inverted residuals of
Sandler et al., "MobileNetV2" (CVPR 2018), with each scale also given what the coarser one knows.
Upsampling is bilinear: it has no weights, and is faster than a transposed convolution.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

INPUT_SIZE = 256
OUTPUT_SIZE = 128
_MOMENTUM = 0.97

# Stride, channels, number of blocks: each row is one scale, and ends in a side output.
_TRUNK = ((1, 8, 1), (2, 12, 2), (2, 16, 3), (2, 32, 3), (2, 56, 3))
# Channels of the way back up, finest scale first.
_TOP_DOWN = (8, 16, 16, 24, 24)
_EXPANSION = 4
_STEM = 12


def _convolution(
    x: Any, channels: int, size: int = 1, stride: int = 1, linear: bool = False
) -> Any:
    x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM)(x)
    return x if linear else layers.ReLU(6.0)(x)


def _depthwise(x: Any, stride: int = 1) -> Any:
    x = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(x)
    return layers.ReLU(6.0)(layers.BatchNormalization(momentum=_MOMENTUM)(x))


def _inverted_residual(x: Any, channels: int, stride: int, expansion: int) -> Any:
    y = _convolution(x, int(x.shape[-1]) * expansion) if expansion > 1 else x
    y = _convolution(_depthwise(y, stride), channels, linear=True)
    return layers.Add()([x, y]) if stride == 1 and int(x.shape[-1]) == channels else y


def _enlarged(x: Any, factor: int) -> Any:
    return layers.UpSampling2D(factor, interpolation="bilinear")(x) if factor > 1 else x


def hed() -> Any:
    """The network in training: the fused edges, then the five side outputs, finest first.

    Input float32[N, 256, 256, 3], RGB, -1..1. Each output is float32[N, 128, 128, 1], logits.
    """
    image = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), name="image")
    x = _convolution(image, _STEM, 3, 2)
    scales: list[Any] = []
    for stride, channels, blocks in _TRUNK:
        for block in range(blocks):
            # As in MobileNetV2 the first block, at the finest scale, does not expand.
            expansion = _EXPANSION if scales else 1
            x = _inverted_residual(x, channels, stride if block == 0 else 1, expansion)
        scales.append(x)
    sides: list[Any] = []
    above = None
    for level in reversed(range(len(scales))):
        y = _convolution(scales[level], _TOP_DOWN[level], linear=True)
        if above is not None:
            narrowed = _convolution(above, _TOP_DOWN[level], linear=True)
            y = layers.Add()([y, _enlarged(narrowed, 2)])
        above = _convolution(_depthwise(layers.ReLU(6.0)(y)), _TOP_DOWN[level])
        side = layers.Conv2D(1, 1)(above)
        sides.insert(0, layers.Identity(name=f"side_{level + 1}")(_enlarged(side, 1 << level)))
    fused = layers.Conv2D(1, 1, name="fuse")(layers.Concatenate()(sides))
    return keras.Model(image, [fused, *sides], name="hed")


def exported(network: Any) -> Any:
    """The network as it ships: only the fused edges, as probabilities float32[N, 128, 128, 1]."""
    edges = layers.Activation("sigmoid", name="edges")(network.outputs[0])
    return keras.Model(network.inputs, edges, name="hed")
