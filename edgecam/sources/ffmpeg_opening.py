"""FFmpeg's options of one opening, which OpenCV takes from the environment alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from edgecam.core.opencv import cv2
from edgecam.sources.ffmpeg_bound import bound_pixels

ENVIRONMENT = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# Of what comes in its own time: no counting of frames to learn the rate, which takes a second and a
# half. (``fflags;nobuffer`` is left out: it throws the first pictures away.)
SOON = "fpsprobesize;0|analyzeduration;500000"
# An opening that hangs in native code keeps no other source from being opened.
_TURN_S = 30.0
# What people set themselves counts in place of edgecam's own.
_given = os.environ.get(ENVIRONMENT)
_opening = threading.Lock()


def open_capture(
    name: str, parameters: Sequence[int], most_pixels: int, options: str = "", protocols: str = ""
) -> Any:
    """Open what FFmpeg reads, pictures of ``most_pixels``; the capture says if it ``isOpened``.

    ``options`` are FFmpeg's, as ``key;value|key;value``, and hold for this opening alone: neither
    the next source nor another process gets them. ``protocols``: the only ones that FFmpeg may
    use, whatever a stream refers to.
    """
    wanted = [options if _given is None else _given]
    if protocols:
        wanted.append(f"protocol_whitelist;{protocols}")
    has_turn = _opening.acquire(timeout=_TURN_S)
    try:
        os.environ[ENVIRONMENT] = "|".join(filter(None, wanted))
        bound_pixels(most_pixels)
        return cv2.VideoCapture(name, cv2.CAP_FFMPEG, parameters)
    finally:
        _restore()
        if has_turn:
            _opening.release()


def _restore() -> None:
    if _given is None:
        os.environ.pop(ENVIRONMENT, None)
    else:
        os.environ[ENVIRONMENT] = _given
