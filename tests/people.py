"""Rendered people with COCO's keypoints: a set to train a PoseNet on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import annotated
import cv2
import numpy as np
from numpy.typing import NDArray
from skeletons import STANDING

from edgecam.core.keypoints import BONES, NAMES

SIDE_PX = 160


def picture(rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[NDArray[np.float64]]]:
    """Return uint8[160, 160, 3], BGR, and [17, 2] pixels (x, y) of its one or two people."""
    cells = rng.integers(3, 10)
    noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    image = cv2.resize(noise, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    people = []
    for _ in range(rng.integers(1, 3)):
        unit = rng.uniform(22, 40)
        hips = np.array([rng.uniform(0.2, 0.8), rng.uniform(0.45, 0.6)]) * SIDE_PX
        pose = np.array([STANDING[name] for name in NAMES])
        pose[7:11] += rng.uniform(-0.35, 0.35, (4, 2))
        pose[13:] += rng.uniform(-0.2, 0.2, (4, 2))
        points = hips + unit * pose * [rng.choice((-1.0, 1.0)), -1.0]
        _draw(image, points, unit, rng)
        people.append(points)
    return image, people


def _draw(
    image: NDArray[np.uint8], points: NDArray[np.float64], unit: float, rng: np.random.Generator
) -> None:
    coat = rng.integers(0, 256, 3).tolist()
    at = [tuple(int(v) for v in point) for point in points]
    for start, end in BONES[4:]:
        cv2.line(image, at[start], at[end], coat, max(2, int(unit / 5)), cv2.LINE_AA)
    middle = tuple(int(v) for v in points[:5].mean(axis=0))
    cv2.circle(image, middle, int(unit * 0.3), (140, 170, 225), -1, cv2.LINE_AA)
    for number, colour in ((0, (60, 80, 160)), (1, (40, 40, 40)), (2, (40, 40, 40))):
        cv2.circle(image, at[number], max(1, int(unit / 20)), colour, -1, cv2.LINE_AA)
    for number in (9, 10):
        cv2.circle(image, at[number], max(2, int(unit / 8)), (140, 170, 225), -1, cv2.LINE_AA)


def write(folder: Path, count: int, seed: int) -> Path:
    """Write ``count`` pictures below ``folder``/images; return the annotations' path."""
    rng = np.random.default_rng(seed)
    category = {"id": 1, "name": "person", "keypoints": list(NAMES), "skeleton": []}
    drawn = (_annotated(*picture(rng)) for _ in range(count))
    return annotated.write(folder / "person_keypoints.json", drawn, [category])


def _annotated(
    image: NDArray[np.uint8], people: list[NDArray[np.float64]]
) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    return image, [_person(points) for points in people]


def _person(points: NDArray[np.float64]) -> dict[str, Any]:
    low, high = points.min(axis=0), points.max(axis=0)
    inside = ((points >= 0) & (points < SIDE_PX)).all(axis=1)
    rows = [
        [*point, 2] if seen else [0, 0, 0]
        for point, seen in zip(points.tolist(), inside, strict=True)
    ]
    return {
        "category_id": 1,
        "keypoints": [value for row in rows for value in row],
        "num_keypoints": int(inside.sum()),
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float(np.prod(high - low)) * 0.6,
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
