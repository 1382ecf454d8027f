"""A live camera: its newest picture, drained by the reader thread.

``frames`` hands the newest picture over and watches the clock, so that a call stuck in native
code is noticed and never awaited.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from edgecam.core.frame import Frame, Image
from edgecam.core.protocols import CaptureFormat, SourceStatus, be_idle
from edgecam.settings.schema import SourceSettings
from edgecam.sources.frozen_frame import Stillness
from edgecam.sources.picture_limits import max_pixels
from edgecam.sources.stream_size import check_image
from edgecam.sources.supervised import Place, SupervisedSource


class Capture(Protocol):
    """An open stream; used by one thread."""

    def read(self) -> Image:
        """Block until the next whole picture, BGR uint8[H, W, 3]; raises StreamError."""
        ...

    def close(self) -> None:
        """Release what is open."""
        ...


class Endpoint(Place, Protocol):
    """Where a live source can be opened, again and again."""

    @property
    def formats(self) -> tuple[CaptureFormat, CaptureFormat] | None:
        """Of a local camera, what it was asked for when it was opened last, and what it gave."""
        ...

    def open(self, count: Callable[[str], None]) -> Capture:
        """Open the stream; raises StreamError. ``count`` notes a picture thrown away, by kind."""
        ...


class LiveSource(SupervisedSource):
    """Pictures from an endpoint, newest first to be had, reopened without end."""

    def __init__(
        self, endpoint: Endpoint, settings: SourceSettings, stop: threading.Event | None = None
    ) -> None:
        self._endpoint = endpoint
        self._max_pixels = max_pixels(settings, live=True)
        self._slot: Frame | None = None
        self._still = Stillness(settings.frozen_after_s)
        super().__init__(endpoint, settings, stop)

    def _read(self) -> None:
        capture = self._endpoint.open(self._count)
        try:
            self._is_open()
            while not self._closed.is_set():
                self._begin_call()
                image = capture.read()
                check_image(image, self._max_pixels)
                self._deliver(image, time.monotonic(), time.time())
        finally:
            self._begin_call()
            capture.close()

    def _deliver(self, image: Image, captured_s: float, captured_unix_s: float) -> None:
        frozen = self._still.seen(image, captured_s)
        with self._changed:
            if self._slot is not None:
                self._counts["overrun"] += 1
            self._slot = Frame(image, self._delivered, captured_s, captured_unix_s)
            self._heard(captured_s)
            self._set_frozen(frozen)

    def status(self) -> SourceStatus:
        """As for every supervised source, with the format of a local camera."""
        found = super().status()
        formats = self._endpoint.formats
        return found if formats is None else replace(found, asked=formats[0], got=formats[1])

    def _forget(self) -> None:
        self._slot = None
        self._still.forget()

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield the newest picture whenever there is one, through every outage, until closed."""
        while not self._closed.is_set():
            with self._changed:
                if self._slot is None:
                    self._changed.wait(0.25)
                frame, self._slot = self._slot, None
            if frame is None:
                self._wait_idly(idle)
            else:
                yield frame
