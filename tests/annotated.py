"""Drawn pictures and COCO's annotations of them as files: a set to train on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# uint8[H, W, 3], BGR, and the fields of what is in it but for the numbers.
Drawn = tuple[NDArray[np.uint8], Sequence[dict[str, Any]]]


def write(path: Path, drawn: Iterable[Drawn], categories: Sequence[dict[str, Any]]) -> Path:
    """Write the pictures into images/ beside ``path``, and their annotations as ``path``."""
    folder = path.parent / "images"
    folder.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (image, things) in enumerate(drawn):
        name = f"{number:05}.jpg"
        cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        height, width = image.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for thing in things:
            numbers = {"id": len(annotations) + 1, "image_id": number, "iscrowd": 0}
            annotations.append({**numbers, **thing})
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path
