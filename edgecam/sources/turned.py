"""A source whose camera hangs upside down or on its side: its frames are turned.

Everything after it, what is published included, is in the turned picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from edgecam.core.frame import Frame
from edgecam.core.protocols import Source, SourceStatus, be_idle
from edgecam.core.turning import turn_image


class Turned:
    """Turns every frame of ``source`` clockwise by 90, 180 or 270 degrees."""

    def __init__(self, source: Source, degrees: int) -> None:
        self._source, self._degrees = source, degrees
        self.live = source.live
        self.description = source.description

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield the turned frames."""
        for frame in self._source.frames(idle):
            yield self._turned(frame)

    def _turned(self, frame: Frame) -> Frame:
        return replace(frame, image=turn_image(frame.image, self._degrees))

    def status(self) -> SourceStatus:
        """Return the status of the source below."""
        return self._source.status()

    def close(self) -> None:
        """Stop from any thread."""
        self._source.close()


class HoldingTurned(Turned):
    """The same for a source that holds on to its frames until they are done with."""

    def __init__(self, source: Source, degrees: int, release: Callable[[Frame], None]) -> None:
        super().__init__(source, degrees)
        self._release = release
        # By the turned frame's identity: the turned one, so that it lives on, and its origin.
        self._origins: dict[int, tuple[Frame, Frame]] = {}

    def _turned(self, frame: Frame) -> Frame:
        turned = super()._turned(frame)
        self._origins[id(turned)] = turned, frame
        return turned

    def release(self, frame: Frame) -> None:
        """Let go of what the frame was made of; from any thread."""
        held = self._origins.pop(id(frame), None)
        if held is not None:
            self._release(held[1])


def turned(source: Source, degrees: int) -> Source:
    """Return ``source``, its frames turned clockwise by 90, 180 or 270 degrees."""
    release = getattr(source, "release", None)
    return Turned(source, degrees) if release is None else HoldingTurned(source, degrees, release)
