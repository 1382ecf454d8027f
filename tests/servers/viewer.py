"""Watches a live source as the pipeline does, and notes when what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edgecam.types import Frame, Source


class Viewer:
    """Drains a source on its own thread and keeps the newest frame and its arrival."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.count = 0
        self.newest: Frame | None = None
        self.sizes: list[tuple[int, int]] = []
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        for frame in self.source.frames():
            self.newest = frame
            size = (frame.width_px, frame.height_px)
            if not self.sizes or self.sizes[-1] != size:
                self.sizes.append(size)
            self.count += 1

    def wait_for_frames(self, more: int, within_s: float) -> float:
        goal = self.count + more
        return seconds_until(lambda: self.count >= goal, within_s)

    def wait_for_state(self, state: str, within_s: float) -> float:
        return seconds_until(lambda: self.source.status().state == state, within_s)

    def close(self) -> float:
        """How long the source takes to end."""
        began_s = time.monotonic()
        self.source.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        return time.monotonic() - began_s


def seconds_until(condition: Callable[[], bool], within_s: float) -> float:
    """How long ``condition`` took to hold; infinite where it did not in time."""
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() - began_s > within_s:
            return float("inf")
        time.sleep(0.01)
    return time.monotonic() - began_s
