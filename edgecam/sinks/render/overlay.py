"""Draws a result over its picture: skeletons, boxes, pages and labels."""

from __future__ import annotations

import colorsys

from edgecam.core.frame import Image
from edgecam.core.keypoints import SKELETONS, SURE
from edgecam.core.opencv import cv2
from edgecam.core.result import Decoded, Detection, Document, Pose, Result

TEXT_BGR = (255, 255, 255)
SHADOW_BGR = (0, 0, 0)
# Neighbouring numbers get far-apart hues: the golden ratio's fractional part.
_HUE_STEP = 0.61803398875


def _colour(number: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(number * _HUE_STEP % 1.0, 0.75, 1.0)
    return int(blue * 255), int(green * 255), int(red * 255)


def _thickness(image: Image) -> int:
    return int(max(1, round(max(image.shape[:2]) / 400)))


def _text(image: Image, text: str, x: float, y: float) -> None:
    scale = 0.25 + 0.15 * _thickness(image)
    where = (max(0, round(x)), max(round(30 * scale), round(y)))
    # A thicker text would be a wider one since OpenCV 5, and no outline of the other.
    for x_px, y_px in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        _put(image, text, (where[0] + x_px, where[1] + y_px), scale, SHADOW_BGR)
    _put(image, text, where, scale, TEXT_BGR)


def _put(
    image: Image, text: str, where: tuple[int, int], scale: float, colour: tuple[int, int, int]
) -> None:
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, _thickness(image)
    cv2.putText(image, text, where, font, scale, colour, thickness, cv2.LINE_AA)


def _draw_pose(image: Image, pose: Pose, number: int) -> None:
    colour, thickness = _colour(number), _thickness(image)
    points = [(round(x), round(y)) for x, y in pose.xy.tolist()]
    sure = (pose.scores >= SURE).tolist()
    for first, second in SKELETONS[pose.skeleton].bones:
        if sure[first] and sure[second]:
            cv2.line(image, points[first], points[second], colour, thickness, cv2.LINE_AA)
    for point, is_sure in zip(points, sure, strict=True):
        if is_sure:
            cv2.circle(image, point, thickness + 1, colour, -1, cv2.LINE_AA)


def _draw_detection(image: Image, found: Detection, number: int, *, is_stale: bool = False) -> None:
    box = found.box
    corners = (round(box.x_min), round(box.y_min)), (round(box.x_max), round(box.y_max))
    if is_stale:
        _dashed(image, *corners, _colour(number))
    else:
        cv2.rectangle(image, *corners, _colour(number), _thickness(image), cv2.LINE_AA)
    track = "" if found.track is None else f" #{found.track}"
    _text(image, f"{found.label}{track} {found.score:.2f}", box.x_min, box.y_min - 4)


def _dashed(
    image: Image, first: tuple[int, int], last: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    """A box of dashes: it is where an earlier look leads to, not what was found now."""
    thickness = _thickness(image)
    dash = 6 * thickness
    (x0, y0), (x1, y1) = first, last
    for x in range(x0, x1, 2 * dash):
        for y in (y0, y1):
            cv2.line(image, (x, y), (min(x + dash, x1), y), colour, thickness, cv2.LINE_AA)
    for y in range(y0, y1, 2 * dash):
        for x in (x0, x1):
            cv2.line(image, (x, y), (x, min(y + dash, y1)), colour, thickness, cv2.LINE_AA)


def _draw_document(image: Image, found: Document, number: int) -> None:
    colour, thickness = _colour(number), _thickness(image)
    corners = [(round(x), round(y)) for x, y in found.corners.tolist()]
    for first, second in zip(corners, corners[1:] + corners[:1], strict=True):
        cv2.line(image, first, second, colour, 2 * thickness, cv2.LINE_AA)
    for corner in corners:
        cv2.circle(image, corner, 3 * thickness, colour, -1, cv2.LINE_AA)
    _text(image, f"page {found.score:.2f}", corners[0][0], corners[0][1] - 4 * thickness)


def draw_on(image: Image, found: Decoded | Result) -> None:
    """Draw what was found, in the pixels of ``image``, uint8[H, W, 3] BGR, over it.

    Keypoints that score below 0.3 are left out.
    """
    for number, page in enumerate(found.documents):
        _draw_document(image, page, number)
    stale = found.stale_detections if isinstance(found, Result) else frozenset()
    for number, detection in enumerate(found.detections):
        hue = detection.class_id if detection.track is None else number
        _draw_detection(image, detection, hue, is_stale=number in stale)
    for number, pose in enumerate(found.poses):
        _draw_pose(image, pose, number if pose.track is None else pose.track)
    lines = [f"{best.label} {best.score:.2f}" for best in found.classes]
    for number, line in enumerate(lines):
        _text(image, line, 8, (number + 1) * 18 * _thickness(image))


def draw(result: Result, caption: str = "") -> Image:
    """A copy of the result's picture, uint8[H, W, 3] BGR, with what was found drawn on it.

    ``caption`` goes to the lower left.
    """
    image: Image = result.frame.image.copy()
    draw_on(image, result)
    if caption:
        _text(image, caption, 8, image.shape[0] - 8)
    return image
