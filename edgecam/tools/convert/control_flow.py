"""Graphs frozen with TensorFlow 1's control flow: the branch that inference takes, in their place.

``tf.layers.batch_normalization(training=is_training)`` and its like leave a boolean placeholder,
and for each tensor a Switch to either branch and a Merge behind them.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgecam.tools.convert.constant_folding import OPERATIONS, results
from edgecam.tools.convert.graph import Array, Graph, Node, Room, malformed

_ROOM = 1 << 16


@dataclass(frozen=True, slots=True)
class Resolved:
    """``graph``, and the placeholders in it that were taken for ``False``."""

    graph: Graph
    false: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of it."""
        if not self.false:
            return ()
        return (f"{', '.join(self.false)}: taken as False, as at inference",)


def resolve(graph: Graph) -> Resolved:
    """Set boolean placeholders to False, and drop the branches that are then never taken.

    A placeholder with a default keeps that. What depends on anything else stays as it is.

    Raises:
        ConvertError: a node is malformed.
    """
    if not any(_is_switch(graph, node) for node in graph.nodes):
        return Resolved(graph)
    folding = _Folding(graph)
    for node in _ordered(graph):
        with malformed(node):
            folding.take(node)
    constants = {**graph.constants, **folding.known}
    outputs = tuple(folding.behind(name) for name in graph.outputs if not folding.is_dead(name))
    inputs = tuple(name for name in graph.inputs if name not in folding.known)
    resolved = replace(
        graph, nodes=tuple(folding.nodes), constants=constants, inputs=inputs, outputs=outputs
    )
    return Resolved(resolved, tuple(folding.false))


def _is_switch(graph: Graph, node: Node) -> bool:
    return node.op in ("Switch", "Merge") or _is_boolean_input(graph, node)


def _is_boolean_input(graph: Graph, node: Node) -> bool:
    return node.name in graph.inputs and node.attributes.get("dtype") == "bool"


def _ordered(graph: Graph) -> Iterator[Node]:
    """Yield all nodes, each after those that it takes, as far as no loop goes through them."""
    by_name = {node.name: node for node in graph.nodes}
    entered: set[str] = set()
    for first in graph.nodes:
        stack = [(first.name, False)]
        while stack:
            name, is_closing = stack.pop()
            if is_closing:
                yield by_name[name]
            elif name in by_name and name not in entered:
                entered.add(name)
                stack.append((name, True))
                stack += ((taken.split(":")[0], False) for taken in by_name[name].inputs)


class _Folding:
    """``known``: predicates and what a Switch leaves of them; ``nodes``: what stays."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._room = Room(_ROOM)
        self.known: dict[str, Array] = {}
        self._all = ChainMap(self.known, dict(graph.constants))
        self._same: dict[str, str] = {}
        # Tensors of a Switch, and nodes whole.
        self._dead: set[str] = set()
        self._dead_nodes: set[str] = set()
        self.nodes: list[Node] = []
        self.false: list[str] = []

    def behind(self, name: str) -> str:
        """Return the tensor that stands for ``name`` now."""
        return self._same.get(name, name)

    def is_dead(self, name: str) -> bool:
        """Whether a tensor comes from a branch that is never taken."""
        base = name.split(":")[0]
        if name in self._dead or base in self._dead_nodes:
            return True
        controls = self._graph.controls.get(base, ())
        return any(name in self._dead_nodes or name in self._dead for name in controls)

    def _value(self, name: str) -> Array | None:
        return self._all.get(name)

    def take(self, node: Node) -> None:
        node = replace(node, inputs=tuple(map(self.behind, node.inputs)))
        if _is_boolean_input(self._graph, node):
            self._boolean(node)
        elif node.op == "Merge":
            self._merge(node)
        elif any(map(self.is_dead, node.inputs)):
            self._dead_nodes.add(node.name)
        elif node.op != "Switch" or not self._switch(node):
            self._plain(node)

    def _boolean(self, node: Node) -> None:
        default = self._value(node.inputs[0]) if node.inputs else None
        self.known[node.name] = np.array(False) if default is None else default
        if default is None:
            self.false.append(node.name)

    def _merge(self, node: Node) -> None:
        live = [place for place, name in enumerate(node.inputs) if not self.is_dead(name)]
        if len(live) == 1:
            self.nodes.append(Node(node.name, "Identity", (node.inputs[live[0]],), {}))
            self.known[f"{node.name}:1"] = np.array(live[0], np.int32)
        elif live:
            self.nodes.append(node)
        else:
            self._dead_nodes.add(node.name)

    def _switch(self, node: Node) -> bool:
        """Whether the predicate is known, so that one way alone is left."""
        source, predicate = node.inputs
        truth = self._value(predicate)
        if truth is None or truth.size != 1:
            return False
        first, second = node.name, f"{node.name}:1"
        taken, left = (second, first) if truth.item() else (first, second)
        self._same[taken] = source
        self._dead.add(left)
        return True

    def _plain(self, node: Node) -> None:
        values = [self._value(name) for name in node.inputs]
        small = values and all(value is not None and value.size == 1 for value in values)
        if small and node.op in OPERATIONS and node.name not in self._graph.outputs:
            self.known.update(results(node, self._all, self._room))
        else:
            self.nodes.append(node)
