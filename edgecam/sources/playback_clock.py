"""Play a recording at its own rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

IDLE_EVERY_S = 0.5


class Pace:
    """Due times of a recording's frames, from the moment the first one is asked for."""

    def __init__(self, closed: threading.Event, idle: Callable[[], None]) -> None:
        """``closed`` ends a wait, ``idle`` is called again and again during one."""
        self._closed = closed
        self._idle = idle
        self._start_s: float | None = None

    def wait(self, media_time_s: float) -> float:
        """Sleep until the frame at ``media_time_s`` is due; return that time, monotonic seconds.

        A frame that is late is due in the past and is not waited for, so a slow consumer does
        not stretch the recording. Closing the source ends the sleep.
        """
        if self._start_s is None:
            self._start_s = time.monotonic() - media_time_s
        due_s = self._start_s + media_time_s
        while (left_s := due_s - time.monotonic()) > 0:
            if self._closed.wait(min(left_s, IDLE_EVERY_S)):
                break
            self._idle()
        return due_s
