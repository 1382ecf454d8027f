"""What stands on a backbone: classes, poses, boxes or edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edgecam.core.keypoints import EDGES, NAMES
from edgecam.tools.convert.posenet import OUTPUTS
from edgecam.tools.train.layers import Layers
from edgecam.tools.train.mobilenet_v1 import Backbone

ENCODINGS, SCORES = "box_encodings", "class_scores"
# Depths of the layers behind V2's last one, at alpha 1; source: the Object Detection API's
# ssd_mobilenet_v2_feature_extractor.py (512, 256, 256, 128, at least 16).
_EXTRA: Final = (512, 256, 256, 128)
_MIN_DEPTH = 16
# A focal loss begins with every anchor being nothing; source: Lin et al. (2017), section 4.1.
_PRIOR = 0.01


def classifier(
    backbone: Backbone, classes: int, *, pooled: bool = True, hidden: int | None = None
) -> Any:
    """Return a Keras model of probabilities float32[N, classes].

    ``pooled``: global average pooling, else all cells side by side. ``hidden``: width of a dense
    layer with ReLU between.
    """
    layers = backbone.layers.keras.layers
    pooling = layers.GlobalAveragePooling2D(name="pool") if pooled else layers.Flatten(name="flat")
    found = pooling(backbone.features)
    if hidden is not None:
        found = layers.Dense(hidden, activation="relu", name="hidden")(found)
    found = layers.Dense(classes, activation="softmax", name="predictions")(found)
    return backbone.layers.keras.Model(backbone.image, found)


def posenet(backbone: Backbone) -> Any:
    """Return a Keras model of PoseNet's four outputs, by their names in ``convert.posenet``.

    Heatmaps are logits, offsets and displacements pixels over the output stride until
    ``in_pixels``.
    """
    keras = backbone.layers.keras
    widths = (len(NAMES), 2 * len(NAMES), 2 * len(EDGES), 2 * len(EDGES))
    return keras.Model(
        backbone.image,
        {
            name: keras.layers.Conv2D(width, 1, name=name)(backbone.features)
            for name, width in zip(OUTPUTS, widths, strict=True)
        },
    )


def in_pixels(model: Any, stride: int) -> None:
    """Make a trained PoseNet's offsets and displacements pixels: what decoders take."""
    for name in OUTPUTS[1:]:
        layer = model.get_layer(name)
        layer.set_weights([stride * values for values in layer.get_weights()])


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """``model`` gives ENCODINGS float32[N, A, 4] and SCORES float32[N, A, 1 + classes], 0..1.

    ``sides`` are (height, width) of its maps, in the order of its anchors; the first one has 3
    anchors in a cell, the others 6.
    """

    model: Any
    sides: tuple[tuple[int, int], ...]


def ssd(backbone: Backbone, alpha: float, classes: int, *, lite: bool = True) -> Detector:
    """Return SSD's heads on V2, or on V1 of a fixed size; ``lite`` has separable convolutions.

    Source: Sandler et al. (2018), section 6.2: from the expansion of layer 15 and the last layer.
    """
    last, middle = backbone.features, ("block_13_expand_relu", "conv_pw_11_relu")
    maps = [next(backbone.maps[name] for name in middle if name in backbone.maps), last]
    for number, depth in enumerate(_EXTRA, 2):
        maps.append(_extra(backbone, maps[-1], max(_MIN_DEPTH, int(depth * alpha)), number, lite))
    keras = backbone.layers.keras
    encodings: list[Any] = []
    scores: list[Any] = []
    for number, found in enumerate(maps):
        anchors = 6 if number else 3
        for parts, width, name in ((encodings, 4, "boxes"), (scores, classes + 1, "classes")):
            made = _predictor(backbone, found, anchors * width, f"{name}_{number}", lite)
            parts.append(keras.layers.Reshape((-1, width), name=f"{name}_{number}_rows")(made))
    boxes = keras.layers.Concatenate(1, name=ENCODINGS)(encodings)
    logits = keras.layers.Concatenate(1, name="class_logits")(scores)
    probabilities = keras.layers.Activation("sigmoid", name=SCORES)(logits)
    model = keras.Model(backbone.image, {ENCODINGS: boxes, SCORES: probabilities})
    return Detector(model, tuple((int(m.shape[1]), int(m.shape[2])) for m in maps))


