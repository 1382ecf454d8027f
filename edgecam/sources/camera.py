"""V4L2 cameras by index, ``/dev/videoN`` or ``/dev/v4l/by-id/...``."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from typing import Any

from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.settings.schema import SourceSettings
from edgecam.sources.kinds import Opening
from edgecam.sources.live import LiveSource
from edgecam.sources.picture import max_pixels
from edgecam.sources.stream_size import check_capture
from edgecam.sources.supervised import StreamError

# Beyond this, raw pictures do not fit through USB 2 at 30 frames a second.
LARGEST_RAW_PX = 640 * 480

NO_CAMERA = "there is no camera at all: plug one in, or name another --source"


def open_camera(opening: Opening) -> LiveSource:
    """Open a local camera; raises SourceError where it is not there and need not be waited for."""
    settings = opening.settings
    return LiveSource(CameraEndpoint(settings), settings, opening.stop)


class CameraEndpoint:
    """A device node; a ``by-id`` link is followed again at each opening, so a camera may return
    under another number."""

    def __init__(self, settings: SourceSettings) -> None:
        index = settings.url.isdecimal()
        self._path = f"/dev/video{int(settings.url)}" if index else settings.url
        self.description = self._path
        self._settings = settings

    def probe(self) -> None:
        """Raise StreamError where there is no such camera, or no permission."""
        if not os.path.exists(self._path):
            present = sorted(glob.glob("/dev/v4l/by-id/*")) or sorted(glob.glob("/dev/video*"))
            found = f"there is {', '.join(present)}" if present else NO_CAMERA
            raise StreamError("missing", f"no such camera; {found}")
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise StreamError(
                "forbidden", "no permission; add the user to the group video and log in"
            )

    def recheck(self) -> None:
        """Probe again: it is cheap."""
        self.probe()

    def open(self, count: Callable[[str], None]) -> CameraCapture:
        """Open the camera."""
        del count  # OpenCV does not say what it throws away
        device = os.path.realpath(self._path)
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not capture.isOpened():
            which = "" if device == self._path else f"{device} "
            raise StreamError(
                "occupied", f"{which}does not open as a camera, or another program has it"
            )
        self._request(capture)
        check_capture(capture, max_pixels(self._settings, live=True))
        return CameraCapture(capture, device)

    def _request(self, capture: Any) -> None:
        """Ask for size, rate and, for large pictures, JPEG; a camera takes the nearest it has."""
        width_px, height_px = self._settings.width_px, self._settings.height_px
        if (width_px or 0) * (height_px or 0) > LARGEST_RAW_PX:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        wishes = (
            (cv2.CAP_PROP_FRAME_WIDTH, width_px),
            (cv2.CAP_PROP_FRAME_HEIGHT, height_px),
            (cv2.CAP_PROP_FPS, self._settings.rate_hz),
        )
        for what, value in wishes:
            if value is not None:
                capture.set(what, value)


class CameraCapture:
    """An open V4L2 device."""

    def __init__(self, capture: Any, device: str) -> None:
        self._capture = capture
        self._device = device

    def read(self) -> Image:
        """Return the next picture."""
        whole, image = self._capture.read()
        if whole:
            decoded: Image = image
            return decoded
        if not os.path.exists(self._device):
            raise StreamError("missing", "the camera was unplugged")
        raise StreamError("silent", "the camera gives no picture")

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()
