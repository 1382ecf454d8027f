"""Tells the supervisor that every stage makes progress, and the log which one does not."""

from __future__ import annotations

import logging

from edgecam.core.heartbeats import AllHeartbeats, Heartbeats
from edgecam.daemon.stopping import leave
from edgecam.daemon.systemd_notify import Notifier

# A stage is stuck after half of the watchdog's time, and the watchdog bites once after that.
STUCK_SHARE, PING_SHARE = 0.5, 0.25
DEFAULT_WATCHDOG_S = 30.0

log = logging.getLogger(__name__)


class Watchdog:
    """Pings the supervisor while the stages live, and says which one does not."""

    def __init__(self, notifier: Notifier, own_s: float | None) -> None:
        """``own_s``: where the supervisor has no watchdog, end the process this long after."""
        self._notifier = notifier
        period_s = notifier.watchdog_s or own_s or DEFAULT_WATCHDOG_S
        self._ends_itself = own_s is not None and notifier.watchdog_s is None
        self._bite_s = period_s * (1.0 - STUCK_SHARE)
        self._stuck_since_s = 0.0
        self._stuck_after_s = period_s * STUCK_SHARE
        self._ping_every_s = period_s * PING_SHARE
        self._next_s = 0.0
        self.stuck: tuple[str, ...] = ()

    def tick(self, heartbeats: Heartbeats | AllHeartbeats, now_s: float) -> None:
        """Call several times a second."""
        stuck = heartbeats.older_than(now_s - self._stuck_after_s)
        if stuck != self.stuck:
            self._tell(stuck)
            self._stuck_since_s = now_s
        self.stuck = stuck
        if stuck and self._ends_itself and now_s - self._stuck_since_s > self._bite_s:
            log.error("giving up, so that the service manager starts edgecam again")
            leave(1)
        if not stuck and now_s >= self._next_s:
            self._next_s = now_s + self._ping_every_s
            self._notifier.send("WATCHDOG=1")

    def _tell(self, stuck: tuple[str, ...]) -> None:
        if stuck:
            names = " and ".join(stuck)
            log.error("%s: no progress for %.0f s", names, self._stuck_after_s)
        else:
            log.warning("every stage makes progress again")
