"""Annotated pictures turned by quarters of a circle: how well people are found who lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgecam.core.turning import turn_points, turned_size
from edgecam.tools.evaluate.coco import Truth


def turned(truth: Truth, degrees: int) -> Truth:
    """The same pictures and annotations turned clockwise by 90, 180 or 270 degrees, or by none."""
    if degrees % 360 == 0:
        return truth
    sizes = {
        entry["id"]: (int(entry["width"]), int(entry["height"]))
        for entry in truth.content["images"]
    }
    images = [
        {**entry, **dict(zip(("width", "height"), turned_size(size, degrees), strict=True))}
        for entry, size in zip(truth.content["images"], sizes.values(), strict=True)
    ]
    annotations = [
        _turned(entry, degrees, sizes[entry["image_id"]])
        for entry in truth.content["annotations"]
        if entry["image_id"] in sizes
    ]
    pictures = []
    for picture in truth.pictures:
        width, height = turned_size((picture.width_px, picture.height_px), degrees)
        pictures.append(replace(picture, width_px=width, height_px=height, turned_degrees=degrees))
    content = {**truth.content, "images": images, "annotations": annotations}
    return replace(truth, content=content, pictures=tuple(pictures))


def _turned(entry: Mapping[str, Any], degrees: int, size_px: tuple[int, int]) -> dict[str, Any]:
    # The outline is not scored.
    turned = {key: value for key, value in entry.items() if key != "segmentation"}
    if "bbox" in entry:
        turned["bbox"] = _turned_box(entry["bbox"], degrees, size_px)
    if "keypoints" in entry:
        rows = np.array(entry["keypoints"], np.float64).reshape(-1, 3)
        known = rows[:, 2] > 0
        rows[known, :2] = turn_points(rows[known, :2], degrees, size_px)
        turned["keypoints"] = rows.ravel().tolist()
    return turned


def _turned_box(box: Sequence[float], degrees: int, size_px: tuple[int, int]) -> list[float]:
    """x, y, width and height; its edges lie between pixels, half a pixel from their centres."""
    x, y, width, height = box
    corners = np.array([(x, y), (x + width, y + height)]) - 0.5
    ends = turn_points(corners, degrees, size_px) + 0.5
    low, high = ends.min(axis=0), ends.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]
