"""A trained Keras model as a frozen graph, which ``edgecam convert`` takes like any other."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.core import atomic_file as whole_file
from edgecam.tools.convert import graphdef
from edgecam.tools.convert.conversion import Converted, Options
from edgecam.tools.convert.from_tensorflow import frozen
from edgecam.tools.convert.from_tfjs import from_graph
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.ssd import RAW_SCALES
from edgecam.tools.convert.ssd_graph import POSTPROCESS
from edgecam.tools.convert.tensorflow_load import open_tensorflow, silence
from edgecam.tools.train.coco import Floats

_NMS_IOU, _NMS_SCORE = 0.6, 1e-8  # as the Object Detection API's configurations have them


def freeze(model: Any, size: tuple[int, int], names: Sequence[str]) -> Any:
    """Return the GraphDef of a model for one picture of ``size``, its outputs called ``names``.

    Its batch normalisation is folded.

    Raises:
        ConvertError: TensorFlow cannot freeze it.
    """
    tensorflow = open_tensorflow()
    model = folded(model)

    def traced(picture: Any) -> list[Any]:
        found = model(picture, training=False)
        outputs = [found[name] for name in names] if isinstance(found, dict) else [found]
        return [
            tensorflow.identity(output, name=name)
            for output, name in zip(outputs, names, strict=True)
        ]

    spec = tensorflow.TensorSpec((1, *size, 3), tensorflow.float32, name="image")
    with silence():
        function = tensorflow.function(traced).get_concrete_function(spec)
        definition = frozen(function, Path("the model")).graph.as_graph_def()
    # What the function returns are copies under names of their own.
    kept = [node for node in definition.node if not node.name.startswith("Identity")]
    del definition.node[:]
    definition.node.extend(kept)
    return definition


def folded(model: Any) -> Any:
    """Return an equal Keras model whose convolutions have taken in the normalisation behind them.

    Raises:
        ConvertError: a normalisation follows something else.
    """
    keras = open_tensorflow().keras
    before = {id(layer.output): layer for layer in model.layers}
    taken = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            source = before[id(layer.input)]
            if not isinstance(source, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
                raise ConvertError(f"{layer.name} follows {source.name}: expected a convolution")
            taken[source.name] = layer

    # Keras' own Identity does not take the mask that a normalisation is called with.
    passed = type("Passed", (keras.layers.Layer,), {"call": lambda _, tensor, **_mask: tensor})

    def without(layer: Any) -> Any:
        if isinstance(layer, keras.layers.BatchNormalization):
            return passed(name=layer.name)
        biased = {"use_bias": True} if layer.name in taken else {}
        return type(layer).from_config({**layer.get_config(), **biased})

    found = keras.models.clone_model(model, clone_function=without)
    for layer in model.layers:
        if layer.name in taken:
            found.get_layer(layer.name).set_weights(_joined(layer, taken[layer.name]))
        elif layer not in taken.values():
            found.get_layer(layer.name).set_weights(layer.get_weights())
    return found


def _joined(convolution: Any, norm: Any) -> tuple[Floats, Floats]:
    """The kernel and the bias of a convolution and its normalisation as one."""
    kernel, *bias = (values.astype(np.float64) for values in convolution.get_weights())
    gamma, beta, mean, variance = (values.astype(np.float64) for values in norm.get_weights())
    factor = gamma / np.sqrt(variance + norm.epsilon)
    offset = beta + (sum(bias) - mean) * factor
    by_output = factor.reshape(kernel.shape[2:]) if _is_depthwise(convolution) else factor
    return (kernel * by_output).astype(np.float32), offset.astype(np.float32)


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, open_tensorflow().keras.layers.DepthwiseConv2D)


def with_postprocess(definition: Any, names: tuple[str, str], anchors: Floats, classes: int) -> Any:
    """Add the op in which the Object Detection API's export for TFLite ends.

    ``names`` are the outputs of encodings and scores, ``anchors`` float32[A, 4] as
    ``edgecam.anchors`` has them.
    """
    tensorflow = open_tensorflow()
    constant = definition.node.add()
    constant.name, constant.op = "anchors", "Const"
    constant.attr["dtype"].type = tensorflow.float32.as_datatype_enum
    constant.attr["value"].tensor.CopyFrom(tensorflow.make_tensor_proto(anchors))
    end = definition.node.add()
    end.name = end.op = POSTPROCESS
    end.input.extend([*names, "anchors"])
    for name, scale in zip("yxhw", RAW_SCALES, strict=True):
        end.attr[f"{name}_scale"].f = scale
    end.attr["nms_iou_threshold"].f = _NMS_IOU
    end.attr["nms_score_threshold"].f = _NMS_SCORE
    end.attr["num_classes"].i = classes
    return definition


def convert(definition: Any, name: str, options: Options) -> Converted:
    """Convert a GraphDef as ``edgecam convert`` does a ``.pb``.

    Raises:
        ConvertError: as that.
    """
    return from_graph(graphdef.parse(definition.SerializeToString(), name), name, options)


def beside(stem: Path, suffix: str) -> Path:
    """STEM with ``suffix`` after its whole name, which may have dots: slim_0.25 and .pb."""
    return stem.with_name(stem.name + suffix)


def write(model: Any, stem: Path, made: Mapping[Path, bytes]) -> list[Path]:
    """Write STEM.keras and the files in ``made``, each whole or not at all; return their paths.

    Raises:
        ConvertError: a file cannot be written.
    """
    keras_file = beside(stem, ".keras")
    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        saved = Path(folder) / "model.keras"
        model.save(str(saved))
        files = {keras_file: saved.read_bytes(), **made}
    for path, data in files.items():
        whole_file.write(path, data)
    return list(files)
