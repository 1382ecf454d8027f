"""A thin camera: takes pictures, publishes them, and is watched as every other instance is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from edgecam.core.errors import SinkError
from edgecam.core.frame import Frame
from edgecam.core.heartbeats import Heartbeats
from edgecam.core.opencv import cv2
from edgecam.core.protocols import Source
from edgecam.core.rate_limit import RateLimit
from edgecam.daemon.stopping import Stop
from edgecam.daemon.systemd_notify import Notifier
from edgecam.daemon.watchdog import Watchdog
from edgecam.mqtt.broker import BROKER_WAIT_S
from edgecam.mqtt.frame_publisher import PicturePublisher
from edgecam.settings.schema import Settings
from edgecam.sinks.render.snapshot import jpeg, shown_size

TICK_S = 0.1
# A reader that is stuck in native code is left behind.
CLOSE_S = 1.0
CAPTURE = "capture"


@dataclass(frozen=True, slots=True)
class Pictures:
    """How they are published: at most ``rate_hz``, ``width_px`` wide, at a JPEG quality."""

    rate_hz: float
    width_px: int
    quality: int


class ThinCamera:
    """Publishes a source's pictures; systemd's watchdog is fed while what reads them lives.

    Of ``settings`` count ``max_frames`` and ``watchdog_s``.
    """

    def __init__(
        self,
        source: Source,
        publisher: PicturePublisher,
        pictures: Pictures,
        notifier: Notifier,
        settings: Settings,
    ) -> None:
        self._source, self._publisher, self._pictures = source, publisher, pictures
        self._notifier, self._max_frames = notifier, settings.max_frames
        self._watchdog = Watchdog(notifier, settings.watchdog_s)
        self._heartbeats = Heartbeats()
        self._limit = RateLimit(pictures.rate_hz)
        self._ended = threading.Event()
        self._failure: BaseException | None = None

    def run(self, stop: Stop) -> None:
        """Publish until the source ends, ``max_frames`` were sent, or ``stop`` is set.

        Raises:
            EdgecamError: the source fails.
        """
        reader = threading.Thread(target=self._read, args=(stop,), name=CAPTURE, daemon=True)
        self._heartbeats.beat(CAPTURE)
        self._publisher.start()
        reader.start()
        self._notifier.send("READY=1", "STATUS=running")
        try:
            while not self._ended.wait(TICK_S) and not stop.is_set():
                self._watchdog.tick(self._heartbeats, time.monotonic())
                if not self._publisher.is_alive():
                    raise SinkError("the connection to the broker ended by a fault of edgecam")
        finally:
            self._notifier.send("STOPPING=1", "STATUS=stopping")
            self._ended.set()
            self._source.close()
            reader.join(CLOSE_S)
            self._publisher.stop()
        if self._failure is not None:
            raise self._failure

    def _idle(self) -> None:
        self._heartbeats.beat(CAPTURE)

    def _read(self, stop: Stop) -> None:
        try:
            self._publish(stop)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which judges it
            self._failure = error
        finally:
            self._heartbeats.end(CAPTURE)
            self._ended.set()

    def _publish(self, stop: Stop) -> None:
        if not self._source.live:
            self._wait(self._publisher.connected, BROKER_WAIT_S)
        sent = 0
        for frame in self._source.frames(self._idle):
            self._idle()
            if self._ended.is_set() or stop.is_set() or sent == self._max_frames:
                return
            if self._limit.holds(frame.time_s):
                continue
            self._publisher.offer(self._jpeg(frame), frame.sequence, frame.captured_unix_s)
            sent += 1
            if not self._source.live:
                # A recording has no clock of its own: its pictures go as fast as they are wanted.
                self._wait(self._ended, 1.0 / self._pictures.rate_hz)

    def _wait(self, event: threading.Event, seconds: float) -> None:
        """Wait without seeming stuck."""
        until_s = time.monotonic() + seconds
        while not event.wait(min(max(until_s - time.monotonic(), 0.0), TICK_S)):
            self._idle()
            if time.monotonic() >= until_s or self._ended.is_set():
                return

    def _jpeg(self, frame: Frame) -> bytes:
        size = shown_size(frame.width_px, frame.height_px, self._pictures.width_px)
        image = frame.image
        if size != (frame.width_px, frame.height_px):
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return jpeg(image, self._pictures.quality)
