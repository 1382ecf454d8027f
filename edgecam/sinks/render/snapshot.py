"""Pictures for people to look at, as JPEG: plain, blurred, or a stick figure on black.

Drawn and encoded on a thread of its own; the pipeline only hands a result over now and then.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgecam.core.errors import SinkError
from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.core.queues import Finished, Latest
from edgecam.core.result import Box, Decoded, Pose, Result
from edgecam.settings.schema import SnapshotSettings
from edgecam.sinks.render.overlay import draw_on

# A blurred picture has this many cells across and nothing finer: a face that fills a fifth of
# the picture is six of them.
BLURRED_CELLS = 32
# libjpeg encodes no longer side.
MAX_SIDE_PX = 65_500
WAIT_S = 60.0
CLOSE_S = 1.0


def shown_size(width_px: int, height_px: int, max_width_px: int) -> tuple[int, int]:
    """(width, height) of the picture: the frame's, made smaller to ``max_width_px`` across."""
    scale = min(1.0, max_width_px / width_px, MAX_SIDE_PX / height_px)
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def skeleton(poses: Sequence[Pose], size: tuple[int, int]) -> Image:
    """Stick figures on black, uint8[H, W, 3] BGR; ``poses`` are in its pixels, ``size`` is (W, H).

    It is made of keypoints alone: no picture comes in here.
    """
    width, height = size
    canvas = np.zeros((height, width, 3), np.uint8)
    draw_on(canvas, Decoded(poses=tuple(poses)))
    return canvas


def plain(image: Image, found: Decoded, size: tuple[int, int]) -> Image:
    """The picture at ``size`` (W, H) with what was found drawn on it, in its pixels."""
    picture: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    draw_on(picture, found)
    return picture


def blurred(image: Image, found: Decoded, size: tuple[int, int]) -> Image:
    """As ``plain``, of a picture that has only ``BLURRED_CELLS`` cells across."""
    width, height = size
    across = min(BLURRED_CELLS, width)
    cells = (across, max(1, round(across * height / width)))
    coarse = cv2.resize(image, cells, interpolation=cv2.INTER_AREA)
    picture: Image = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    draw_on(picture, found)
    return picture


def _scaled(result: Result, scale: float) -> Decoded:
    """What was found, in pixels of the smaller picture."""

    def box(found: Box) -> Box:
        return Box(*(scale * value for value in dataclasses.astuple(found)))

    return Decoded(
        poses=tuple(dataclasses.replace(pose, xy=pose.xy * scale) for pose in result.poses),
        detections=tuple(dataclasses.replace(d, box=box(d.box)) for d in result.detections),
        classes=result.classes,
        documents=tuple(
            dataclasses.replace(d, corners=d.corners * scale) for d in result.documents
        ),
    )


def picture(result: Result, mode: str, max_width_px: int) -> Image:
    """What ``mode`` (image, blurred, skeleton) makes of a result, uint8[H, W, 3] BGR."""
    frame = result.frame
    size = shown_size(frame.width_px, frame.height_px, max_width_px)
    found = _scaled(result, size[0] / frame.width_px)
    if mode == "skeleton":
        return skeleton(found.poses, size)
    return (blurred if mode == "blurred" else plain)(frame.image, found, size)


def jpeg(image: Image, quality: int) -> bytes:
    """Encode uint8[H, W, 3] BGR; ``quality`` is 1..100.

    Raises:
        SinkError: this OpenCV has no JPEG encoder.
    """
    try:
        done, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    except cv2.error as error:
        raise SinkError(f"snapshot: this OpenCV does not encode JPEG: {error.err}") from None
    if not done:
        raise SinkError("snapshot: this OpenCV does not encode JPEG")
    return bytes(data)


class Snapshots:
    """Hands ``send`` a JPEG now and then, from a thread of its own; a sink like the others.

    Raises:
        SinkError: this OpenCV has no JPEG encoder.
    """

    def __init__(self, settings: SnapshotSettings, send: Callable[[bytes], None]) -> None:
        self._settings, self._send = settings, send
        jpeg(np.zeros((8, 8, 3), np.uint8), settings.quality)
        self._newest: Latest[Result] = Latest()
        self._next_s = float("-inf")
        self._asked = threading.Event()
        self._sent = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="snapshot", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Send one of the next frame, whatever is in it, as soon as the interval allows."""
        self._asked.set()

    def publish(self, result: Result) -> None:
        """Hand the result over if it is time for a picture.

        Raises:
            Exception: whatever drawing the last one raised.
        """
        if self._error is not None:
            raise self._error
        now_s = time.monotonic()
        if now_s < self._next_s or not (self._asked.is_set() or self._is_due(result)):
            return
        self._asked.clear()
        self._next_s = now_s + self._settings.interval_s
        self._newest.put(result)

    def _is_due(self, result: Result) -> bool:
        if self._settings.when == "found":
            return bool(result.poses or result.detections or result.documents)
        return self._settings.when == "always"

    def _work(self) -> None:
        try:
            while True:
                result = self._newest.get(WAIT_S)
                if result is not None:
                    self._make(result)
        except Finished:
            return
        except BaseException as error:  # noqa: BLE001 - handed to the publishing thread
            self._error = error

    def _make(self, result: Result) -> None:
        settings = self._settings
        image = picture(result, settings.mode, settings.width_px)
        self._send(jpeg(image, settings.quality))
        self._sent += 1

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {"snapshots_sent": self._sent, "snapshots_skipped": self._newest.dropped}

    def close(self) -> None:
        """Drop what waits and end the thread."""
        self._newest.abort()
        self._thread.join(CLOSE_S)
