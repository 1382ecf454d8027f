"""Rendered people that wave, point or do neither: pictures to teach with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

LABELS = ("wave", "point", "none")
WIDTH_PX, HEIGHT_PX = 160, 120


def picture(label: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return uint8[120, 160, 3], BGR: a figure somewhere, of some size, before a blurred noise."""
    noise = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(noise, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC) // 3 + 90
    unit = rng.uniform(14, 20)
    neck = np.array([rng.uniform(55, 105), rng.uniform(35, 45)])
    coat = tuple(int(v) for v in rng.integers(0, 90, 3))
    skin = (140, 170, 225)

    def limb(start: NDArray[np.float64], end: NDArray[np.float64], color: tuple[int, ...]) -> None:
        points = [tuple(round(v) for v in point) for point in (start, end)]
        cv2.line(image, *points, color, max(3, int(unit * 0.45)), cv2.LINE_AA)

    hips = neck + unit * np.array([rng.uniform(-0.1, 0.1), 2.2])
    limb(neck, hips, coat)
    for side in (-1.0, 1.0):
        limb(hips, hips + unit * np.array([side * 0.7, 2.4]), coat)
    side = rng.choice((-1.0, 1.0))
    reach = {"wave": (0.9, -1.6), "point": (2.1, 0.1), "none": (0.6, 1.8)}[label]
    spread = rng.uniform(-0.2, 0.2, 2)
    for arm, (x, y) in ((side, reach), (-side, (0.6, 1.8))):
        hand = neck + unit * (np.array([arm * x, y]) + spread)
        limb(neck, hand, coat)
        cv2.circle(image, tuple(int(v) for v in hand), int(unit * 0.35), skin, -1, cv2.LINE_AA)
    head = neck - unit * np.array([0.0, 0.8])
    cv2.circle(image, tuple(int(v) for v in head), int(unit * 0.6), skin, -1, cv2.LINE_AA)
    return image


def write(folder: Path, count: int, seed: int, labels: tuple[str, ...] = LABELS) -> None:
    """Write ``count`` pictures of each label, a folder for each."""
    rng = np.random.default_rng(seed)
    for label in labels:
        (folder / label).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(folder / label / f"{number:03}.png"), picture(label, rng))
