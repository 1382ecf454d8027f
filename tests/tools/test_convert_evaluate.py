"""Computing constant parts of a graph: each op by hand, and as TensorFlow does where it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphdefs import Type, const, node, placeholder

from edgecam.tools.convert import constant_folding as evaluate
from edgecam.tools.convert import graphdef
from edgecam.tools.convert.graph import ConvertError, Graph, Room

ONE_TWO, THREE_FOUR = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
F, I = np.float32, np.int32  # noqa: E741
WIDE = np.arange(24, dtype=F).reshape(2, 3, 4)
SLICE = {"T": Type("float32"), "Index": Type("int32")}
GATHER = {"Tparams": Type("float32"), "Tindices": Type("int32"), "Taxis": Type("int32")}
FLOAT, INT = {"T": Type("float32")}, {"T": Type("int32")}

# op, inputs, attributes, expected (a list: every output)
CASES: list[tuple[str, list[Any], dict[str, Any], Any]] = [
    ("Add", [F(2), np.array([1, 2], F)], FLOAT, [[3, 4]]),
    ("AddV2", [I(2), np.array([1, 2], I)], INT, [[3, 4]]),
    ("Sub", [np.array([5, 7], F), F(2)], FLOAT, [[3, 5]]),
    ("Mul", [np.array([[1], [2]], F), np.array([3, 4], F)], FLOAT, [[[3, 4], [6, 8]]]),
    ("RealDiv", [F(1), np.array([2, 4], F)], FLOAT, [[0.5, 0.25]]),
    ("Div", [np.array([7, -7], I), I(2)], INT, [[3, -3]]),
    ("FloorDiv", [np.array([7, -7], I), I(2)], INT, [[3, -4]]),
    ("FloorMod", [np.array([7, -7], I), I(4)], INT, [[3, 1]]),
    ("Maximum", [np.array([1, 5], F), F(3)], FLOAT, [[3, 5]]),
    ("Minimum", [np.array([1, 5], F), F(3)], FLOAT, [[1, 3]]),
    ("Pow", [np.array([2, 3], F), F(2)], FLOAT, [[4, 9]]),
    ("Sqrt", [np.array([4, 9], F)], FLOAT, [[2, 3]]),
    ("Rsqrt", [np.array([4, 0.25], F)], FLOAT, [[0.5, 2]]),
    ("Reciprocal", [np.array([4, 0.5], F)], FLOAT, [[0.25, 2]]),
    ("Exp", [np.array([0, 1], F)], FLOAT, [[1, np.e]]),
    ("Log", [np.array([1, np.e], F)], FLOAT, [[0, 1]]),
    ("Neg", [np.array([1, -1], I)], INT, [[-1, 1]]),
    ("Square", [np.array([3, -2], I)], INT, [[9, 4]]),
    ("Abs", [np.array([3, -2], F)], FLOAT, [[3, 2]]),
    ("Floor", [np.array([1.5, -1.5], F)], FLOAT, [[1, -2]]),
    ("Ceil", [np.array([1.5, -1.5], F)], FLOAT, [[2, -1]]),
    ("Round", [np.array([0.5, 1.5, -2.5], F)], FLOAT, [[0, 2, -2]]),
    ("Less", [np.array([1, 5], F), F(3)], FLOAT, [[True, False]]),
    ("GreaterEqual", [np.array([1, 3], I), I(3)], INT, [[False, True]]),
    ("Equal", [np.array([1, 3], I), I(3)], INT, [[False, True]]),
    ("LogicalAnd", [np.array([True, True]), np.array([False, True])], {}, [[False, True]]),
    ("LogicalNot", [np.array([True, False])], {}, [[False, True]]),
    (
        "Select",
        [np.array([True, False]), np.array([1, 2], F), np.array([3, 4], F)],
        FLOAT,
        [[1, 4]],
    ),
    ("SelectV2", [np.array([True, False]), np.array([1, 2], F), F(9)], FLOAT, [[1, 9]]),
    ("Identity", [WIDE], FLOAT, [WIDE]),
    ("ZerosLike", [WIDE], FLOAT, [np.zeros((2, 3, 4))]),
    ("OnesLike", [WIDE], FLOAT, [np.ones((2, 3, 4))]),
    ("Shape", [WIDE], FLOAT, [[2, 3, 4]]),
    ("Rank", [WIDE], FLOAT, [3]),
    ("Size", [WIDE], FLOAT, [24]),
    (
        "Cast",
        [np.array([1.9, -1.9], F)],
        {"SrcT": Type("float32"), "DstT": Type("int32")},
        [[1, -1]],
    ),
    ("Range", [I(1), I(8), I(3)], {"Tidx": Type("int32")}, [[1, 4, 7]]),
    ("Range", [F(1), F(0), F(-0.5)], {"Tidx": Type("float32")}, [[1, 0.5]]),
    ("Fill", [np.array([2, 1], I), F(3)], FLOAT, [[[3], [3]]]),
    ("Tile", [np.array([[1, 2]], F), np.array([2, 2], I)], FLOAT, [[[1, 2, 1, 2]] * 2]),
    ("BroadcastTo", [np.array([1, 2], F), np.array([2, 2], I)], FLOAT, [[[1, 2]] * 2]),
    ("Reshape", [WIDE, np.array([4, -1], I)], FLOAT, [np.arange(24).reshape(4, 6)]),
    ("ExpandDims", [np.array([1, 2], F), I(-1)], FLOAT, [[[1], [2]]]),
    ("Squeeze", [np.ones((1, 2, 1), F)], {**FLOAT, "squeeze_dims": [0]}, [[[1], [1]]]),
    ("Squeeze", [np.ones((1, 2, 1), F)], FLOAT, [[1, 1]]),
    ("Transpose", [WIDE, np.array([2, 0, 1], I)], FLOAT, [WIDE.transpose(2, 0, 1)]),
    ("ConcatV2", [np.array([1], F), np.array([2, 3], F), I(0)], {**FLOAT, "N": 2}, [[1, 2, 3]]),
    ("Concat", [I(0), np.array([1], F), np.array([2, 3], F)], {**FLOAT, "N": 2}, [[1, 2, 3]]),
    (
        "Pack",
        [np.array([1, 2], F), np.array([3, 4], F)],
        {**FLOAT, "N": 2, "axis": 1},
        [[[1, 3], [2, 4]]],
    ),
    ("Unpack", [WIDE], {**FLOAT, "num": 3, "axis": 1}, [WIDE[:, 0], WIDE[:, 1], WIDE[:, 2]]),
    ("Split", [I(2), WIDE], {**FLOAT, "num_split": 2}, [WIDE[..., :2], WIDE[..., 2:]]),
    ("Slice", [WIDE, np.array([0, 1, 0], I), np.array([1, -1, 2], I)], SLICE, [WIDE[:1, 1:, :2]]),
    ("GatherV2", [WIDE, np.array([2, 0], I), I(1)], GATHER, [WIDE[:, [2, 0]]]),
    ("Sum", [WIDE, np.array([0, 2], I)], FLOAT, [WIDE.sum((0, 2))]),
    ("Mean", [WIDE, I(1)], {**FLOAT, "keep_dims": True}, [WIDE.mean(1, keepdims=True)]),
    ("Prod", [np.array([2, 3, 4], I), np.array([0], I)], INT, [24]),
    ("Max", [WIDE, np.array([1, 2], I)], FLOAT, [[11, 23]]),
    ("Min", [WIDE, np.array([1, 2], I)], FLOAT, [[0, 12]]),
    *(
        (
            "StridedSlice",
            [WIDE, np.array(begin, I), np.array(end, I), np.array(step, I)],
            {**SLICE, **{f"{name}_mask": mask for name, mask in masks.items()}},
            [expected],
        )
        for begin, end, step, masks, expected in (
            ([1], [2], [1], {"shrink_axis": 1}, WIDE[1]),
            ([0, 0, 1], [0, 0, 4], [1, 1, 2], {"begin": 3, "end": 3}, WIDE[:, :, 1:4:2]),
            ([0, -1], [0, 0], [1, 1], {"ellipsis": 1, "shrink_axis": 2}, WIDE[..., -1]),
            ([0, 0, 2], [0, 1, 0], [1, 1, -1], {"new_axis": 1, "end": 4}, WIDE[None, 0:1, 2::-1]),
        )
    ),
]


def graph_of(op: str, inputs: list[Any], attributes: dict[str, Any]) -> bytes:
    names = [f"in{place}" for place in range(len(inputs))]
    constants = b"".join(const(n, v) for n, v in zip(names, inputs, strict=True))
    return constants + node(op, "out", names, **attributes)


@pytest.mark.parametrize(("op", "inputs", "attributes", "expected"), CASES)
def test_computes_each_op(
    op: str, inputs: list[Any], attributes: dict[str, Any], expected: list[Any]
) -> None:
    graph = graphdef.parse(graph_of(op, inputs, attributes), "op.pb")
    found = evaluate.results(graph.node("out"), graph.constants, Room.beside(0))
    assert len(found) == len(expected)
    for place, wanted in enumerate(expected):
        output = found["out" if place == 0 else f"out:{place}"]
        assert output.shape == np.shape(wanted)
        assert np.allclose(output, wanted, rtol=1e-6)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)
@pytest.mark.parametrize(("op", "inputs", "attributes", "expected"), CASES)
def test_tensorflow_computes_the_same(
    op: str, inputs: list[Any], attributes: dict[str, Any], expected: list[Any]
) -> None:
    import tensorflow as tf  # type: ignore[import-not-found]

    raw = graph_of(op, inputs, attributes)
    definition = tf.compat.v1.GraphDef.FromString(raw)
    with tf.Graph().as_default() as loaded:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=loaded) as session:
            theirs = session.run([f"out:{place}" for place in range(len(expected))])
    graph = graphdef.parse(raw, "op.pb")
    ours = list(evaluate.results(graph.node("out"), graph.constants, Room.beside(0)).values())
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        assert np.allclose(mine, other, rtol=1e-6)


def small() -> Graph:
    """An unfused batch norm behind a picture: x * g/sqrt(v+e) + (b - m * g/sqrt(v+e))."""
    return graphdef.parse(
        placeholder("x", (1, 2, 2, 2))
        + const("v", np.array([3, 8], F))
        + const("e", F(1))
        + const("g", np.array([2, 6], F))
        + const("b", np.array([1, 2], F))
        + const("m", np.array([10, 20], F))
        + node("Add", "ve", ["v", "e"], **FLOAT)
        + node("Rsqrt", "r", ["ve"], **FLOAT)
        + node("Mul", "rg", ["r", "g"], **FLOAT)
        + node("Mul", "xg", ["x", "rg"], **FLOAT)
        + node("Mul", "mg", ["m", "rg"], **FLOAT)
        + node("Sub", "bm", ["b", "mg"], **FLOAT)
        + node("Add", "out", ["xg", "bm"], **FLOAT),
        "small.pb",
    )


def test_folding_leaves_what_depends_on_the_picture() -> None:
    folded = evaluate.fold_constants(small())
    assert [n.name for n in folded.nodes] == ["x", "xg", "out"]
    assert folded.constants["rg"].tolist() == [1, 2]
    assert folded.constants["bm"].tolist() == [-9, -38]


def test_a_fed_value_takes_the_place_of_the_picture() -> None:
    picture = np.ones((1, 1, 1, 2), F)
    assert evaluate.value(small(), "out", {"x": picture}).ravel().tolist() == [-8, -36]
    with pytest.raises(ConvertError, match="Placeholder 'x' cannot be computed ahead"):
        evaluate.value(small(), "out")
    with pytest.raises(ConvertError, match="'gone'"):
        evaluate.value(small(), "gone")


def test_inputs_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.pb"
    path.write_bytes(graph_of("Reshape", [WIDE, np.array([5, 5], I)], FLOAT))
    with pytest.raises(ConvertError, match="Reshape 'out' is malformed") as caught:
        evaluate.value(graphdef.read(path), "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("Fill", [np.array([1 << 20, 1 << 20], I), F(1)]),
        ("Tile", [np.ones(9, F), np.array([1 << 30], I)]),
        ("Range", [F(0), F(1), F(1e-12)]),
        ("BroadcastTo", [F(0), np.array([1 << 20, 1 << 20], I)]),
        ("Add", [np.ones((1 << 12, 1), F), np.ones(1 << 12, F)]),
        ("Select", [np.ones((1 << 12, 1), bool), np.ones(1 << 12, F), F(0)]),
        ("Gather", [np.ones((2, 1 << 12), F), np.zeros(1 << 12, I), np.array(0, I)]),
    ],
)
def test_what_would_fill_the_memory_is_refused(op: str, inputs: list[Any]) -> None:
    graph = graphdef.parse(graph_of(op, inputs, FLOAT), "bomb.pb")
    with pytest.raises(ConvertError, match="much larger than the file"):
        evaluate.value(graph, "out")
