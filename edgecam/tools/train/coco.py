"""COCO's annotations as training takes them: pictures with their boxes or keypoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.core.errors import EdgecamError
from edgecam.core.frame import Frame, Image
from edgecam.core.geometry import Fit
from edgecam.core.keypoints import COUNT
from edgecam.inference.preprocess import Resizer
from edgecam.tools.evaluate import coco
from edgecam.tools.train.labelled_images import Reader

Floats = NDArray[np.float32]


class TrainError(EdgecamError):
    """Pictures and annotations give nothing to train with."""

    page = "teach"


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One picture at model size, ``image`` uint8[H, W, 3] RGB, and what is in it.

    ``boxes``: float32[N, 4], y_min, x_min, y_max, x_max as fractions of the model input;
    ``classes``: int64[N] from 0. ``keypoints``: float32[P, 17, 3], x and y in pixels of the model
    input and COCO's visibility (0 is not annotated).
    """

    image: Image
    boxes: Floats
    classes: NDArray[np.int64]
    keypoints: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """``labels``: names of classes by number. ``passed_over``: pictures of nothing, or damaged."""

    examples: tuple[Example, ...]
    labels: tuple[str, ...]
    passed_over: int


def load(
    annotations: Path,
    images: Path,
    size: tuple[int, int],
    fit: str,
    max_images: int | None = None,
) -> Examples:
    """Read every annotated picture at model ``size`` (height, width).

    ``fit`` is a key of ``geometry.FITS``. Crowds are left out, damaged pictures passed over.

    Raises:
        EvaluateError: the annotations are none, or the pictures are not there.
        TrainError: no picture has an annotated thing in it.
    """
    truth = coco.load(annotations, images, max_images)
    by_picture: dict[int, list[dict[str, Any]]] = {}
    for entry in truth.content["annotations"]:
        if not entry.get("iscrowd") and ("bbox" in entry or "keypoints" in entry):
            by_picture.setdefault(entry["image_id"], []).append(entry)
    used = {entry.get("category_id") for entries in by_picture.values() for entry in entries}
    by_id = {number: name for name, number in truth.categories.items() if number in used}
    numbers = sorted(by_id)
    resizer, reader = Resizer(*size, fit), Reader()
    found = []
    for picture in truth.pictures:
        entries = by_picture.get(picture.id)
        if entries and (frame := reader.read(picture.path)) is not None:
            try:
                found.append(_example(frame, entries, numbers, resizer))
            except (KeyError, TypeError, ValueError) as error:
                raise TrainError(
                    f"{annotations}: expected COCO's annotations of image {picture.id}, with a "
                    f"known category_id, bbox [x, y, width, height] and {COUNT} keypoints of three "
                    f"numbers, found: {type(error).__name__} {error}"
                ) from None
    reader.close()
    if not found:
        raise TrainError(
            f"{annotations} annotates nothing in pictures of {images} that can be read"
        )
    passed_over = len(truth.pictures) - len(found)
    return Examples(tuple(found), tuple(by_id[number] for number in numbers), passed_over)


def _example(
    frame: Frame, entries: Sequence[dict[str, Any]], numbers: Sequence[int], resizer: Resizer
) -> Example:
    image = resizer.buffer()
    fit = resizer.resize_into(frame, image)
    sides = np.array([resizer.height_px, resizer.width_px] * 2, np.float32)
    boxes = [_box(entry["bbox"], fit) for entry in entries if "bbox" in entry]
    classes = [numbers.index(entry["category_id"]) for entry in entries if "bbox" in entry]
    people = [entry["keypoints"] for entry in entries if entry.get("num_keypoints")]
    if any(len(given) != 3 * COUNT for given in people):
        raise ValueError(f"keypoints of {[len(given) for given in people]} numbers")
    keypoints = np.array(people, np.float32).reshape(-1, COUNT, 3)
    keypoints[..., 0] = (keypoints[..., 0] + 0.5) * fit.scale_x + fit.left_px - 0.5
    keypoints[..., 1] = (keypoints[..., 1] + 0.5) * fit.scale_y + fit.top_px - 0.5
    return Example(
        image,
        np.array(boxes, np.float32).reshape(-1, 4) / sides,
        np.array(classes, np.int64),
        keypoints,
    )


def _box(bbox: Sequence[float], fit: Fit) -> list[float]:
    """COCO's x, y, width, height in source pixels as y, x, y, x in those of the model input."""
    x, y, width, height = map(float, bbox)
    if not (math.isfinite(x + y) and 0 < width < math.inf and 0 < height < math.inf):
        raise ValueError(f"a box of {bbox}")
    top, left = y * fit.scale_y + fit.top_px, x * fit.scale_x + fit.left_px
    return [top, left, top + height * fit.scale_y, left + width * fit.scale_x]
