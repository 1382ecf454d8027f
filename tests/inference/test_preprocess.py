import tracemalloc

import numpy as np
import pytest

from edgecam.core.errors import ModelError
from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.core.tensors import MINUS_ONE_TO_ONE, Normalization, TensorInfo
from edgecam.inference.preprocess import Resizer, filler

PIXELS = np.random.default_rng(0).integers(0, 256, (33, 49, 3), dtype=np.uint8)
IMAGENET = Normalization((123.15, 115.9, 103.06), (1.0, 1.0, 1.0))


def frame(height_px: int, width_px: int) -> Frame:
    image = np.random.default_rng(1).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    return Frame(image, 0, 0.0, 0.0)


def info(dtype: type, scale: float | None = None, zero_point: int | None = None) -> TensorInfo:
    return TensorInfo(0, "input", (1, 33, 49, 3), np.dtype(dtype), scale, zero_point)


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_staging_is_resize_and_colour_swap_with_black_padding(fit: str) -> None:
    source = frame(90, 60)
    resizer = Resizer(33, 49, fit)
    buffer = resizer.buffer()
    buffer[:] = 77
    found = resizer.resize_into(source, buffer)
    expected = np.zeros_like(buffer)
    size_px = (found.width_px, found.height_px)
    inner = cv2.resize(source.image, size_px, interpolation=cv2.INTER_LINEAR_EXACT)[:, :, ::-1]
    expected[
        found.top_px : found.top_px + found.height_px,
        found.left_px : found.left_px + found.width_px,
    ] = inner
    np.testing.assert_array_equal(buffer, expected)


@pytest.mark.parametrize("normalization", [MINUS_ONE_TO_ONE, IMAGENET])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_float_input_gets_what_its_file_says(dtype: type, normalization: Normalization) -> None:
    tensor = np.empty(PIXELS.shape, dtype)
    filler(info(dtype), normalization, MINUS_ONE_TO_ONE)(PIXELS, tensor)
    real = (PIXELS.astype(np.float64) - normalization.mean) / normalization.std
    tolerance = 1e-5 if dtype == np.float32 else 0.2
    np.testing.assert_allclose(tensor, real, atol=tolerance)


def test_a_float_input_whose_file_is_silent_gets_its_familys() -> None:
    tensor = np.empty(PIXELS.shape, np.float32)
    filler(info(np.float32), None, MINUS_ONE_TO_ONE)(PIXELS, tensor)
    np.testing.assert_allclose(tensor, PIXELS / 127.5 - 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "normalization"),
    [
        (np.uint8, 1 / 128, 128, MINUS_ONE_TO_ONE),
        (np.uint8, 1 / 128, 128, None),
        (np.uint8, 1 / 255, 0, Normalization((0.0,) * 3, (255.0,) * 3)),
        (np.int8, 1 / 127.5, -1, MINUS_ONE_TO_ONE),
        (np.int8, 1 / 255, -128, None),
        (np.uint8, None, None, None),
        # AutoML Vision Edge writes so, and feeds raw pixels itself.
        (np.uint8, 1 / 127, 128, Normalization((0.0,) * 3, (1.0,) * 3)),
        (np.uint8, 1 / 255, 0, IMAGENET),
        (np.int8, 1 / 127, -1, Normalization((0.0,) * 3, (1.0,) * 3)),
    ],
)
def test_a_quantised_input_that_means_raw_pixels_gets_them(
    dtype: type, scale: float | None, zero_point: int | None, normalization: Normalization | None
) -> None:
    tensor = np.empty(PIXELS.shape, dtype)
    filler(info(dtype, scale, zero_point), normalization, MINUS_ONE_TO_ONE)(PIXELS, tensor)
    shift = 128 if dtype == np.int8 else 0
    np.testing.assert_array_equal(tensor, PIXELS.astype(np.int64) - shift)


def test_a_quantised_input_of_another_range_is_quantised() -> None:
    tensor = np.empty(PIXELS.shape, np.int8)
    filler(info(np.int8, 1.0, 0), IMAGENET, MINUS_ONE_TO_ONE)(PIXELS, tensor)
    expected = np.clip(np.round(PIXELS - np.array(IMAGENET.mean)), -128, 127)
    np.testing.assert_array_equal(tensor, expected)


def test_a_table_that_loses_the_picture_is_named(caplog: pytest.LogCaptureFixture) -> None:
    filler(info(np.int8, 1 / 127, -1), Normalization((0.0,) * 3, (1.0,) * 3), MINUS_ONE_TO_ONE)
    assert [record.message for record in caplog.records] == [
        "input 'input': by mean [0.0, 0.0, 0.0] and std [1.0, 1.0, 1.0], as the model's metadata "
        "says, most pixels would have the same value; it gets raw pixels less 128"
    ]


def test_an_input_of_another_type_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'input' has type bool; expected float32"):
        filler(info(np.bool_), None, MINUS_ONE_TO_ONE)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int8])
def test_a_frame_costs_no_allocation_of_picture_size(dtype: type) -> None:
    source, resizer = frame(720, 1280), Resizer(353, 481, "letterbox")
    buffer, tensor = resizer.buffer(), np.empty((353, 481, 3), dtype)
    fill = filler(info(dtype), None, MINUS_ONE_TO_ONE)
    resizer.resize_into(source, buffer)
    fill(buffer, tensor)
    tracemalloc.start()
    try:
        resizer.resize_into(source, buffer)
        fill(buffer, tensor)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The only buffer left is numpy's casting chunk, of a fixed size.
    assert peak_bytes < buffer.nbytes / 4
