"""Draws a result over its picture: skeletons, boxes, pages and labels."""

from __future__ import annotations

import colorsys
import math

from edgecam.core.frame import Image
from edgecam.core.keypoints import SKELETONS, SURE
from edgecam.core.opencv import cv2
from edgecam.core.result import Decoded, Detection, Document, Pose, Result
from edgecam.sinks.render.labels import Labels

# Neighbouring numbers get far-apart hues: the golden ratio's fractional part.
_HUE_STEP = 0.61803398875
MAX_DASHES = 1000


def _colour(number: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(number * _HUE_STEP % 1.0, 0.75, 1.0)
    return int(blue * 255), int(green * 255), int(red * 255)


def _thickness(image: Image) -> int:
    return int(max(1, round(max(image.shape[:2]) / 400)))


def _draw_pose(image: Image, pose: Pose, number: int, *, is_stale: bool = False) -> None:
    colour, thickness = _colour(number), _thickness(image)
    points = [(round(x), round(y)) for x, y in pose.xy.tolist()]
    sure = (pose.scores >= SURE).tolist()
    for first, second in SKELETONS[pose.skeleton].bones:
        if sure[first] and sure[second] and is_stale:
            _dashed_line(image, points[first], points[second], colour)
        elif sure[first] and sure[second]:
            cv2.line(image, points[first], points[second], colour, thickness, cv2.LINE_AA)
    for point, is_sure in zip(points, sure, strict=True):
        if is_sure:
            cv2.circle(image, point, thickness + 1, colour, -1, cv2.LINE_AA)


def _draw_detection(
    image: Image, labels: Labels, found: Detection, number: int, *, is_stale: bool = False
) -> None:
    box = found.box
    corners = (round(box.x_min), round(box.y_min)), (round(box.x_max), round(box.y_max))
    if is_stale:
        _dashed(image, *corners, _colour(number))
    else:
        cv2.rectangle(image, *corners, _colour(number), _thickness(image), cv2.LINE_AA)
    track = "" if found.track is None else f" #{found.track}"
    words = f"{found.label}{track} {found.score:.2f}"
    labels.add(words, box.x_min, box.y_min - 2, box.x_max, box.y_max + 2)


def _dashed(
    image: Image, first: tuple[int, int], last: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    """A box of dashes: it is where an earlier look leads to, not what was found now."""
    (x0, y0), (x1, y1) = first, last
    for ends in (
        ((x0, y0), (x1, y0)),
        ((x0, y1), (x1, y1)),
        ((x0, y0), (x0, y1)),
        ((x1, y0), (x1, y1)),
    ):
        _dashed_line(image, *ends, colour)


def _dashed_line(
    image: Image, first: tuple[int, int], last: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    thickness = _thickness(image)
    length, dash = math.dist(first, last), 6 * thickness
    # What lies far outside the picture has no end of dashes.
    for number in range(0, min(MAX_DASHES, math.ceil(length / dash)), 2):
        shares = number * dash / length, min(1.0, (number + 1) * dash / length)
        start, end = (
            (round(first[0] + s * (last[0] - first[0])), round(first[1] + s * (last[1] - first[1])))
            for s in shares
        )
        cv2.line(image, start, end, colour, thickness, cv2.LINE_AA)


def _draw_document(image: Image, labels: Labels, found: Document, number: int) -> None:
    colour, thickness = _colour(number), _thickness(image)
    corners = [(round(x), round(y)) for x, y in found.corners.tolist()]
    for first, second in zip(corners, corners[1:] + corners[:1], strict=True):
        cv2.line(image, first, second, colour, 2 * thickness, cv2.LINE_AA)
    for corner in corners:
        cv2.circle(image, corner, 3 * thickness, colour, -1, cv2.LINE_AA)
    x, y = corners[0]
    labels.add(f"page {found.score:.2f}", x, y - 4 * thickness, x, y)


def draw_on(image: Image, found: Decoded | Result) -> None:
    """Draw what was found, in the pixels of ``image``, uint8[H, W, 3] BGR, over it.

    Keypoints that score below 0.3 are left out.
    """
    _draw(image, found, Labels(image, _thickness(image)))


def _draw(image: Image, found: Decoded | Result, labels: Labels) -> None:
    for best in found.classes:
        labels.add(f"{best.label} {best.score:.2f}", 8, 8, 8, 8)
    for number, page in enumerate(found.documents):
        _draw_document(image, labels, page, number)
    nothing: frozenset[int] = frozenset()
    stale = found.stale_detections if isinstance(found, Result) else nothing
    old = found.stale_poses if isinstance(found, Result) else nothing
    for number, detection in enumerate(found.detections):
        hue = detection.class_id if detection.track is None else number
        _draw_detection(image, labels, detection, hue, is_stale=number in stale)
    for number, pose in enumerate(found.poses):
        hue = number if pose.track is None else pose.track
        _draw_pose(image, pose, hue, is_stale=number in old)
    labels.draw()


def draw(result: Result, caption: str = "") -> Image:
    """A copy of the result's picture, uint8[H, W, 3] BGR, with what was found drawn on it.

    ``caption`` goes to the lower left.
    """
    image: Image = result.frame.image.copy()
    labels = Labels(image, _thickness(image))
    if caption:
        labels.add(caption, 8, image.shape[0], 8, image.shape[0])
    _draw(image, result, labels)
    return image
