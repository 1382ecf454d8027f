"""Bounds on the pictures of streams whose decoder is not ours to ask beforehand."""

from __future__ import annotations

from typing import Any

from edgecam.core.errors import SourceError
from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.sources.picture_limits import check_size
from edgecam.sources.supervised import StreamError


def check_capture(capture: Any, most: int) -> None:
    """Release an open cv2.VideoCapture that states pictures of more than ``most`` pixels.

    Raises:
        StreamError: it does.
    """
    sides = (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    try:
        check_size(*sides, most)
    except SourceError as error:
        capture.release()
        raise _too_large(error) from None


def check_image(image: Image, most: int) -> None:
    """Refuse a decoded picture of more than ``most`` pixels.

    Raises:
        StreamError: it has more.
    """
    try:
        check_size(image.shape[1], image.shape[0], most)
    except SourceError as error:
        raise _too_large(error) from None


def _too_large(error: SourceError) -> StreamError:
    return StreamError("too_large", str(error))
