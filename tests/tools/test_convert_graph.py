from __future__ import annotations

import numpy as np
import pytest

from edgecam.tools.convert import posenet
from edgecam.tools.convert.graph import ConvertError, Graph, Node, data_inputs, in_order


def graph(*nodes: Node, outputs: tuple[str, ...]) -> Graph:
    return Graph(nodes, {"w": np.ones(1, np.float32)}, ("image",), outputs)


IMAGE = Node("image", "Placeholder", (), {"shape": (1, 9, 9, 3)})


def test_references_lose_control_inputs_and_first_output_number() -> None:
    assert data_inputs(["a:0", "^b", "c:1", "d"]) == ("a", "c:1", "d")


def test_only_what_the_outputs_need_comes_in_the_order_of_use() -> None:
    last = Node("last", "Add", ("first", "w"), {})
    first = Node("first", "Relu", ("image",), {})
    unused = Node("unused", "NoSuchOp", ("image",), {})
    names = [node.name for node in in_order(graph(last, unused, first, IMAGE, outputs=("last",)))]
    assert names == ["image", "first", "last"]


def test_a_node_that_takes_what_is_not_there_is_named() -> None:
    with pytest.raises(ConvertError, match=r"inputs of 'a' take 'gone'"):
        in_order(graph(Node("a", "Relu", ("gone",), {}), outputs=("a",)))
    with pytest.raises(ConvertError, match=r"outputs take 'gone'"):
        in_order(graph(IMAGE, outputs=("gone",)))


def test_a_loop_is_refused() -> None:
    nodes = Node("a", "Add", ("b", "w"), {}), Node("b", "Relu", ("a",), {})
    with pytest.raises(ConvertError, match="loop"):
        in_order(graph(*nodes, outputs=("a",)))


def test_a_heatmap_is_logits_whatever_it_was_made_of() -> None:
    outputs = ("heatmap", "offset_2", "displacement_fwd_2", "displacement_bwd_2")
    nodes = [Node("image", "Placeholder", (), {}), Node("heatmap_2", "BiasAdd", ("image",), {})]
    nodes += [Node(name, "BiasAdd", ("image",), {}) for name in outputs[1:]]
    frozen = Graph(
        (*nodes, Node("heatmap", "Sigmoid", ("heatmap_2",), {})), {}, ("image",), outputs
    )
    found = posenet.outputs_by_name(frozen)
    assert found is not None
    assert next(iter(found.items())) == ("heatmap_2", "heatmap")
    published = Graph((*nodes,), {}, ("image",), ("heatmap_2", *outputs[1:]))
    assert posenet.outputs_by_name(published) == found
