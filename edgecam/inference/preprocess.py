"""From a source frame to a model's input tensor: resize, letterbox, colour, quantise.

It happens in two steps, so that the first may run while the model still works on the frame
before: ``resize_into`` makes RGB uint8 at model size in a buffer of ours, ``fill`` writes that into
the input tensor in its own type, in one pass over the pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import ModelError
from edgecam.core.frame import Frame, Image
from edgecam.core.geometry import FITS, Fit, Rectangle
from edgecam.core.opencv import cv2
from edgecam.core.tensors import Normalization, Tensor, TensorInfo

log = logging.getLogger(__name__)

Fill = Callable[[Image, Tensor], None]
Matrix = NDArray[np.float64]


class Resizer:
    """Fits frames into buffers of one model size; remembers the fit of the last frame size.

    ``height_px``, ``width_px``: the model input. ``fit``: a key of ``geometry.FITS``.
    """

    def __init__(self, height_px: int, width_px: int, fit: str) -> None:
        self.height_px, self.width_px = height_px, width_px
        self._fit = FITS[fit]
        self._fits: dict[tuple[int, int], Fit] = {}

    def buffer(self) -> Image:
        """Return a buffer for ``resize_into``: uint8[H, W, 3], zeroed."""
        return np.zeros((self.height_px, self.width_px, 3), np.uint8)

    def fit(self, width_px: int, height_px: int) -> Fit:
        """Where a frame of this size lies in the model input."""
        size = (width_px, height_px)
        fits = self._fits
        if size not in fits:
            # A new one: cameras that share a model ask on threads of their own.
            self._fits = fits = {size: self._fit(size, (self.width_px, self.height_px))}
        return fits[size]

    def resize_into(self, frame: Frame, buffer: Image) -> Fit:
        """Resize ``frame`` into ``buffer`` as RGB; the padding is black."""
        fit = self.fit(frame.width_px, frame.height_px)
        bottom, right = fit.top_px + fit.height_px, fit.left_px + fit.width_px
        inner = buffer[fit.top_px : bottom, fit.left_px : right]
        buffer[: fit.top_px] = 0
        buffer[bottom:] = 0
        buffer[:, : fit.left_px] = 0
        buffer[:, right:] = 0
        # Exact: the plain INTER_LINEAR rounds otherwise on ARM than on x86, and a pose model makes
        # pixels of grey levels. It takes 0.15 ms more.
        size_px = (fit.width_px, fit.height_px)
        shown = fit.part
        image = frame.image[shown.rows, shown.columns]
        cv2.resize(image, size_px, dst=inner, interpolation=cv2.INTER_LINEAR_EXACT)
        cv2.cvtColor(inner, cv2.COLOR_BGR2RGB, dst=inner)
        return fit

    @staticmethod
    def resize_tile_into(image: Image, part: Rectangle, fit: Fit, buffer: Image) -> None:
        """Resize ``part`` of a BGR ``image`` to where ``fit`` puts it in ``buffer``, as RGB."""
        inner = buffer[fit.top_px :, fit.left_px :][: fit.height_px, : fit.width_px]
        size_px = (fit.width_px, fit.height_px)
        shown = image[part.rows, part.columns]
        cv2.resize(shown, size_px, dst=inner, interpolation=cv2.INTER_LINEAR_EXACT)
        cv2.cvtColor(inner, cv2.COLOR_BGR2RGB, dst=inner)

    def warp_into(self, image: Image, matrix: Matrix, buffer: Image) -> None:
        """Fill ``buffer`` with a part of a BGR ``image``, as RGB; black where there is no picture.

        ``matrix``: float64[2, 3], from pixel indices of the image to those of the model input.
        """
        size_px = (self.width_px, self.height_px)
        cv2.warpAffine(image, matrix, size_px, dst=buffer, flags=cv2.INTER_LINEAR)
        cv2.cvtColor(buffer, cv2.COLOR_BGR2RGB, dst=buffer)


def _fill_float(normalization: Normalization, dtype: np.dtype[Any]) -> Fill:
    factor = np.float32(1.0) / np.array(normalization.std, np.float32)
    offset = -np.array(normalization.mean, np.float32) * factor
    alike = len(set(normalization.std)) == 1 and len(set(normalization.mean)) == 1
    scale, shift = float(factor[0]), float(offset[0])

    def fill_each(staged: Image, tensor: Tensor) -> None:
        np.multiply(staged, factor, out=tensor, dtype=np.float32, casting="unsafe")
        np.add(tensor, offset, out=tensor)

    def fill_alike(staged: Image, tensor: Tensor) -> None:
        # One pass over the pixels, a third faster than two.
        cv2.addWeighted(staged, scale, staged, 0.0, shift, dst=tensor, dtype=cv2.CV_32F)

    return fill_alike if alike and dtype == np.float32 else fill_each


def _table(info: TensorInfo, normalization: Normalization) -> Tensor:
    """The quantised value of each pixel value 0..255 for each channel, [256, 3]."""
    scale, zero_point = info.scale or 1.0, info.zero_point or 0
    pixels = np.arange(256.0)[:, None]
    real = (pixels - np.array(normalization.mean)) / np.array(normalization.std)
    limits = np.iinfo(info.dtype)
    quantised = np.round(real / scale) + zero_point
    return np.asarray(np.clip(quantised, limits.min, limits.max), info.dtype)


def _loses_the_picture(table: Tensor) -> bool:
    """Whether most pixel values of a channel become one and the same."""
    return any(np.unique(channel, return_counts=True)[1].max() > 128 for channel in table.T)


def _fill_integer(info: TensorInfo, normalization: Normalization | None) -> Fill:
    shift = 0x80 if info.dtype == np.int8 else 0
    plain = (np.arange(256) - shift)[:, None]

    def fill_plain(staged: Image, tensor: Tensor) -> None:
        if shift:
            np.bitwise_xor(staged, np.uint8(shift), out=tensor.view(np.uint8))
        else:
            np.copyto(tensor, staged)

    # What publishers write beside a uint8 input is about the float model that it was made of: their
    # own runtimes (TFLite Support) copy the pixels, and so do those who trained it.
    if normalization is None or not info.scale or info.dtype == np.uint8:
        return fill_plain
    table = _table(info, normalization)
    if _loses_the_picture(table):
        log.warning(
            "input %r: by mean %s and std %s, as the model's metadata says, most pixels would have "
            "the same value; it gets raw pixels less 128",
            *(info.name, list(normalization.mean), list(normalization.std)),
        )
        return fill_plain
    # Within one step of the raw pixel the model means the raw pixel: its publisher fed it so
    # (scale 1/128, zero point 128 for [-1, 1] is the common case).
    if np.all(np.abs(table.astype(np.int64) - plain) <= 1):
        return fill_plain
    lookup = np.ascontiguousarray(table.view(np.uint8).reshape(256, 1, 3))

    def fill_table(staged: Image, tensor: Tensor) -> None:
        cv2.LUT(staged, lookup, dst=tensor.view(np.uint8))

    return fill_table


def _fill_raw(staged: Image, tensor: Tensor) -> None:
    """Raw pixels in a wider integer type, as MoveNet's SavedModel takes them."""
    np.copyto(tensor, staged)


