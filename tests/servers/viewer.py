"""Watches a live source as the pipeline does, and notes when what happened."""

from __future__ import annotations

import threading
from collections.abc import Callable

from brokers import wait_until

from edgecam.core.frame import Frame
from edgecam.core.protocols import Source


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

    def wait_for_frames(self, more: int, within_s: float = 10.0) -> None:
        """Return when ``more`` frames than now have come; fail where they do not."""
        goal = self.count + more
        wait_for(lambda: self.count >= goal, within_s)

    def wait_for_state(self, state: str, within_s: float = 10.0) -> None:
        """Return when the source says that it is in ``state``; fail where it does not."""
        wait_for(lambda: self.source.status().state == state, within_s)

    def close(self) -> None:
        """Close the source; fail where its frames do not end."""
        self.source.close()
        self._thread.join(60.0)
        assert not self._thread.is_alive()


def wait_for(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Return when ``condition`` holds; fail where it does not."""
    assert wait_until(condition, within_s), f"not within {within_s:g} s"
