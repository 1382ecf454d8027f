"""The pictures that a worker holds: few, and of each camera the newest."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgecam.core.frame import Frame

# One in the interpreter, and one ready for it: a third would be older than it need be.
MAX_IN_WORK = 2


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An encoded picture of ``camera``; ``connection`` and ``number`` say what acknowledges it.

    From ``expires_s`` of the monotonic clock on it is of no use to anyone.
    """

    camera: str | None
    data: bytes
    sequence: int
    arrived_s: float
    captured_unix_s: float
    connection: object
    number: int
    expires_s: float = math.inf


class Held:
    """At most ``limit`` pictures, waiting or in work; each method returns those it lets go."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # A camera keeps its place in the row when a newer picture takes that of an older one.
        self._waiting: dict[str | None, Picture] = {}
        self._in_work: list[tuple[Frame, Picture]] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_work)

    def put(self, picture: Picture) -> list[Picture]:
        """Let it wait; the older one of its camera goes, and where all is full the oldest."""
        gone = []
        if picture.camera in self._waiting:
            gone.append(self._waiting[picture.camera])
        self._waiting[picture.camera] = picture
        while self._waiting and len(self) > self._limit:
            gone.append(self._waiting.pop(next(iter(self._waiting))))
        return gone

    def expire(self, now_s: float) -> list[Picture]:
        """Those that wait no longer, since their senders set them an end."""
        gone = [each for each in self._waiting.values() if each.expires_s <= now_s]
        for each in gone:
            del self._waiting[each.camera]
        return gone

    def take(self) -> Picture | None:
        """The one that waits longest, unless enough are in work."""
        if len(self._in_work) >= MAX_IN_WORK or not self._waiting:
            return None
        return self._waiting.pop(next(iter(self._waiting)))

    def begin(self, frame: Frame, picture: Picture) -> None:
        """``frame`` is handed out, made of ``picture``."""
        self._in_work.append((frame, picture))

    def end(self, frame: Frame) -> list[Picture]:
        """``frame`` is done with."""
        gone = [picture for begun, picture in self._in_work if begun is frame]
        self._in_work = [pair for pair in self._in_work if pair[0] is not frame]
        return gone
