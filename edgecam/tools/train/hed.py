"""The document edge network: a holistically nested edge detector on a thin MobileNetV2."""

from __future__ import annotations

from typing import Any, Final

from edgecam.tools.train import heads, mobilenet_v2
from edgecam.tools.train.layers import open_keras

INPUT_SIZE: Final = 256
OUTPUT_SIZE: Final = 128
# Each row is one scale, and ends in a side output; there is no last convolution, which would be
# most of the network.
_PLAN: Final = mobilenet_v2.Plan(
    12, ((1, 8, 1, 1), (4, 12, 2, 2), (4, 16, 3, 2), (4, 32, 3, 2), (4, 56, 3, 2)), None
)
_TOP_DOWN: Final = (8, 16, 16, 24, 24)
_MOMENTUM = 0.97  # its averages have to follow a training of an hour


def hed(enlarge: heads.Enlarge = heads.bilinear) -> Any:
    """The network in training: the fused edges, then the five side outputs, finest first.

    Input float32[N, 256, 256, 3], RGB, -1..1. Each output is float32[N, 128, 128, 1], logits.

    Raises:
        ConvertError: TensorFlow is not installed.
    """
    size = (INPUT_SIZE, INPUT_SIZE)
    backbone = mobilenet_v2.build(size=size, plan=_PLAN, momentum=_MOMENTUM)
    return heads.hed(backbone, _TOP_DOWN, enlarge)


def exported(network: Any) -> Any:
    """The network as it ships: only the fused edges, as probabilities float32[N, 128, 128, 1]."""
    keras = open_keras()
    edges = keras.layers.Activation("sigmoid", name="edges")(network.outputs[0])
    return keras.Model(network.inputs, edges, name="hed")
