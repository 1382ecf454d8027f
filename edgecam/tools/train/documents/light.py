"""Light and camera: gradients, shadows, glare, colour cast, blur, noise and compression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecam.core.opencv import cv2
from edgecam.tools.train.documents.texture import Field, cloud


def _ramp(rng: np.random.Generator, width: int, height: int) -> Field:
    """A light from one side, 1 at its brightest."""
    turn = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    along = (np.cos(turn) * x + np.sin(turn) * y) / 2.8 + 0.5
    return np.asarray(1 - rng.uniform(0, 0.6) * along, np.float32)


def _shadow(rng: np.random.Generator, width: int, height: int) -> Field:
    """The shadow of a hand, a head or a window frame, 1 outside it."""
    mask = np.zeros((height, width), np.float32)
    size = max(width, height)
    corners = rng.uniform((0, 0), (width, height)) + rng.normal(0, 0.45 * size, (5, 2))
    hull = cv2.convexHull(corners.astype(np.float32)).astype(np.int32)
    cv2.fillPoly(mask, [hull], 1.0, cv2.LINE_AA)
    mask = cv2.GaussianBlur(mask, (0, 0), size * rng.uniform(0.004, 0.08))
    return np.asarray(1 - mask * rng.uniform(0.15, 0.65), np.float32)


def _glare(rng: np.random.Generator, width: int, height: int) -> Field:
    x = np.arange(width, dtype=np.float32)[None, :] - rng.uniform(0, width)
    y = np.arange(height, dtype=np.float32)[:, None] - rng.uniform(0, height)
    spread = (min(width, height) * rng.uniform(0.05, 0.3)) ** 2
    return np.asarray(rng.uniform(20, 140) * np.exp(-(x * x + y * y) / (2 * spread)), np.float32)


def lit(rng: np.random.Generator, scene: Field) -> Field:
    """The scene under uneven, coloured light, float32[H, W, 3], not yet clipped."""
    height, width = scene.shape[:2]
    light = _ramp(rng, width, height)
    if rng.random() < 0.45:
        light = light * _shadow(rng, width, height)
    if rng.random() < 0.3:
        side = max(width, height)
        light = light * (0.75 + 0.5 * cloud(rng, side, 2, 2)[:height, :width])
    cast = np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    out = scene * light[..., None] * cast
    # A camera exposes for what it sees, well or not so well.
    brightest = max(float(np.percentile(out[::4, ::4], 95)), 1.0)
    out *= np.float32(rng.uniform(125, 265) / brightest)
    if rng.random() < 0.12:
        out += _glare(rng, width, height)[..., None]
    return np.asarray(out, np.float32)


def photographed(
    rng: np.random.Generator, scene: Field, width: int, height: int
) -> NDArray[np.uint8]:
    """What a camera makes of ``scene``, uint8[height, width, 3]: lens, sensor, JPEG."""
    small = cv2.resize(scene, (width, height), interpolation=cv2.INTER_AREA)
    scale = min(width, height) / 256
    if rng.random() < 0.6:
        small = cv2.GaussianBlur(small, (0, 0), 0.3 + abs(rng.normal(0, 0.7)) * scale)
    if rng.random() < 0.15:
        length = int(rng.integers(3, max(4, int(7 * scale))))
        kernel = np.zeros((length, length), np.float32)
        turn = cv2.getRotationMatrix2D(((length - 1) / 2,) * 2, rng.uniform(0, 180), 1)
        kernel[length // 2] = 1
        kernel = cv2.warpAffine(kernel, turn, (length, length))
        small = cv2.filter2D(small, -1, kernel / kernel.sum())
    grain = rng.normal(0, rng.choice([0.5, 3, 8, 14], p=[0.35, 0.4, 0.2, 0.05]), small.shape)
    small = 255 * (np.clip(small + grain, 0, 255) / 255) ** rng.uniform(0.75, 1.3)
    picture = np.asarray(np.clip(small, 0, 255), np.uint8)
    if rng.random() < 0.15:
        picture = np.repeat(picture.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    quality = int(rng.integers(35, 96))
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