def _fill_grey(
    info: TensorInfo, normalization: Normalization | None, default: Normalization
) -> Fill:
    """How staged pixels become an input of one channel: by their brightness (ITU-R BT.601)."""
    is_float = info.dtype in (np.float32, np.float16)
    if is_float:
        said = normalization or default
        table = ((np.arange(256.0) - said.mean[0]) / said.std[0]).astype(info.dtype)
    elif normalization is None or not info.scale or info.dtype == np.uint8:
        table = (np.arange(256) - (0x80 if info.dtype == np.int8 else 0)).astype(info.dtype)
    else:
        table = _table(info, normalization)[:, 0]
        if _loses_the_picture(table[:, None]):
            table = (np.arange(256) - 0x80).astype(info.dtype)

    def fill_grey(staged: Image, tensor: Tensor) -> None:
        np.take(table, cv2.cvtColor(staged, cv2.COLOR_RGB2GRAY), out=tensor[..., 0])

    return fill_grey


def filler(info: TensorInfo, normalization: Normalization | None, default: Normalization) -> Fill:
    """How staged pixels become the input tensor ``info``.

    ``normalization`` is what the model's file says (None where it is silent), ``default`` what
    its family wants then of a float input. A uint8 input takes raw pixels whatever the file says;
    an int8 one whose file says nothing takes them less 128.

    Raises:
        ModelError: the input is of a type that no picture is turned into.
    """
    takes_bytes = info.dtype in (np.float32, np.float16, np.uint8, np.int8)
    if info.shape[-1] == 1 and takes_bytes:
        return _fill_grey(info, normalization, default)
    if info.dtype in (np.float32, np.float16):
        return _fill_float(normalization or default, info.dtype)
    if info.dtype in (np.uint8, np.int8):
        return _fill_integer(info, normalization)
    if info.dtype in (np.int32, np.int64) and not info.scale:
        return _fill_raw
    raise ModelError(
        f"input {info.name!r} has type {info.dtype}; expected float32, float16, uint8 or int8"
    )
