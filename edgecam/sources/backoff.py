"""How long an outage lasts, and how long to wait before the next attempt."""

from __future__ import annotations

import time

from edgecam.settings.schema import SourceSettings

STEADY_RETRY_S = 60.0


class Outage:
    """One outage after another; attempts are steady for a minute, then at doubling distances."""

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._began_s: float | None = None
        self._wait_s = settings.backoff_min_s

    def began(self) -> None:
        """Note that the source was lost now."""
        self._began_s = time.monotonic()

    def ended(self) -> float:
        """Note that it is back; return how many seconds it was away."""
        lasted_s = time.monotonic() - self._began_s if self._began_s is not None else 0.0
        self._began_s = None
        self._wait_s = self._settings.backoff_min_s
        return lasted_s

    def next_wait_s(self) -> float:
        """Return the wait before the next attempt; it grows."""
        wait_s = self._wait_s
        if self._began_s is not None and time.monotonic() - self._began_s > STEADY_RETRY_S:
            self._wait_s = min(2 * wait_s, self._settings.backoff_max_s)
        return min(wait_s, self._settings.backoff_max_s)
