"""V4L2 cameras by index, ``/dev/videoN`` or ``/dev/v4l/by-id/...``."""

from __future__ import annotations

import glob
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from edgecam.core.errors import SourceError
from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.core.protocols import CaptureFormat
from edgecam.settings.schema import SourceSettings
from edgecam.sources.camera_formats import JPEG_FORMATS, choose, listed
from edgecam.sources.kinds import Opening
from edgecam.sources.live import LiveSource
from edgecam.sources.picture import decode_image
from edgecam.sources.picture_limits import max_pixels
from edgecam.sources.stream_size import check_capture
from edgecam.sources.supervised import StreamError

# Beyond this, raw pictures do not fit through USB 2 at 30 frames a second.
LARGEST_RAW_PX = 640 * 480

log = logging.getLogger(__name__)

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
        self.formats: tuple[CaptureFormat, CaptureFormat] | None = None

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
        """Open the camera in the format, size and rate that ``camera_formats`` chooses."""
        device = os.path.realpath(self._path)
        try:
            asked = choose(listed(device), self._settings)
        except OSError:
            asked = None  # What it is, OpenCV says.
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not capture.isOpened():
            which = "" if device == self._path else f"{device} "
            raise StreamError(
                "occupied", f"{which}does not open as a camera, or another program has it"
            )
        wish = asked or _wished(self._settings)
        _request(capture, wish)
        most = max_pixels(self._settings, live=True)
        check_capture(capture, most)
        self._note(wish, _format_of(capture))
        return CameraCapture(capture, device, count, most, self._settings.read_timeout_s)

    def _note(self, asked: CaptureFormat, got: CaptureFormat) -> None:
        if self.formats != (asked, got):
            log.info("%s: asked for %s, takes %s", self.description, asked, got)
            self._say_missed_size(got)
        self.formats = asked, got

    def _say_missed_size(self, got: CaptureFormat) -> None:
        wished = self._settings.width_px, self._settings.height_px
        taken = got.width_px, got.height_px
        if all(wish in (None, size) for wish, size in zip(wished, taken, strict=True)):
            return
        log.warning(
            "%s: expected a picture of %s x %s as source.width_px and height_px say, the nearest "
            "that the camera gives is %s x %s; edgecam doctor camera lists what it has",
            *(self.description, *("any" if wish is None else wish for wish in wished), *taken),
        )


def _wished(settings: SourceSettings) -> CaptureFormat:
    """What to ask of a camera that lists nothing: for large pictures JPEG."""
    width_px, height_px = settings.width_px, settings.height_px
    form = "MJPG" if (width_px or 0) * (height_px or 0) > LARGEST_RAW_PX else None
    return CaptureFormat(form, width_px, height_px, settings.rate_hz)


def _request(capture: Any, asked: CaptureFormat) -> None:
    """Ask for a format; a camera takes the nearest it has."""
    if asked.form is not None:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*asked.form))
    wishes = (
        (cv2.CAP_PROP_FRAME_WIDTH, asked.width_px),
        (cv2.CAP_PROP_FRAME_HEIGHT, asked.height_px),
        (cv2.CAP_PROP_FPS, asked.rate_hz),
    )
    for what, value in wishes:
        if value is not None:
            capture.set(what, value)


def _format_of(capture: Any) -> CaptureFormat:
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    form = code.to_bytes(4, "little", signed=code < 0).decode("latin-1")
    rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
    return CaptureFormat(
        form if form.isascii() and form.isprintable() and form.strip() else None,
        int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        rate_hz if 0 < rate_hz < 1000 else None,
    )


class CameraCapture:
    """An open V4L2 device; damaged JPEGs are counted and passed over, as the network's are."""

    def __init__(
        self,
        capture: Any,
        device: str,
        count: Callable[[str], None],
        most: int,
        read_timeout_s: float,
    ) -> None:
        self._capture = capture
        self._device = device
        self._count = count
        self._most = most
        self._read_timeout_s = read_timeout_s
        # OpenCV takes a JPEG that is cut short for a picture, grey from there on.
        self._is_encoded = _format_of(capture).form in JPEG_FORMATS and bool(
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        )

    def read(self) -> Image:
        """Return the next picture."""
        began_s = time.monotonic()
        while True:
            image = self._taken()
            if not self._is_encoded:
                return image
            try:
                return decode_image(image.tobytes(), self._most)
            except SourceError as error:
                self._count("damaged_pictures")
                if time.monotonic() - began_s >= self._read_timeout_s:
                    raise StreamError("garbage", f"only damaged pictures: {error}") from None

    def _taken(self) -> Image:
        whole, image = self._capture.read()
        if whole:
            taken: Image = image
            return taken
        if not os.path.exists(self._device):
            raise StreamError("missing", "the camera was unplugged")
        raise StreamError("silent", "the camera gives no picture")

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()
