"""What both MobileNets are built of: a convolution, its normalisation, its activation."""

from __future__ import annotations

from typing import Any

from edgecam.tools.convert.tensorflow_load import open_tensorflow

# Both papers' code: slim/nets/mobilenet_v1.py (0.999 for inference's averages), Keras' own.
BN_MOMENTUM, _BN_EPSILON = 0.99, 1e-3


def open_keras() -> Any:
    """Return Keras as TensorFlow has it.

    Raises:
        ConvertError: TensorFlow is not installed.
    """
    return open_tensorflow().keras


class Layers:
    """Adds layers to a tensor under the names that Keras' own MobileNets have.

    ``normalised``: batch normalisation behind each convolution, which has no bias then. Without,
    it has one: the form that a network has once its normalisation is folded. ``momentum`` is that
    of its averages.
    """

    def __init__(self, normalised: bool = True, momentum: float = BN_MOMENTUM) -> None:
        self.keras = open_keras()
        self._normalised, self._momentum = normalised, momentum

    def image(self, size: tuple[int, int] | tuple[None, None]) -> Any:
        """Return the input, float32[N, H, W, 3] in -1..1; (None, None) leaves its sides open."""
        return self.keras.layers.Input((*size, 3), name="image")

    def convolution(
        self, tensor: Any, filters: int, kernel: int, stride: int, name: str, bn: str
    ) -> Any:
        """Add a convolution and its normalisation ``bn``; no activation."""
        found = self.keras.layers.Conv2D(
            filters, kernel, stride, "same", use_bias=not self._normalised, name=name
        )(tensor)
        return self._normalise(found, bn)

    def depthwise(self, tensor: Any, stride: int, rate: int, name: str, bn: str) -> Any:
        """Add a depthwise 3x3 convolution, dilated by ``rate``, and its normalisation."""
        found = self.keras.layers.DepthwiseConv2D(
            3, stride, "same", dilation_rate=rate, use_bias=not self._normalised, name=name
        )(tensor)
        return self._normalise(found, bn)

    def _normalise(self, tensor: Any, name: str) -> Any:
        if not self._normalised:
            return tensor
        return self.keras.layers.BatchNormalization(
            momentum=self._momentum, epsilon=_BN_EPSILON, name=name
        )(tensor)

    def relu6(self, tensor: Any, name: str) -> Any:
        """Add the activation of both networks."""
        return self.keras.layers.ReLU(6.0, name=name)(tensor)


class Strides:
    """Turn strides into dilation once the output stride is reached, as PoseNet's do.

    Source: DeepLab's ``output_stride`` in slim/nets/mobilenet_v1.py.
    """

    def __init__(self, output_stride: int) -> None:
        self._output_stride = output_stride
        self._reached, self._rate = 2, 1  # the first convolution's

    def next(self, stride: int) -> tuple[int, int]:
        """Return the stride and the dilation of a layer that would have ``stride``."""
        rate = self._rate
        if self._reached == self._output_stride:
            self._rate *= stride
            return 1, rate
        self._reached *= stride
        return stride, rate
