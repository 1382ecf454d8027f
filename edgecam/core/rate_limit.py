"""At most so many a second, by the clock of what is counted."""

from __future__ import annotations


class RateLimit:
    """Lets through at most ``max_hz`` frames a second, by the frames' own clock; None lets all."""

    def __init__(self, max_hz: float | None) -> None:
        self._interval_s = 0.0 if max_hz is None else 1.0 / max_hz
        self._next_s: float | None = None
        self._last_s = 0.0

    def due(self, now_s: float) -> bool:
        """Whether a frame at ``now_s`` would be let through."""
        if self._next_s is None or now_s < self._last_s:
            return True
        # Frame times jitter by less than a tenth of the interval; without it every other is lost.
        return now_s >= self._next_s - 0.1 * self._interval_s

    def holds(self, now_s: float) -> bool:
        """Whether the frame at ``now_s`` comes too soon; if not, it has been let through."""
        if not self.due(now_s):
            self._last_s = now_s
            return True
        if self._next_s is None or now_s < self._last_s:
            self._next_s = now_s
        self._last_s = now_s
        self._next_s = max(self._next_s + self._interval_s, now_s + 0.5 * self._interval_s)
        return False


# A client that may publish pictures may make cameras up; more than this are not remembered.
MAX_CAMERAS = 4096


class CameraLimits:
    """A limit of its own for each camera; None is the only one of a source."""

    def __init__(self, max_hz: float | None) -> None:
        self._max_hz = max_hz
        self._limits: dict[str | None, RateLimit] = {}

    def of(self, camera: str | None) -> RateLimit:
        """Return the limit of one camera, a new one for a camera not seen before."""
        if camera not in self._limits:
            if len(self._limits) >= MAX_CAMERAS:
                del self._limits[next(iter(self._limits))]
            self._limits[camera] = RateLimit(self._max_hz)
        return self._limits[camera]
