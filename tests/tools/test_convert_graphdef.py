"""Reading frozen graphs: every form of a constant, attributes, and what is no graph."""

from __future__ import annotations

import importlib.util
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from graphdefs import Shape, Type, block, const, node, number, placeholder, tensor, varint

from edgecam.core import bounded_file
from edgecam.tools.convert import graphdef
from edgecam.tools.convert.graph import ConvertError

SMALL = (
    placeholder("image", (-1, 4, 4, 3))
    + const("weights", np.arange(27, dtype=np.float32).reshape(3, 3, 3, 1))
    + node(
        "Conv2D",
        "conv",
        ["image", "weights:0", "^image"],
        strides=[1, 2, 2, 1],
        padding="SAME",
        epsilon=0.001,
        is_training=False,
        T=Type("float32"),
        group=-3,
    )
    + node("Relu6", "out", ["conv"])
)


def value_of(tensor_proto: bytes) -> np.ndarray:
    raw = node("Const", "c", value=block(8, tensor_proto)) + node("Identity", "i", ["c"])
    return graphdef.parse(raw, "t.pb").constants["c"]


def test_reads_nodes_attributes_inputs_and_outputs(tmp_path: Path) -> None:
    path = tmp_path / "small.pb"
    path.write_bytes(SMALL)
    graph = graphdef.read(path)
    conv = graph.node("conv")
    assert conv.inputs == ("image", "weights")
    assert conv.attributes["strides"] == [1, 2, 2, 1]
    assert conv.attributes["padding"] == "SAME"
    assert conv.attributes["T"] == "float32"
    assert conv.attributes["is_training"] is False
    assert conv.attributes["group"] == -3
    assert conv.attributes["epsilon"] == pytest.approx(0.001, rel=1e-6)
    assert graph.node("image").attributes["shape"] == (-1, 4, 4, 3)
    assert (graph.inputs, graph.outputs) == (("image",), ("out",))
    assert graph.constants["weights"].shape == (3, 3, 3, 1)
    assert graph.constants["weights"].ravel().tolist() == list(range(27))


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (tensor(np.array([1.5, -2], np.float32)), [1.5, -2]),
        (tensor(np.array([3, -4], np.int64)), [3, -4]),
        (tensor(np.array([True, False])), [True, False]),
        (tensor(np.float32(7)), 7),
        (tensor(np.zeros((2, 0), np.int32), extra=b""), np.zeros((2, 0))),
        # float_val packed; the last value fills the rest
        (tensor(np.zeros(3, np.float32), extra=block(5, struct.pack("<2f", 1, 2))), [1, 2, 2]),
        # float_val as a single field of 4 bytes
        (tensor(np.zeros(2, np.float32), extra=b"\x2d" + struct.pack("<f", 5)), [5, 5]),
        (tensor(np.zeros(2, np.int32), extra=number(7, -1) + number(7, 6)), [-1, 6]),
        (tensor(np.zeros(2, np.int64), extra=block(10, varint(-9) + varint(9))), [-9, 9]),
        (tensor(np.zeros(2, np.float16), extra=block(13, varint(0x3C00))), [1, 1]),
        (tensor(np.zeros(2, bool), extra=number(11, 1)), [True, True]),
        (tensor(np.zeros(2, np.float32), extra=b""), [0, 0]),
    ],
)
def test_reads_every_form_of_a_constant(proto: bytes, expected: object) -> None:
    found = value_of(proto)
    assert np.array_equal(found, np.asarray(expected))
    assert found.shape == np.asarray(expected).shape


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (tensor(np.zeros(3, np.float32), extra=block(4, bytes(8))), "8 bytes in place of 12"),
        (tensor(np.zeros(1, np.float32), extra=block(5, bytes(8))), "with 2 values"),
        (tensor(np.zeros(2, np.float32), extra=block(5, bytes(7))), "7 bytes"),
        (tensor(np.zeros(2, np.uint8), extra=number(7, 300)), "beyond"),
        (number(1, 1) + block(2, block(2, number(1, 1 << 40))), "impossible shape"),
        (number(1, 1) + block(2, block(2, number(1, -1))), "impossible shape"),
        (number(1, 8) + block(2, b""), "DataType 8"),
    ],
)
def test_refuses_a_constant_that_lies(proto: bytes, words: str) -> None:
    with pytest.raises(ConvertError, match=words) as caught:
        value_of(proto)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "holds no nodes"),
        (b'node {\n  name: "a"\n}', "text form"),
        (number(1, 1) + block(2, b"x"), "SavedModel"),
        (SMALL[:-3], "bytes are left|are left"),
        (b"\xff" * 40, "no frozen graph or is damaged"),
        (b"PK\x03\x04" + bytes(50), "no frozen graph or is damaged"),
        (block(1, block(1, b"\xff\xfe") + block(2, b"Relu")), "UTF-8"),
        (block(1, block(1, b"nameless")), "without a name or an operation"),
    ],
)
def test_refuses_what_is_no_graph_in_one_line(raw: bytes, words: str) -> None:
    with pytest.raises(ConvertError, match=words) as caught:
        graphdef.parse(raw, "bad.pb")
    assert "bad.pb" in str(caught.value)
    assert "\n" not in str(caught.value)


def filled(name: str, size: int, kind: int = 1) -> bytes:
    """A constant of one value that fills a shape."""
    value = number(1, kind) + block(2, block(2, number(1, size)))
    attribute = block(5, block(1, b"value") + block(2, block(8, value)))
    return block(1, block(1, name.encode()) + block(2, b"Const") + attribute)


def test_constants_together_are_bounded_by_the_file() -> None:
    node = block(1, block(1, b"x") + block(2, b"Placeholder"))
    graph = graphdef.parse(node + filled("a", 1 << 20) + filled("b", 1 << 20), "two.pb")
    assert graph.constants["b"].shape == (1 << 20,)
    for raw in (
        b"".join(filled(f"c{n}", 1 << 20) for n in range(5)),
        filled("a", 50_000_000),
        filled("a", 50_000_000, kind=7),
    ):
        with pytest.raises(ConvertError, match=r"bad\.pb .*much larger than the file"):
            graphdef.parse(node + raw, "bad.pb")


def test_a_file_without_end_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_file, "MODEL_BYTES", 1000)
    with pytest.raises(ConvertError, match="it is larger than 1000 bytes"):
        graphdef.read(Path("/dev/zero"))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"cannot read .*none\.pb"):
        graphdef.read(tmp_path / "none.pb")


def outcome(raw: bytes) -> str:
    """The error of reading these bytes, empty where they are a graph."""
    try:
        graphdef.parse(raw, "bad.pb")
    except ConvertError as error:
        return str(error)
    return ""


def test_damage_anywhere_gives_a_graph_or_one_clear_error() -> None:
    chance = random.Random(5)
    for _ in range(2000):
        raw = bytearray(SMALL)
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        cut = bytes(raw[: chance.randint(1, len(raw))])
        assert "\n" not in outcome(cut)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)
def test_tensorflow_reads_the_same() -> None:
    from tensorflow.core.framework import graph_pb2  # type: ignore[import-not-found]

    theirs = graph_pb2.GraphDef()
    theirs.ParseFromString(SMALL)
    ours = graphdef.parse(SMALL, "small.pb")
    assert [n.name for n in theirs.node if n.op != "Const"] == [n.name for n in ours.nodes]
    conv = next(n for n in theirs.node if n.name == "conv")
    assert list(conv.attr["strides"].list.i) == ours.node("conv").attributes["strides"]
    assert Shape(d.size for d in theirs.node[0].attr["shape"].shape.dim) == (-1, 4, 4, 3)
