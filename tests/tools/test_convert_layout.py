"""Graphs with channels before pixels become equal ones with channels last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecam.core.tensors import RAW_PIXELS
from edgecam.inference.runtime import find
from edgecam.inference.tflite.file import read
from edgecam.tools.convert import sizes
from edgecam.tools.convert.colours import rgb
from edgecam.tools.convert.graph import ConvertError, Graph, Node
from edgecam.tools.convert.layout import channels_last
from edgecam.tools.convert.lower import lower
from edgecam.tools.convert.writer import write

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")

Array = NDArray[np.float32]
RNG = np.random.default_rng(3)
SIDE = 8
TO_LAST, TO_FIRST = np.array([0, 2, 3, 1], np.int32), np.array([0, 3, 1, 2], np.int32)
PADS = np.array([[0, 0], [0, 0], [1, 1], [1, 1]], np.int32)
WINDOW: dict[str, Any] = {"padding": "VALID", "dilations": [1, 1, 1, 1], "data_format": "NHWC"}


def normal(*shape: int) -> Array:
    return RNG.normal(0, 1, shape).astype(np.float32)


def exported() -> Graph:
    """A network as a converter from ONNX writes it: a stem, two branches, a head in two parts."""
    picture = Node("image", "Placeholder", (), {"shape": (1, 3, SIDE, SIDE)})
    strided = {**WINDOW, "strides": [1, 2, 2, 1]}
    plain = {**WINDOW, "strides": [1, 1, 1, 1]}
    pool = {**strided, "ksize": [1, 3, 3, 1]}
    half = {"half_pixel_centers": True, "align_corners": False}
    nodes = [
        picture,
        Node("pad", "Pad", ("image", "pads"), {}),
        Node("last", "Transpose", ("pad", "to_last"), {}),
        Node("stem", "Conv2D", ("last", "stem/w"), strided),
        Node("first", "Transpose", ("stem", "to_first"), {}),
        Node("bias", "Add", ("first", "per_channel"), {}),
        Node("leaky", "LeakyRelu", ("bias",), {"alpha": 0.1}),
        Node("far", "PadV2", ("leaky", "pads", "least"), {}),
        Node("pool_last", "Transpose", ("far", "to_last"), {}),
        Node("pool", "MaxPool", ("pool_last",), pool),
        Node("up", "ResizeBilinear", ("pool", "up/size"), half),
        Node("up_first", "Transpose", ("up", "to_first"), {}),
        Node("joined", "ConcatV2", ("up_first", "leaky", "axis"), {}),
        Node("head_last", "Transpose", ("joined", "to_last"), {}),
        Node("head", "Conv2D", ("head_last", "head/w"), plain),
        Node("head_first", "Transpose", ("head", "to_first"), {}),
        Node("parts", "SplitV", ("head_first", "parts/sides", "axis"), {"num_split": 2}),
        Node("shape", "SparseToDense", ("none", "three", "nothing", "zero"), {}),
        Node("flat_shape", "AddV2", ("open", "shape"), {}),
        Node("sure", "Sigmoid", ("parts",), {}),
        Node("flat", "Reshape", ("sure", "flat_shape"), {}),
        Node("rows", "Transpose", ("flat", "swap"), {}),
    ]
    constants = {
        "pads": PADS,
        "to_last": TO_LAST,
        "to_first": TO_FIRST,
        "stem/w": normal(3, 3, 3, 4),
        "per_channel": normal(1, 4, 1, 1),
        "least": np.float32(-np.inf),
        "up/size": np.array([4, 4], np.int32),
        "axis": np.array(1, np.int32),
        "head/w": normal(1, 1, 8, 5),
        "parts/sides": np.array([3, 2], np.int32),
        "none": np.zeros((0, 1), np.int32),
        "three": np.array([3], np.int32),
        "nothing": np.zeros(0, np.int32),
        "zero": np.array(0, np.int32),
        "open": np.array([1, 3, -1], np.int32),
        "swap": np.array([0, 2, 1], np.int32),
    }
    return Graph(tuple(nodes), constants, ("image",), ("rows", "parts:1"))


def by_definition(graph: Graph, image: Array) -> tuple[Array, Array]:
    """What the exported network computes of a picture [1, 3, H, W], in numpy."""
    c = graph.constants
    padded = np.pad(image, PADS)
    stem = np.zeros((1, 4, SIDE // 2, SIDE // 2), np.float32)
    for y in range(SIDE // 2):
        for x in range(SIDE // 2):
            window = padded[0, :, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
            stem[0, :, y, x] = np.einsum("chw,hwco->o", window, c["stem/w"])
    stem += c["per_channel"]
    leaky = np.where(stem < 0, 0.1 * stem, stem)
    far = np.pad(leaky, PADS, constant_values=-np.inf)
    pool = np.stack(
        [
            far[:, :, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3].max(axis=(2, 3))
            for y in range(SIDE // 4)
            for x in range(SIDE // 4)
        ],
        axis=2,
    ).reshape(1, 4, SIDE // 4, SIDE // 4)
    # Twice the size by half pixels: a quarter and three quarters of two neighbours.
    spread = np.zeros((SIDE // 2, SIDE // 4), np.float32)
    for row in range(SIDE // 2):
        at = min(max((row + 0.5) / 2 - 0.5, 0.0), SIDE // 4 - 1)
        low = min(int(at), SIDE // 4 - 2)
        spread[row, low : low + 2] = 1 - (at - low), at - low
    up = np.einsum("yh,xw,bchw->bcyx", spread, spread, pool)
    joined = np.concatenate((up, leaky), axis=1)
    head = np.einsum("bchw,cd->bdhw", joined, c["head/w"][0, 0])
    rows = 1 / (1 + np.exp(-head[:, :3].reshape(1, 3, -1).transpose(0, 2, 1)))
    return rows, head[:, 3:].transpose(0, 2, 3, 1)


def run(graph: Graph, image: Array, shape: tuple[int, ...]) -> tuple[list[Array], list[str]]:
    data = write(lower(graph, {"image": shape}), "test", RAW_PIXELS)
    interpreter = find().interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    return outputs, [op.name for op in read(data, "test").main.ops]


def test_an_exported_network_computes_the_same_without_a_transpose() -> None:
    graph = exported()
    image = normal(1, 3, SIDE, SIDE)
    turned = channels_last(graph)
    (rows, rest), ops = run(turned, image.transpose(0, 2, 3, 1), (1, SIDE, SIDE, 3))
    wanted_rows, wanted_rest = by_definition(graph, image)
    np.testing.assert_allclose(rows, wanted_rows, atol=1e-5)
    np.testing.assert_allclose(rest, wanted_rest, atol=1e-5)
    assert "TRANSPOSE" not in ops
    assert "PADV2" not in ops


def test_a_graph_with_channels_last_stays_as_it_is() -> None:
    picture = Node("image", "Placeholder", (), {"shape": (1, SIDE, SIDE, 3)})
    graph = Graph((picture, Node("y", "Relu", ("image",), {})), {}, ("image",), ("y",))
    assert channels_last(graph) is graph


def test_what_has_no_rule_gets_the_order_of_axes_that_it_was_written_for() -> None:
    picture = Node("image", "Placeholder", (), {"shape": (1, 3, SIDE, SIDE)})
    flat = Node("flat", "Reshape", ("image", "all"), {})
    graph = Graph((picture, flat), {"all": np.array([1, -1], np.int32)}, ("image",), ("flat",))
    image = normal(1, 3, SIDE, SIDE)
    turned = channels_last(graph)
    (found,), ops = run(turned, image.transpose(0, 2, 3, 1), (1, SIDE, SIDE, 3))
    np.testing.assert_array_equal(found, image.reshape(1, -1))
    assert ops == ["TRANSPOSE", "RESHAPE"]


def test_a_resize_to_stated_pixels_keeps_its_scale_at_another_size() -> None:
    graph = channels_last(exported())
    larger = sizes.relative(graph, "image", (1, SIDE, SIDE, 3), (16, 24))
    (rows, rest), _ = run(larger, normal(1, 16, 24, 3), (1, 16, 24, 3))
    assert (rows.shape, rest.shape) == ((1, 8 * 12, 3), (1, 8, 12, 2))
    with pytest.raises(ConvertError, match=r"size 18x16: expected sides that are multiples of 4"):
        sizes.relative(graph, "image", (1, SIDE, SIDE, 3), (18, 16))
    assert sizes.relative(graph, "image", (1, SIDE, SIDE, 3), (SIDE, SIDE)) is graph


def test_a_network_for_bgr_takes_rgb() -> None:
    graph = channels_last(exported())
    image = normal(1, SIDE, SIDE, 3)
    plain, _ = run(graph, np.ascontiguousarray(image[..., ::-1]), image.shape)
    turned, _ = run(rgb(graph, "image"), image, image.shape)
    for first, second in zip(plain, turned, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


def test_rgb_needs_a_convolution_behind_the_picture() -> None:
    picture = Node("image", "Placeholder", (), {"shape": (1, SIDE, SIDE, 3)})
    graph = Graph((picture, Node("y", "Sigmoid", ("image",), {})), {}, ("image",), ("y",))
    with pytest.raises(ConvertError, match="--bgr: Sigmoid 'y' takes the picture, expected a conv"):
        rgb(graph, "image")


def test_depth_to_space() -> None:
    picture = Node("image", "Placeholder", (), {"shape": (1, 2, 2, 8)})
    node = Node("y", "DepthToSpace", ("image",), {"block_size": 2})
    graph = Graph((picture, node), {}, ("image",), ("y",))
    image = normal(1, 2, 2, 8)
    (found,), _ = run(graph, image, image.shape)
    wanted = image.reshape(1, 2, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(1, 4, 4, 2)
    np.testing.assert_array_equal(found, wanted)


def test_parts_that_do_not_fit() -> None:
    picture = Node("image", "Placeholder", (), {"shape": (1, SIDE, SIDE, 3)})
    split = Node("y", "SplitV", ("image", "sides", "axis"), {"num_split": 2})
    constants = {"sides": np.array([1, 3], np.int32), "axis": np.array(3, np.int32)}
    graph = Graph((picture, split), constants, ("image",), ("y",))
    with pytest.raises(ConvertError, match=r"SplitV 'y': parts \[1, 3\] of 3 do not fit"):
        lower(graph, {"image": (1, SIDE, SIDE, 3)})
