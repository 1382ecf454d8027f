"""TensorFlow.js layers models, as ``tf.sequential``, Teachable Machine and Keras write them.

Each layer becomes the nodes that a TensorFlow graph would have for it. Layers that do something
while a network learns alone (dropout, noise) hand on what they take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgecam.tools.convert.graph import Array, ConvertError, Graph
from edgecam.tools.convert.layer_ops import LAYERS, Call, Config, Nodes

_NESTED = frozenset({"Functional", "Model", "Sequential"})
_LEARNING = frozenset(
    {
        *("ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout"),
        *("GaussianNoise", "SpatialDropout2D"),
    }
)
_MAX_DEPTH = 16


def is_layers_model(topology: Any) -> bool:
    """Whether a ``modelTopology`` describes layers, not nodes."""
    return isinstance(topology, dict) and ("model_config" in topology or "class_name" in topology)


def graph_of(topology: Config, weights: Mapping[str, Array]) -> Graph:
    """Return the network of a ``modelTopology`` as a graph.

    Raises:
        ConvertError: it has layers that are not known here (all are named), or lacks weights.
        KeyError, TypeError, ValueError, AttributeError, IndexError: it is no sound description.
    """
    model = topology.get("model_config", topology)
    unknown = Counter(_unknown(model, 0))
    if unknown:
        found = ", ".join(f"{kind} ({count})" for kind, count in sorted(unknown.items()))
        raise ConvertError(f"the network has layers that cannot be converted: {found}")
    builder = _Builder(Nodes(weights))
    outputs = builder.network(model, None, "")
    return Graph(
        tuple(builder.nodes.made),
        builder.nodes.constants,
        tuple(builder.inputs),
        tuple(map(str, outputs)),
    )


def _unknown(model: Config, depth: int) -> list[str]:
    if depth > _MAX_DEPTH:
        raise ConvertError(f"models within models, more than {_MAX_DEPTH} deep")
    found = []
    for layer in _layers(model):
        kind = str(layer["class_name"])
        if kind in _NESTED:
            found += _unknown(layer, depth + 1)
        elif kind not in LAYERS and kind not in _LEARNING and kind != "InputLayer":
            found.append(kind)
    return found


def _layers(model: Config) -> Sequence[Config]:
    config = model["config"]
    # The first Keras wrote a sequential model's layers without a name around them.
    layers: Sequence[Config] = config if isinstance(config, list) else config["layers"]
    return layers


@dataclass(slots=True)
class _Builder:
    """Adds the layers of models within models."""

    nodes: Nodes
    inputs: list[str] = field(default_factory=list)

    def network(self, model: Config, fed: Sequence[str] | None, path: str) -> list[str]:
        """Add a model's layers; return its outputs. ``fed`` is what takes its inputs' place."""
        if model["class_name"] == "Sequential":
            return [self._sequence(model, fed, path)]
        config = model["config"]
        made: dict[tuple[str, int], list[str]] = {}
        waiting = list(config["layers"])
        starts = [_reference(entry) for entry in _entries(config["input_layers"])]
        if fed is not None:
            made |= {start: [name] for start, name in zip(starts, fed, strict=True)}
        while waiting:
            later = [layer for layer in waiting if not self._add_ready(layer, made, path)]
            if len(later) == len(waiting):
                raise ConvertError(f"the layer {later[0]['name']!r} takes what no layer makes")
            waiting = later
        ends = [_reference(entry) for entry in _entries(config["output_layers"])]
        return [made[end][0] for end in ends]

    def _add_ready(self, layer: Config, made: dict[tuple[str, int], list[str]], path: str) -> bool:
        """Add a layer once all that it takes is there."""
        name = str(layer["name"])
        if layer["class_name"] == "InputLayer":
            if (name, 0) not in made:
                made[(name, 0)] = [self._input(layer["config"], path)]
            return True
        calls = [_sources(call) for call in layer["inbound_nodes"]]
        if not all((source, at) in made for call in calls for source, at, _ in call):
            return False
        for number, call in enumerate(calls):
            sources = [made[source, at][place] for source, at, place in call]
            made[(name, number)] = self._layer(layer, sources, path)
        return True

    def _sequence(self, model: Config, fed: Sequence[str] | None, path: str) -> str:
        sources = list(fed) if fed is not None else []
        for layer in _layers(model):
            if layer["class_name"] == "InputLayer":
                sources = sources or [self._input(layer["config"], path)]
                continue
            if not sources:
                first = layer
                while first["class_name"] in _NESTED and "batch_input_shape" not in first["config"]:
                    first = _layers(first)[0]
                sources = [self._input(first["config"], path)]
            sources = self._layer(layer, sources, path)
        if not sources:
            raise ConvertError("the network has no layers")
        return sources[0]

    def _input(self, config: Config, path: str) -> str:
        shape = config.get("batch_input_shape") or config.get("batch_shape")
        if shape is None:
            raise ConvertError("the network does not say what picture it takes")
        name = self.nodes.name(str(config.get("name", "input")), path)
        sides = tuple(-1 if side is None else int(side) for side in shape)
        self.inputs.append(
            self.nodes.emit(name, "Placeholder", (), {"shape": sides, "dtype": "float32"})
        )
        return name

    def _layer(self, layer: Config, sources: list[str], path: str) -> list[str]:
        kind, config = str(layer["class_name"]), layer["config"]
        own = str(config.get("name", kind)) if isinstance(config, dict) else kind
        if kind in _NESTED:
            return self.network(layer, sources, f"{path}{own}/")
        if kind in _LEARNING:
            return sources
        if config.get("data_format", "channels_last") not in ("channels_last", None):
            raise ConvertError(f"{kind} {own!r} is {config['data_format']}, expected channels_last")
        call = Call(self.nodes, own, self.nodes.name(own, path), config, sources)
        return [LAYERS[kind](call)]


def _entries(entries: Any) -> list[Any]:
    """Return [[name, node, tensor], ...], also where one alone is not in a list of its own."""
    found: list[Any] = list(entries)
    return [found] if found and isinstance(found[0], str) else found


def _reference(entry: Sequence[Any]) -> tuple[str, int]:
    return str(entry[0]), int(entry[1])


def _sources(call: Any) -> list[tuple[str, int, int]]:
    """Return (layer, call, tensor) of what one call of a layer takes, as Keras 2 or 3 writes it."""
    if isinstance(call, dict):
        return _histories(call["args"])
    return [(str(entry[0]), int(entry[1]), int(entry[2])) for entry in _entries(call)]


def _histories(value: Any) -> list[tuple[str, int, int]]:
    if isinstance(value, list):
        return [found for item in value for found in _histories(item)]
    if isinstance(value, dict) and "keras_history" in value.get("config", {}):
        name, node, tensor = value["config"]["keras_history"]
        return [(str(name), int(node), int(tensor))]
    return []
