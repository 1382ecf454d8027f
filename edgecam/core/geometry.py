"""Source-frame pixels to model-input pixels and back: the only change of coordinate space.

A picture is resized as ``cv2.resize`` does it, with half-pixel centres. A box edge at x maps to
``x * scale``; a keypoint is the index of a pixel, whose centre lies at ``x + 0.5``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgecam.core.keypoints import SURE
from edgecam.core.result import Box, Decoded, Detection, Pose


@dataclass(frozen=True, slots=True)
class Fit:
    """Where a source frame, or a part of it, lies inside the model input, in input pixels.

    ``left_px``, ``top_px``, ``width_px``, ``height_px``: the inner rectangle that the picture
    fills; the rest is padding, or other parts. ``scale_x``, ``scale_y``: input pixels per source
    pixel. ``source_left_px``, ``source_top_px``: where the part begins in the source frame.
    """

    left_px: int
    top_px: int
    width_px: int
    height_px: int
    scale_x: float
    scale_y: float
    source_left_px: int = 0
    source_top_px: int = 0

    @property
    def part(self) -> Rectangle:
        """The part of the source frame that is shown."""
        width_px = round(self.width_px / self.scale_x)
        height_px = round(self.height_px / self.scale_y)
        return Rectangle(self.source_left_px, self.source_top_px, width_px, height_px)

    def keypoints_to_source(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixel indices in the model input, float64[..., 2] (x, y), to those in the source."""
        corner = np.array((self.left_px - 0.5, self.top_px - 0.5))
        scale = np.array((self.scale_x, self.scale_y))
        part = np.array((self.source_left_px, self.source_top_px))
        return np.asarray((xy - corner) / scale - 0.5 + part, np.float64)

    def box_to_source(self, box: Box) -> Box:
        """Box edges in model-input pixels to source-frame pixels."""
        left, top = self.source_left_px, self.source_top_px
        return Box(
            (box.x_min - self.left_px) / self.scale_x + left,
            (box.y_min - self.top_px) / self.scale_y + top,
            (box.x_max - self.left_px) / self.scale_x + left,
            (box.y_max - self.top_px) / self.scale_y + top,
        )


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Whole pixels of a picture, or of a model input."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int

    @property
    def rows(self) -> slice:
        """Rows of the picture that it covers."""
        return slice(self.top_px, self.top_px + self.height_px)

    @property
    def columns(self) -> slice:
        """Columns of the picture that it covers."""
        return slice(self.left_px, self.left_px + self.width_px)


def stretch(source: tuple[int, int], target: tuple[int, int]) -> Fit:
    """Fill ``target`` with ``source``, both (width, height) in pixels, aspect ratio given up."""
    return Fit(0, 0, *target, target[0] / source[0], target[1] / source[1])


def letterbox(source: tuple[int, int], target: tuple[int, int]) -> Fit:
    """Fit ``source`` into ``target``, both (width, height) in pixels: centred, aspect kept."""
    scale = min(target[0] / source[0], target[1] / source[1])
    width = max(1, min(target[0], round(source[0] * scale)))
    height = max(1, min(target[1], round(source[1] * scale)))
    return Fit(
        (target[0] - width) // 2,
        (target[1] - height) // 2,
        width,
        height,
        width / source[0],
        height / source[1],
    )


def tile(part: Rectangle, cell: Rectangle) -> Fit:
    """Fit ``part`` of the source frame into ``cell`` of the model input: centred, aspect kept."""
    inner = letterbox((part.width_px, part.height_px), (cell.width_px, cell.height_px))
    return replace(
        inner,
        left_px=cell.left_px + inner.left_px,
        top_px=cell.top_px + inner.top_px,
        source_left_px=part.left_px,
        source_top_px=part.top_px,
    )


def crop(source: tuple[int, int], target: tuple[int, int]) -> Fit:
    """Fill ``target`` with the middle of ``source`` that has its shape: what is beside is cut."""
    scale = max(target[0] / source[0], target[1] / source[1])
    width = max(1, min(source[0], round(target[0] / scale)))
    height = max(1, min(source[1], round(target[1] / scale)))
    return Fit(
        0,
        0,
        *target,
        target[0] / width,
        target[1] / height,
        (source[0] - width) // 2,
        (source[1] - height) // 2,
    )


FITS = {"letterbox": letterbox, "stretch": stretch, "crop": crop}


def _clipped(box: Box, width_px: int, height_px: int) -> Box:
    return Box(
        min(max(box.x_min, 0.0), width_px),
        min(max(box.y_min, 0.0), height_px),
        min(max(box.x_max, 0.0), width_px),
        min(max(box.y_max, 0.0), height_px),
    )


def to_source(decoded: Decoded, fit: Fit, width_px: int, height_px: int) -> Decoded:
    """What a decoder found, from model-input to source-frame pixels.

    Keypoints and corners of pages may lie outside the frame; boxes are cut at its edges, and one
    that lies wholly in the padding is dropped.
    """
    poses: tuple[Pose, ...] = ()
    if decoded.poses:
        # In one go: a call costs more than the numbers of a pose.
        everybody = fit.keypoints_to_source(np.array([pose.xy for pose in decoded.poses]))
        poses = tuple(
            Pose(pose.score, xy, pose.scores, pose.track, pose.skeleton)
            for pose, xy in zip(decoded.poses, everybody, strict=True)
        )
    detections: list[Detection] = []
    for detection in decoded.detections:
        box = _clipped(fit.box_to_source(detection.box), width_px, height_px)
        if box.x_max > box.x_min and box.y_max > box.y_min:
            detections.append(replace(detection, box=box))
    documents = tuple(page.moved(fit.keypoints_to_source) for page in decoded.documents)
    return Decoded(poses, tuple(detections), decoded.classes, documents)


def pose_boxes(xy: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[P, 4] (x_min, y_min, x_max, y_max) around the keypoints that score 0.3 or more.

    ``xy`` is float64[P, 2, K] in pixels, ``scores`` float64[P, K]. All count where none does.
    """
    sure = scores >= SURE
    sure |= ~np.logical_or.reduce(sure, axis=1, keepdims=True)
    sure = sure[:, None]
    boxes = np.empty((len(xy), 4))
    np.minimum.reduce(np.where(sure, xy, np.inf), axis=2, out=boxes[:, :2])
    np.maximum.reduce(np.where(sure, xy, -np.inf), axis=2, out=boxes[:, 2:])
    return boxes
