"""A recording that begins again at its end: for demonstrations and long runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from edgecam.core.frame import Frame
from edgecam.core.protocols import Source, SourceStatus, be_idle


class Loop:
    """Opens a recording again whenever it ends; ``sequence`` counts on, media time begins again."""

    def __init__(self, opener: Callable[[], Source]) -> None:
        """
        Raises:
            SourceError: the recording cannot be opened.
        """
        self._opener = opener
        self._source = opener()
        self._closed = threading.Event()
        self._swapping = threading.Lock()
        self._laps = 0
        self.live = self._source.live
        self.description = self._source.description

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield the recording's frames over and over until closed."""
        sequence = 0
        while not self._closed.is_set():
            for frame in self._source.frames(idle):
                yield replace(frame, sequence=sequence)
                sequence += 1
            with self._swapping:
                if not self._closed.is_set():
                    self._source = self._opener()
                    self._laps += 1

    def status(self) -> SourceStatus:
        """The recording's own, with how often it has ended."""
        status = self._source.status()
        if status.state == "ended" and not self._closed.is_set():
            # The next lap is about to begin.
            status = replace(status, state="online", reason=None)
        return replace(status, faults={**status.faults, "laps": self._laps})

    def close(self) -> None:
        """Stop from any thread."""
        with self._swapping:
            self._closed.set()
            self._source.close()
