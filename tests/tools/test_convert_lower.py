"""Lowered graphs compute what plain numpy computes from the same definition."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tfjs_graphs import FLOAT, GraphModel, integers, text

from edgecam.core.tensors import RAW_PIXELS
from edgecam.inference.runtime import find
from edgecam.inference.tflite import metadata as tflite_metadata
from edgecam.inference.tflite.file import read
from edgecam.tools.convert import tfjs
from edgecam.tools.convert.float16 import halve
from edgecam.tools.convert.graph import ConvertError
from edgecam.tools.convert.lower import lower
from edgecam.tools.convert.writer import write

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="writes with ai-edge-litert")

F32 = NDArray[np.float32]
RNG = np.random.default_rng(7)


def random(*shape: int) -> F32:
    return RNG.normal(0, 1, shape).astype(np.float32)


def convert(
    model: GraphModel, folder: Path, size: tuple[int, int] = (9, 11), *, half: bool = False
) -> bytes:
    graph = tfjs.read(model.write(folder))
    lowered = lower(graph, {"image": (1, *size, 3)})
    return write(halve(lowered) if half else lowered, "test", RAW_PIXELS)


def run(data: bytes, image: F32, *, resize: bool = False) -> list[F32]:
    interpreter = find().interpreter(model_content=data, num_threads=1)
    if resize:
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], image.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def conv(image: F32, weights: F32, *, stride: int, dilation: int, padding: str) -> F32:
    """The definition: for every output pixel, the sum over the window; HWIO weights."""
    height, width, _, made = weights.shape
    if padding == "SAME":
        pads = []
        for size, kernel in ((image.shape[1], height), (image.shape[2], width)):
            out = math.ceil(size / stride)
            total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            pads.append((total // 2, total - total // 2))
        image = np.pad(image, ((0, 0), *pads, (0, 0)))
    rows = range(0, image.shape[1] - (height - 1) * dilation, stride)
    columns = range(0, image.shape[2] - (width - 1) * dilation, stride)
    result = np.zeros((1, len(rows), len(columns), made), np.float64)
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            window = image[
                0,
                row : row + (height - 1) * dilation + 1 : dilation,
                column : column + (width - 1) * dilation + 1 : dilation,
            ]
            result[0, y, x] = np.einsum("hwi,hwio->o", window.astype(np.float64), weights)
    return result.astype(np.float32)


def as_full(depthwise: F32) -> F32:
    """[H, W, in, multiplier] as the sparse [H, W, in, in * multiplier] that it stands for."""
    height, width, taken, multiplier = depthwise.shape
    full = np.zeros((height, width, taken, taken * multiplier), np.float32)
    for channel in range(taken):
        made = slice(channel * multiplier, (channel + 1) * multiplier)
        full[:, :, channel, made] = depthwise[:, :, channel]
    return full


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("op", ["_FusedConv2D", "FusedDepthwiseConv2dNative"])
def test_a_convolution_gives_what_numpy_computes(
    tmp_path: Path, op: str, stride: int, dilation: int, padding: str
) -> None:
    weights, bias = random(3, 3, 3, 2), random(2)
    full = weights
    if op.startswith("FusedDepthwise"):
        bias, full = random(6), as_full(weights)
    model = GraphModel()
    options: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": padding}
    model.outputs = [
        model.conv("c", model.image(9, 11), weights, bias, op=op, activation="Relu6", **options)
    ]
    image = random(1, 9, 11, 3)
    expected = np.clip(conv(image, full, **options) + bias, 0, 6)
    (found,) = run(convert(model, tmp_path), image)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_bias_batch_norm_factor_and_activation_fold_into_one_operator(tmp_path: Path) -> None:
    model = GraphModel()
    weights = random(3, 3, 3, 2)
    name = model.conv("c", model.image(9, 11), weights, op="DepthwiseConv2dNative")
    scale, offset, mean = random(6), random(6), random(6)
    variance = RNG.uniform(0.5, 2, 6).astype(np.float32)
    statistics = {"scale": scale, "offset": offset, "mean": mean, "variance": variance}
    inputs = [name, *(model.const(key, values) for key, values in statistics.items())]
    epsilon = {"epsilon": {"f": 0.001}, "is_training": {"b": False}, "data_format": text("NHWC")}
    name = model.node("bn", "FusedBatchNormV3", inputs, epsilon)
    factor, summand = random(1, 1, 1, 6), random(6)
    name = model.node("times", "Mul", [model.const("factor", factor), name], {"T": FLOAT})
    name = model.node("plus", "AddV2", [name, model.const("summand", summand)], {"T": FLOAT})
    model.outputs = [model.node("relu", "Relu", [name], {"T": FLOAT})]
    image = random(1, 9, 11, 3)
    plain = conv(image, as_full(weights), stride=1, dilation=1, padding="SAME")
    normal = (plain - mean) / np.sqrt(variance + 0.001) * scale + offset
    expected = np.maximum(normal * factor + summand, 0)
    data = convert(model, tmp_path)
    (found,) = run(data, image)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert [op.name for op in read(data).main.ops] == ["DEPTHWISE_CONV_2D"]


@pytest.mark.parametrize("size", [(9, 11), (10, 8)])
def test_space_to_batch_around_a_convolution_is_a_dilation(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    model = GraphModel()
    extra = [size[0] % 2, size[1] % 2]
    pads = np.array([[2, 2 + extra[0]], [2, 2 + extra[1]]], np.int32)
    crops = np.array([[0, extra[0]], [0, extra[1]]], np.int32)
    block = model.const("block", np.array([2, 2], np.int32))
    image_name = model.image(*size)
    name = model.node("s2b", "SpaceToBatchND", [image_name, block, model.const("p", pads)], {})
    weights, bias = random(3, 3, 3, 4), random(4)
    name = model.conv("c", name, weights, padding="VALID")
    name = model.node("bias", "BiasAdd", [name, model.const("b", bias)], {"T": FLOAT})
    name = model.node("b2s", "BatchToSpaceND", [name, block, model.const("crops", crops)], {})
    model.outputs = [model.node("relu", "Relu6", [name], {"T": FLOAT})]
    image = random(1, *size, 3)
    plain = conv(image, weights, stride=1, dilation=2, padding="SAME")
    data = convert(model, tmp_path, size)
    (found,) = run(data, image)
    np.testing.assert_allclose(found, np.clip(plain + bias, 0, 6), atol=2e-5)
    assert [op.name for op in read(data).main.ops] == ["CONV_2D"]


def test_a_file_resized_at_load_computes_what_one_converted_at_that_size_does(
    tmp_path: Path,
) -> None:
    model = GraphModel()
    name = model.conv(
        "c", model.image(9, 11), random(3, 3, 3, 4), random(4), op="_FusedConv2D", stride=2
    )
    pooled = {"ksize": integers(1, 3, 3, 1), "strides": integers(1, 2, 2, 1)}
    model.outputs = [model.node("pool", "MaxPool", [name], {**pooled, "padding": text("SAME")})]
    image = random(1, 17, 33, 3)
    (resized,) = run(convert(model, tmp_path), image, resize=True)
    (native,) = run(convert(model, tmp_path, (17, 33)), image)
    np.testing.assert_array_equal(resized, native)


def test_float16_weights_stay_within_their_rounding(tmp_path: Path) -> None:
    model = GraphModel()
    weights, bias = random(3, 3, 3, 4), random(4)
    model.outputs = [model.conv("c", model.image(9, 11), weights, bias, op="_FusedConv2D")]
    image = random(1, 9, 11, 3)
    (found,) = run(convert(model, tmp_path, half=True), image)
    rounded = weights.astype(np.float16).astype(np.float32)
    expected = conv(image, rounded, stride=1, dilation=1, padding="SAME")
    np.testing.assert_allclose(found, expected + bias.astype(np.float16), atol=2e-5)


def test_float16_refuses_weights_out_of_its_range(tmp_path: Path) -> None:
    model = GraphModel()
    weights = random(1, 1, 3, 1) * 1e6
    model.outputs = [model.conv("c", model.image(9, 11), weights, random(1), op="_FusedConv2D")]
    with pytest.raises(ConvertError, match=r"expected at most 65504"):
        convert(model, tmp_path, half=True)


def test_every_op_that_has_no_form_is_named_in_one_line(tmp_path: Path) -> None:
    model = GraphModel()
    name = model.node("a", "Erf", [model.image(9, 11)], {})
    name = model.node("b", "Erf", [name], {})
    model.outputs = [model.node("c", "TopKV2", [name], {})]
    with pytest.raises(ConvertError, match=r"^[^\n]*: Erf \(2\), TopKV2 \(1\)$"):
        convert(model, tmp_path)


def test_the_file_says_what_it_wants_and_is_the_same_every_time(tmp_path: Path) -> None:
    model = GraphModel()
    model.outputs = [
        model.conv("c", model.image(9, 11), random(1, 1, 3, 2), random(2), op="_FusedConv2D")
    ]
    data = convert(model, tmp_path)
    assert data == convert(model, tmp_path)
    file = read(data)
    found = tflite_metadata.metadata(file)
    assert [output.name for output in found.outputs] == ["c"]
    assert found.inputs[0].mean == RAW_PIXELS.mean
    assert file.signatures[0].outputs == {"c": file.main.outputs[0]}