def _extra(backbone: Backbone, tensor: Any, depth: int, number: int, lite: bool) -> Any:
    layers, name = backbone.layers, f"extra_{number}"
    squeezed = layers.convolution(
        tensor, max(_MIN_DEPTH, depth // 2), 1, 1, f"{name}_squeeze", f"{name}_squeeze_BN"
    )
    found = layers.relu6(squeezed, f"{name}_squeeze_relu")
    if lite:
        found = layers.depthwise(found, 2, 1, f"{name}_depthwise", f"{name}_depthwise_BN")
        found = layers.relu6(found, f"{name}_depthwise_relu")
    kernel, stride = (1, 1) if lite else (3, 2)
    found = layers.convolution(found, depth, kernel, stride, name, f"{name}_BN")
    return layers.relu6(found, f"{name}_relu")


def _predictor(backbone: Backbone, tensor: Any, width: int, name: str, lite: bool) -> Any:
    keras, found = backbone.layers.keras, tensor
    if lite:
        found = backbone.layers.depthwise(found, 1, 1, f"{name}_depthwise", f"{name}_depthwise_BN")
        found = backbone.layers.relu6(found, f"{name}_depthwise_relu")
    bias = float(-np.log((1.0 - _PRIOR) / _PRIOR)) if name.startswith("classes") else 0.0
    return keras.layers.Conv2D(
        width,
        1 if lite else 3,
        padding="same",
        bias_initializer=keras.initializers.Constant(bias),
        name=name,
    )(found)


# Gives a tensor that many times as high and wide, under that name.
Enlarge = Callable[[Layers, Any, int, str], Any]


def bilinear(layers: Layers, tensor: Any, factor: int, name: str) -> Any:
    """Enlarge without weights; faster than a transposed convolution (``Enlarge``)."""
    return layers.keras.layers.UpSampling2D(factor, interpolation="bilinear", name=name)(tensor)


def hed(backbone: Backbone, widths: Sequence[int], enlarge: Enlarge = bilinear) -> Any:
    """Return a Keras model of edges: the fused ones, then each scale's, the finest first.

    Each output is float32[N, H, W, 1], logits, of the size of the finest scale. ``widths`` are
    the channels on the way back up at each of ``backbone.scales``.

    Source: Xie and Tu, "Holistically-nested edge detection" (2015): a side output at each scale,
    all trained on the edges, and their fusion; here each scale is also given what the coarser one
    knows.
    """
    layers, keras = backbone.layers, backbone.layers.keras
    sides: list[Any] = []
    above = None
    for level, (tensor, width) in reversed([*enumerate(zip(backbone.scales, widths, strict=True))]):
        name = f"scale_{level + 1}"
        found = layers.convolution(tensor, width, 1, 1, f"{name}_lateral", f"{name}_lateral_BN")
        if above is not None:
            above = layers.convolution(above, width, 1, 1, f"{name}_above", f"{name}_above_BN")
            above = enlarge(layers, above, 2, f"{name}_above_enlarged")
            found = keras.layers.Add(name=f"{name}_add")([found, above])
        found = layers.relu6(found, f"{name}_relu")
        found = layers.depthwise(found, 1, 1, f"{name}_depthwise", f"{name}_depthwise_BN")
        found = layers.relu6(found, f"{name}_depthwise_relu")
        found = layers.convolution(found, width, 1, 1, f"{name}_project", f"{name}_project_BN")
        above = layers.relu6(found, f"{name}_project_relu")
        side = keras.layers.Conv2D(1, 1, name=f"{name}_edges")(above)
        if level:
            side = enlarge(layers, side, 1 << level, f"{name}_edges_enlarged")
        sides.insert(0, side)
    joined = keras.layers.Concatenate(name="scales")(sides)
    fused = keras.layers.Conv2D(1, 1, name="fuse")(joined)
    return keras.Model(backbone.image, [fused, *sides], name="hed")
