"""What only TensorFlow reads to TFLite: Keras files, SavedModels, TF1 checkpoints.

TensorFlow's converter is asked, not believed: a model can come out of it as 30 kB of variables
that stay empty, and give NaN. So variables are frozen first, and what was written is run.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.core.tensors import MINUS_ONE_TO_ONE, RAW_PIXELS
from edgecam.tools.convert import graphdef, posenet, ssd_graph, tensorflow_load
from edgecam.tools.convert.conversion import UNSTATED, Converted, Options
from edgecam.tools.convert.from_tfjs import from_graph
from edgecam.tools.convert.graph import Array, ConvertError, Graph
from edgecam.tools.convert.proof import prove
from edgecam.tools.convert.relabel import relabel
from edgecam.tools.convert.tensorflow_load import Network, first_line, silence


def convert(source: Path, options: Options) -> Converted:
    """Convert a Keras file, a SavedModel's folder, or a checkpoint (``NAME.meta`` or its folder).

    Raises:
        ConvertError: TensorFlow is not installed, cannot load it, or what it makes of it does
            not compute the same.
    """
    source = _checkpoint(source) if source.is_dir() else source
    with silence():
        tensorflow = tensorflow_load.open_tensorflow()
        if source.suffix == tensorflow_load.CHECKPOINT_SUFFIX:
            graph = tensorflow_load.freeze_checkpoint(tensorflow, source)
            return from_graph(graph, source.stem, options)
        if source.is_dir():
            network = tensorflow_load.load_saved_model(tensorflow, source)
        else:
            network = tensorflow_load.load_keras(tensorflow, source)
        return _convert(tensorflow, network, source, options)


def _checkpoint(folder: Path) -> Path:
    """Return the newest checkpoint in a folder, the folder itself where it is a SavedModel."""
    if (folder / "saved_model.pb").is_file():
        return folder
    found = sorted(folder.glob(f"*{tensorflow_load.CHECKPOINT_SUFFIX}"), key=_step)
    if not found:
        raise ConvertError(f"{folder}: expected a SavedModel (saved_model.pb) or a checkpoint")
    return found[-1]


def _step(meta: Path) -> int:
    number = meta.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def _convert(tensorflow: Any, network: Network, source: Path, options: Options) -> Converted:
    asked = options.postprocess is not None or options.labels is not None
    asked = asked or options.bgr or bool(options.inputs or options.outputs)
    if network.signature is not None:
        graph = _graph(frozen(network.signature, source), source)
        if asked or ssd_graph.is_detector(graph):
            return from_graph(graph, source.stem, options)
    sides = zip(network.shape[:2], options.size or (None, None), strict=True)
    height, width = (own or wanted for own, wanted in sides)
    if height is None or width is None:
        raise ConvertError(f"{source.name} leaves its input's size open; give --size HEIGHTxWIDTH")
    shape = (1, height, width, network.shape[2] or 3)
    function, names = _freeze(tensorflow, network, shape, source)
    graph = replace(_graph(function, source), outputs=tuple(map(_node_name, names)))
    if asked or posenet.outputs_by_name(graph) is not None:
        return from_graph(graph, source.stem, options)
    if options.size not in (None, (height, width)):
        raise ConvertError(f"{source.name} takes {height}x{width} only; leave --size out")
    picture = _picture(shape, network.dtype)
    expected = _run(tensorflow, function, names, picture)
    data = relabel(
        _to_lite(tensorflow, function, source, options.half),
        source.stem,
        options.normalization or (MINUS_ONE_TO_ONE if network.dtype == "float32" else RAW_PIXELS),
        names,
        guessed=options.normalization is None and network.dtype == "float32",
    )
    notes = prove(data, source.name, picture, expected, is_half=options.half)
    if options.normalization is None and network.dtype == "float32":
        notes.append(UNSTATED)
    return Converted(data, notes)


def _freeze(
    tensorflow: Any, network: Network, shape: tuple[int | None, ...], source: Path
) -> tuple[Any, list[str]]:
    """Return the network as one function of constants, and its outputs' names in their order."""
    names: list[str] = []

    def traced(picture: Any) -> list[Any]:
        found = network.call(picture)
        names[:] = found
        return [tensorflow.identity(found[name], name=_node_name(name)) for name in found]

    spec = tensorflow.TensorSpec(shape, network.dtype, name="image")
    try:
        function = tensorflow.function(traced).get_concrete_function(spec)
    except Exception as error:
        raise ConvertError(
            f"{source.name} does not take {list(shape)}: {first_line(error)}"
        ) from error
    return frozen(function, source), names


def frozen(function: Any, source: Path) -> Any:
    """Return a function with its variables as constants.

    Raises:
        ConvertError: TensorFlow cannot; ``source`` is what the function came from.
    """
    module = importlib.import_module("tensorflow.python.framework.convert_to_constants")
    try:
        return module.convert_variables_to_constants_v2(function)
    except Exception as error:
        raise ConvertError(f"cannot freeze {source.name}: {first_line(error)}") from error


def _graph(frozen: Any, source: Path) -> Graph:
    return graphdef.parse(frozen.graph.as_graph_def().SerializeToString(), source.name)


def _node_name(output: str) -> str:
    """Return what TensorFlow takes as a node's name; the graph's outputs are known by it."""
    return re.sub(r"[^A-Za-z0-9_./-]", "_", output).lstrip("_./-") or "output"


def _picture(shape: tuple[int, ...], dtype: str) -> Array:
    rng = np.random.default_rng(0)
    if dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    return rng.uniform(-1, 1, shape).astype(dtype)


def _run(tensorflow: Any, frozen: Any, names: list[str], picture: Array) -> Mapping[str, Array]:
    found = tensorflow.nest.flatten(frozen(tensorflow.constant(picture)))
    return {name: tensor.numpy() for name, tensor in zip(names, found, strict=True)}


def _to_lite(tensorflow: Any, frozen: Any, source: Path, is_half: bool) -> bytes:
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([frozen])
    if is_half:
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tensorflow.float16]
    try:
        return bytes(converter.convert())
    except Exception as error:
        ops = sorted({*re.findall(r"\btf\.([A-Z]\w*)", str(error))})
        reason = f"ops without a TFLite form: {', '.join(ops)}" if ops else first_line(error)
        raise ConvertError(f"TensorFlow cannot convert {source.name}: {reason}") from error
