"""Keras files, SavedModels and TF1 checkpoints as TensorFlow reads them; the extra [tensorflow]."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgecam.tools.convert import graphdef
from edgecam.tools.convert.graph import ConvertError, Graph, in_order

CHECKPOINT_SUFFIX: Final = ".meta"
_SIGNATURE = "serving_default"
_LINE = 160
# Nodes that save, restore and train: no part of what a checkpoint's network computes.
_NOT_INFERENCE = ("save", "gradients", "train", "report_uninitialized_variables", "init")
_NO_RESULT = ("Assert", "NoOp", "Placeholder", "Assign", "SaveV2", "MergeSummary", "ScalarSummary")


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """``call`` takes a picture [1, H, W, C] of ``dtype`` and gives tensors by name, in order.

    ``shape`` is (H, W, C), None for an open side. ``signature`` is TensorFlow's own function for
    it, where the file holds one: its nodes have their names still.
    """

    call: Callable[[Any], dict[str, Any]]
    shape: tuple[int | None, ...]
    dtype: str
    signature: Any = None


def open_tensorflow() -> Any:
    """Import TensorFlow.

    Raises:
        ConvertError: it is not installed.
    """
    # It writes pages about devices it does not find; what matters comes as exceptions.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        with silence():
            return importlib.import_module("tensorflow")
    except ImportError as error:
        raise ConvertError(
            "Keras files, SavedModels, checkpoints and training need TensorFlow (1.6 GB, on a "
            "desktop); "
            f"run: pip install 'edgecam[tensorflow]' ({error})"
        ) from None


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what native code prints away from stderr, where no Python logging can reach it."""
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def load_keras(tensorflow: Any, source: Path) -> Network:
    """Load a ``.keras`` or HDF5 file that holds layers and weights.

    Raises:
        ConvertError: it is damaged, holds weights only, or needs code that is not here.
    """
    try:
        model = tensorflow.keras.models.load_model(str(source), compile=False)
    except Exception as error:
        raise ConvertError(
            f"Keras cannot load {source.name}: {first_line(error)} (a model of your own classes: "
            "model.export(DIR), then convert DIR)"
        ) from error

    def call(picture: Any) -> dict[str, Any]:
        found = model(picture, training=False)
        if isinstance(found, Mapping):
            return dict(found)
        tensors = tensorflow.nest.flatten(found)
        names: Sequence[str] = getattr(model, "output_names", None) or ()
        if len(names) != len(tensors):
            names = [f"output_{place}" for place in range(len(tensors))]
        return dict(zip(names, tensors, strict=True))

    inputs: Sequence[Any] = getattr(model, "inputs", None) or ()
    if len(inputs) != 1:
        raise ConvertError(_not_a_picture(source, [str(tensor.shape) for tensor in inputs]))
    return Network(call, _sides(source, inputs[0].shape), inputs[0].dtype)


def load_saved_model(tensorflow: Any, source: Path) -> Network:
    """Load a SavedModel's ``serving_default``, or its only signature.

    Raises:
        ConvertError: it is damaged or has no such signature.
    """
    try:
        loaded = tensorflow.saved_model.load(str(source))
    except Exception as error:
        raise ConvertError(f"TensorFlow cannot load {source}: {first_line(error)}") from error
    names = list(loaded.signatures)
    name = names[0] if len(names) == 1 else _SIGNATURE
    if name not in names:
        raise ConvertError(
            f"{source} has the signatures {', '.join(names) or 'none'}; expected {_SIGNATURE} "
            "(save it with tf.saved_model.save(model, DIR, signatures=...))"
        )
    signature = loaded.signatures[name]
    inputs = signature.structured_input_signature[1]
    if len(inputs) != 1:
        raise ConvertError(_not_a_picture(source, [str(spec.shape) for spec in inputs.values()]))
    ((argument, spec),) = inputs.items()
    order = list(signature.structured_outputs)

    def call(picture: Any) -> dict[str, Any]:
        # The variables live as long as what was loaded.
        found = loaded.signatures[name](**{argument: picture})
        return {output: found[output] for output in order}

    return Network(call, _sides(source, spec.shape), spec.dtype.name, signature)


def freeze_checkpoint(tensorflow: Any, meta: Path) -> Graph:
    """Return a TF1 checkpoint's graph with its variables as constants.

    ``meta`` is ``NAME.meta``, beside ``NAME.index`` and ``NAME.data-...``.

    Raises:
        ConvertError: a part is missing or damaged.
    """
    v1 = tensorflow.compat.v1
    prefix = str(meta.with_suffix(""))
    if not Path(f"{prefix}.index").is_file():
        raise ConvertError(f"{meta.name}: expected {prefix}.index and its data beside it")
    with v1.Graph().as_default() as graph, v1.Session() as session:
        try:
            v1.train.import_meta_graph(str(meta), clear_devices=True).restore(session, prefix)
        except Exception as error:
            raise ConvertError(f"TensorFlow cannot restore {meta}: {first_line(error)}") from error
        ends = _ends(graph.get_operations())
        if not ends:
            raise ConvertError(f"{meta.name} has no operation that computes from a placeholder")
        frozen = v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), [end.name for end in ends]
        )
    found = graphdef.parse(frozen.SerializeToString(), meta.name)
    graph = Graph(found.nodes, found.constants, found.inputs, tuple(end.name for end in ends))
    used = {node.name for node in in_order(graph)}
    inputs = tuple(name for name in graph.inputs if name in used)
    return Graph(graph.nodes, graph.constants, inputs, graph.outputs)


def _ends(operations: Sequence[Any]) -> list[Any]:
    """Return the operations of the network that no other takes."""
    network = [
        operation
        for operation in operations
        if operation.name.split("/")[0].rstrip("_0123456789") not in _NOT_INFERENCE
    ]
    taken = {tensor.op for operation in network for tensor in operation.inputs}
    reached: set[Any] = set()
    for operation in network:  # TensorFlow lists them in the order of their making
        if operation.type == "Placeholder" or any(t.op in reached for t in operation.inputs):
            reached.add(operation)
    return [
        operation
        for operation in network
        if operation in reached and operation not in taken and operation.type not in _NO_RESULT
    ]


def _sides(source: Path, shape: Any) -> tuple[int | None, ...]:
    sides = tuple(shape) if getattr(shape, "rank", 4) is not None else ()
    if len(sides) != 4 or sides[3] not in (1, 3):
        raise ConvertError(_not_a_picture(source, [str(shape)]))
    return sides[1:]


def _not_a_picture(source: Path, shapes: Sequence[str]) -> str:
    found = ", ".join(shapes) or "none"
    return f"{source.name}: expected one picture [1, H, W, 3] as the input, found: {found}"


def first_line(error: BaseException) -> str:
    """Return the beginning of the first line that names a fault, as TensorFlow words it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines or [type(error).__name__]
    # What fails while a function is traced comes behind "in user code:" and a traceback.
    line = next((line for line in lines if re.match(r"\w+Error: ", line)), lines[0])
    return line if len(line) <= _LINE else f"{line[:_LINE]} ..."
