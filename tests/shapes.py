"""Rendered shapes on cluttered backgrounds, with COCO's annotations: a set to train on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import annotated
import cv2
import numpy as np
from numpy.typing import NDArray

LABELS = ("disc", "square", "triangle")
SIDE_PX = 160


def picture(rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[tuple[int, list[float]]]]:
    """Return uint8[160, 160, 3], BGR, and (class, COCO box) of its one to four shapes."""
    cells = rng.integers(2, 9)
    noise = rng.integers(0, 256, (cells, cells, 1), dtype=np.uint8) // 3 + rng.integers(0, 128)
    noise = np.clip(noise + rng.integers(0, 32, (cells, cells, 3)), 0, 255).astype(np.uint8)
    image = cv2.resize(noise, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(0, 6)):
        ends = rng.integers(0, SIDE_PX, (2, 2)).tolist()
        cv2.line(image, *ends, rng.integers(0, 256, 3).tolist(), int(rng.integers(1, 3)))
    taken = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    found = []
    for _ in range(rng.integers(1, 5)):
        kind, radius = int(rng.integers(len(LABELS))), rng.uniform(14, 44)
        centre = rng.uniform(radius, SIDE_PX - radius, 2)
        mask = np.zeros_like(taken)
        cv2.fillPoly(mask, [_outline(kind, centre, radius, rng)], 255, cv2.LINE_AA)
        if taken[mask > 0].any():
            continue
        taken |= mask
        share = mask[..., None] / 255.0
        colour = rng.permutation(
            (rng.integers(0, 60), rng.integers(0, 256), rng.integers(190, 256))
        )
        image = (image * (1 - share) + colour * share).astype(np.uint8)
        ys, xs = np.nonzero(mask > 127)
        x, y = float(xs.min()), float(ys.min())
        found.append((kind, [x, y, float(xs.max()) + 1 - x, float(ys.max()) + 1 - y]))
    return image, found


def _outline(
    kind: int, centre: NDArray[np.float64], radius: float, rng: np.random.Generator
) -> NDArray[np.int32]:
    corners = (40, 4, 3)[kind]
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
    points = centre + radius * np.column_stack((np.cos(angles), np.sin(angles)))
    return np.round(points).astype(np.int32)


def write(folder: Path, count: int, seed: int) -> Path:
    """Write ``count`` pictures below ``folder``/images; return the annotations' path."""
    rng = np.random.default_rng(seed)
    categories = [{"id": n, "name": name} for n, name in enumerate(LABELS, 1)]
    drawn = (_annotated(*picture(rng)) for _ in range(count))
    return annotated.write(folder / "instances.json", drawn, categories)


def _annotated(
    image: NDArray[np.uint8], things: list[tuple[int, list[float]]]
) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    return image, [
        {"category_id": kind + 1, "bbox": box, "area": box[2] * box[3]} for kind, box in things
    ]


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
