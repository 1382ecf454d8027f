"""A source whose camera hangs upside down or on its side, or serves as a mirror.

Everything after it, what is published included, is in the picture as it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edgecam.core.frame import Frame, Image
from edgecam.core.protocols import Source, SourceStatus, be_idle
from edgecam.core.turning import mirror_image, turn_image


@dataclass(frozen=True, slots=True)
class Turn:
    """What becomes of a picture: turned clockwise by ``degrees``, then mirrored.

    ``is_done``: the camera has done both; what is left to do is to say so.
    """

    degrees: int = 0
    mirrors: bool = False
    is_done: bool = False

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame with its picture as it is to be shown."""
        image = frame.image if self.is_done else self._shown(frame.image)
        # What is mirrored twice is as the camera sees it.
        return replace(frame, image=image, is_mirrored=frame.is_mirrored != self.mirrors)

    def _shown(self, image: Image) -> Image:
        if self.degrees:
            image = turn_image(image, self.degrees)
        return mirror_image(image) if self.mirrors else image


class Turned:
    """Turns every frame of ``source``."""

    def __init__(self, source: Source, turn: Turn) -> None:
        self._source, self._turn = source, turn
        self.live = source.live
        self.description = source.description

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield the turned frames."""
        for frame in self._source.frames(idle):
            yield self._turned(frame)

    def _turned(self, frame: Frame) -> Frame:
        return self._turn(frame)

    def status(self) -> SourceStatus:
        """Return the status of the source below."""
        return self._source.status()

    def close(self) -> None:
        """Stop from any thread."""
        self._source.close()


class HoldingTurned(Turned):
    """The same for a source that holds on to its frames until they are done with."""

    def __init__(self, source: Source, turn: Turn, release: Callable[[Frame], None]) -> None:
        super().__init__(source, turn)
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


def turned(source: Source, turn: Turn) -> Source:
    """Return ``source`` with its frames turned."""
    release = getattr(source, "release", None)
    return Turned(source, turn) if release is None else HoldingTurned(source, turn, release)
