"""What lies about a page: pens, cables, cups, books, keyboards, other sheets, fingers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgecam.core.opencv import cv2
from edgecam.tools.train.documents.texture import Field, colour

Point = NDArray[np.float64]


def _bgr(tone: Field) -> list[float]:
    return [float(v) for v in tone]


def _box(centre: Point, width: float, height: float, turn: float) -> NDArray[np.int32]:
    box = cv2.boxPoints(((float(centre[0]), float(centre[1])), (width, height), np.degrees(turn)))
    return np.asarray(box, np.int32)


def pen(rng: np.random.Generator, scene: Field, at: Point, size: float) -> None:
    """A straight thick line with a lighter streak."""
    turn, half, thick = rng.uniform(0, np.pi), size * rng.uniform(0.5, 1.3), max(2, int(size / 14))
    reach = np.array((np.cos(turn), np.sin(turn))) * half
    ends = [tuple(int(v) for v in at - reach), tuple(int(v) for v in at + reach)]
    tone = colour(rng)
    cv2.line(scene, ends[0], ends[1], _bgr(tone), thick, cv2.LINE_AA)
    cv2.line(scene, ends[0], ends[1], _bgr(tone + 45), max(1, thick // 3), cv2.LINE_AA)


def cable(rng: np.random.Generator, scene: Field, at: Point, size: float) -> None:
    """A thin curve."""
    knots = at + np.cumsum(rng.normal(0, size * 0.6, (5, 2)), 0)
    steps = np.linspace(0, 1, 40)[:, None]
    curve = sum(
        binomial * (1 - steps) ** (4 - k) * steps**k * knots[k]
        for k, binomial in enumerate((1, 4, 6, 4, 1))
    )
    points = np.asarray(curve).astype(np.int32)
    cv2.polylines(scene, [points], False, _bgr(colour(rng)), max(1, int(size / 40)), cv2.LINE_AA)


def cup(rng: np.random.Generator, scene: Field, at: Point, size: float) -> None:
    """Ellipses within each other."""
    centre, turn = (int(at[0]), int(at[1])), float(rng.uniform(0, 180))
    radius, flat = size * rng.uniform(0.3, 0.6), rng.uniform(0.6, 1.0)
    for shrink in (1.0, 0.86, 0.8):
        axes = (max(1, int(radius * shrink)), max(1, int(radius * flat * shrink)))
        cv2.ellipse(scene, centre, axes, turn, 0, 360, _bgr(colour(rng)), -1, cv2.LINE_AA)


def slab(rng: np.random.Generator, scene: Field, at: Point, size: float) -> None:
    """A book or a telephone: a rectangle with a border and perhaps a title."""
    tone, turn = colour(rng, 10, 170), rng.uniform(0, np.pi)
    width, height = size * rng.uniform(0.5, 1.1), size * rng.uniform(0.3, 0.8)
    cv2.fillPoly(scene, [_box(at + size / 30, width, height, turn)], [8.0] * 3, cv2.LINE_AA)
    cv2.fillPoly(scene, [_box(at, width, height, turn)], _bgr(tone), cv2.LINE_AA)
    inner = _box(at, width * 0.88, height * 0.85, turn)
    cv2.fillPoly(scene, [inner], _bgr(colour(rng, 10, 190)), cv2.LINE_AA)


def keyboard(rng: np.random.Generator, scene: Field, at: Point, size: float) -> None:
    """A dark slab with rows of keys."""
    turn, key = rng.uniform(0, np.pi), size * 0.13
    rows, columns = 4, int(rng.integers(5, 13))
    along = np.array((np.cos(turn), np.sin(turn)))
    down = np.array((-along[1], along[0]))
    base, cap = colour(rng, 15, 120), colour(rng)
    slab_box = _box(at, key * (columns + 1), key * (rows + 1), turn)
    cv2.fillPoly(scene, [slab_box], _bgr(base), cv2.LINE_AA)
    for row in range(rows):
        for column in range(columns):
            offset = along * (column - (columns - 1) / 2) + down * (row - (rows - 1) / 2)
            box = _box(at + offset * key, key * 0.8, key * 0.8, turn)
            cv2.fillPoly(scene, [box], _bgr(cap), cv2.LINE_AA)


def sheet(rng: np.random.Generator, scene: Field, at: Point, size: float) -> None:
    """A smaller piece of paper, such as a note or a card."""
    turn = rng.uniform(0, np.pi)
    tone = colour(rng, 150, 250)
    box = _box(at, size * rng.uniform(0.3, 0.7), size * rng.uniform(0.3, 0.7), turn)
    cv2.fillPoly(scene, [box], _bgr(tone), cv2.LINE_AA)
    for row in np.linspace(-0.12, 0.12, int(rng.integers(2, 6))):
        reach = np.array((np.cos(turn), np.sin(turn))) * size * 0.13
        middle = at + np.array((-np.sin(turn), np.cos(turn))) * size * row
        ends = [tuple(int(v) for v in middle - reach), tuple(int(v) for v in middle + reach)]
        cv2.line(scene, ends[0], ends[1], _bgr(tone - 90), max(1, int(size / 60)), cv2.LINE_AA)


KINDS: tuple[Callable[[np.random.Generator, Field, Point, float], None], ...] = (
    pen,
    cable,
    cup,
    slab,
    keyboard,
    sheet,
)


def scatter(rng: np.random.Generator, scene: Field, most: int) -> None:
    """Put up to ``most`` things and a few straight lines anywhere in ``scene``, in place."""
    height, width = scene.shape[:2]
    for _ in range(int(rng.integers(0, most + 1))):
        at = rng.uniform((0, 0), (width, height))
        size = min(width, height) * rng.uniform(0.12, 0.45)
        KINDS[int(rng.integers(len(KINDS)))](rng, scene, at, size)
    for _ in range(int(rng.choice([0, 0, 1, 2, 4]))):
        ends = rng.uniform((-width, -height), (2 * width, 2 * height), (2, 2)).astype(int)
        thick = int(rng.integers(1, 5))
        cv2.line(scene, ends[0], ends[1], _bgr(colour(rng)), thick, cv2.LINE_AA)


def finger(rng: np.random.Generator, scene: Field, at: Point, outward: Point, size: float) -> None:
    """A thumb that reaches from ``outward`` over ``at``, in place."""
    skin = np.array((110, 140, 195), np.float32) * np.float32(rng.uniform(0.4, 1.2))
    tip = at - outward * size * rng.uniform(0.0, 0.3)
    root = at + outward * size * 4
    thick = max(3, int(size * rng.uniform(0.35, 0.6)))
    ends = [tuple(int(v) for v in tip), tuple(int(v) for v in root)]
    cv2.line(scene, ends[0], ends[1], _bgr(skin * 0.7), thick + 2, cv2.LINE_AA)
    cv2.line(scene, ends[0], ends[1], _bgr(skin), thick, cv2.LINE_AA)
