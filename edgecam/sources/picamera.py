"""Raspberry Pi cameras through picamera2; the only file that imports it.

The ISP scales the sensor's picture to the size that is asked for (stream ``main``), so that the
CPU never sees the full one. Picamera2's ``RGB888`` is blue, green, red in memory: OpenCV's order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from edgecam.core.errors import SourceError
from edgecam.core.frame import Image
from edgecam.settings.schema import SourceSettings
from edgecam.sources.kinds import SOURCES, Opening
from edgecam.sources.live import LiveSource
from edgecam.sources.supervised import StreamError

DEFAULT_SIZE_PX = (640, 480)
# libcamera's numbers of AfMode, by ``source.autofocus``, and of AfTrigger. Of 0 the lens stays at
# its default, the distance at which most is sharp.
AF_MODES = {"off": 0, "once": 1, "continuous": 2}
AF_START = 0
REMEDY = (
    "picamera2 cannot be imported ({reason}); apt install python3-picamera2 and make the virtual "
    "environment with --system-site-packages, or pip install 'edgecam[pi]'"
)

# Raspberry Pi OS of 2023 has packages that were built for NumPy 1, which a later one breaks.
NUMPY_REMEDY = (
    "picamera2 was built for an older NumPy ({reason}); pip install 'numpy<2' 'opencv-python<4.12'"
)


def open_picamera(opening: Opening) -> LiveSource:
    """Open ``picamera`` or ``picamera:INDEX``; raises SourceError where it cannot."""
    settings, stop = opening.settings, opening.stop
    match = re.fullmatch(r"picamera(?::(\d+))?", settings.url)
    if not match:
        raise SourceError(f"{settings.url}: expected picamera or picamera:INDEX")
    try:
        from picamera2 import Picamera2
    except (ImportError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = NUMPY_REMEDY if "numpy" in reason.lower() else REMEDY
        raise SourceError(remedy.format(reason=reason)) from error
    return LiveSource(PicameraEndpoint(Picamera2, int(match[1] or 0), settings), settings, stop)


class PicameraEndpoint:
    """One camera on the ribbon cable."""

    formats = None

    def __init__(self, picamera2: Any, index: int, settings: SourceSettings) -> None:
        self.description = f"picamera:{index}"
        self._picamera2 = picamera2
        self._index = index
        self._settings = settings

    def probe(self) -> None:
        """Raise StreamError where libcamera finds no such camera."""
        found = len(self._picamera2.global_camera_info())
        if self._index >= found:
            raise StreamError("missing", f"libcamera finds {found} cameras; try rpicam-hello")

    def recheck(self) -> None:
        """Probe again: it is cheap."""
        self.probe()

    def open(self, count: Callable[[str], None]) -> PicameraCapture:
        """Open the camera."""
        del count  # the ISP throws nothing away
        try:
            camera = self._picamera2(self._index)
        except (RuntimeError, IndexError) as error:
            raise StreamError("rejected", f"the camera does not open: {error}") from None
        capture = PicameraCapture(camera, self._settings.read_timeout_s)
        try:
            camera.configure(self._configuration(camera))
            camera.start()
            if self._settings.autofocus == "once" and has_lens(camera):
                camera.set_controls({"AfTrigger": AF_START})
        except (RuntimeError, ValueError) as error:
            capture.close()
            raise StreamError("rejected", f"the camera does not start: {error}") from None
        return capture

    def _configuration(self, camera: Any) -> Any:
        """Main stream at the wished size, sensor mode of the widest view that is fast enough."""
        settings = self._settings
        width_px = settings.width_px or DEFAULT_SIZE_PX[0]
        height_px = settings.height_px or DEFAULT_SIZE_PX[1]
        controls: dict[str, float] = {"FrameRate": settings.rate_hz} if settings.rate_hz else {}
        if has_lens(camera):
            controls["AfMode"] = AF_MODES[settings.autofocus]
        mode = widest_mode(camera.sensor_modes, settings.rate_hz or 0.0)
        sensor = {"output_size": mode["size"], "bit_depth": mode["bit_depth"]} if mode else {}
        return camera.create_video_configuration(
            main={"size": (width_px, height_px), "format": "RGB888"},
            controls=controls,
            sensor=sensor,
            buffer_count=4,
            **self._transform(),
        )

    def _transform(self) -> dict[str, Any]:
        """What the sensor itself turns and mirrors, which costs nothing; 90 degrees it cannot."""
        upside_down = self._settings.rotate == 180
        hflip = upside_down != self._settings.mirror
        if self._settings.rotate not in SOURCES["picamera"].turns or not (hflip or upside_down):
            return {}
        from libcamera import Transform

        return {"transform": Transform(hflip=int(hflip), vflip=int(upside_down))}


def has_lens(camera: Any) -> bool:
    """Whether the camera can focus."""
    return "AfMode" in camera.camera_controls


def widest_mode(modes: list[dict[str, Any]], rate_hz: float) -> dict[str, Any] | None:
    """The fastest of the sensor modes that see most, among those that reach ``rate_hz``.

    Left alone, libcamera picks the mode nearest in size, which on some sensors is a crop.
    """
    known = [mode for mode in modes if "crop_limits" in mode and "bit_depth" in mode]
    usable = [mode for mode in known if mode["fps"] >= rate_hz] or known
    if not usable:
        return None
    return max(usable, key=lambda m: (m["crop_limits"][2] * m["crop_limits"][3], m["fps"]))


class PicameraCapture:
    """A running camera."""

    def __init__(self, camera: Any, read_timeout_s: float) -> None:
        self._camera = camera
        self._read_timeout_s = read_timeout_s

    def read(self) -> Image:
        """Return the next picture."""
        try:
            image: Image = self._camera.capture_array("main", wait=self._read_timeout_s)
        except TimeoutError:
            limit_s = self._read_timeout_s
            raise StreamError("silent", f"no picture for {limit_s:g} s; check the cable") from None
        except RuntimeError as error:
            raise StreamError("silent", f"the camera stopped: {error}") from None
        return image

    def close(self) -> None:
        """Stop and close the camera, also one that has stopped delivering.

        ``Picamera2.stop()`` would queue behind the capture that still waits for a picture, and
        wait for it without end; ``close()`` ends the queue's thread before it stops the camera.
        """
        # In versions since July 2024.
        if hasattr(self._camera, "cancel_all_and_flush"):
            self._camera.cancel_all_and_flush()
        self._camera.close()
