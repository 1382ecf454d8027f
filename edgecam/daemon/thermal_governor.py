"""Keeps a hot board usable: fewer invokes a second, in steps, until it has cooled down.

A board that throttles itself slows everything and unevenly; a lower rate chosen here keeps the
latency of every result.
"""

from __future__ import annotations

import logging

from edgecam.messages.telemetry import ThermalReport
from edgecam.settings.board import ThermalSettings

# Of the rate at which the board got hot.
SHARES = (1.0, 0.75, 0.5, 0.33, 0.2, 0.1)
SAMPLE_S = 5.0

log = logging.getLogger(__name__)


class Governor:
    """Decides how far apart invokes must be, from temperatures and throttling as they come."""

    def __init__(self, settings: ThermalSettings) -> None:
        self._settings = settings
        self._sample_s = min(SAMPLE_S, settings.step_s)
        self._next_s = float("-inf")
        self._changed_s = float("-inf")
        self._full_hz = 0.0
        self._reason: str | None = None
        self.step = 0
        self.slower = self.faster = 0

    def due(self, now_s: float) -> bool:
        """Whether it is time to look at the sensors again."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._sample_s
        return True

    @property
    def max_hz(self) -> float | None:
        """Invokes a second at most, None for as many as there are frames."""
        return self._full_hz * SHARES[self.step] if self.step else None

    @property
    def interval_s(self) -> float:
        """Between the beginnings of two invokes, at least."""
        return 1.0 / self.max_hz if self.max_hz else 0.0

    def update(
        self, now_s: float, temperature_c: float | None, throttled: bool | None, rate_hz: float
    ) -> None:
        """One look at the board; ``rate_hz`` is the rate of invokes now, ``now_s`` monotonic."""
        if now_s - self._changed_s < self._settings.step_s:
            return
        heat = "unknown" if temperature_c is None else f"{temperature_c:.0f} °C"
        limit_c = self._settings.limit_c
        if throttled or (temperature_c is not None and temperature_c >= limit_c):
            self._reason = f"the board slows itself down ({heat})" if throttled else heat
            self._slow_down(now_s, rate_hz)
        elif temperature_c is None or temperature_c <= limit_c - self._settings.hysteresis_c:
            self._speed_up(now_s, heat)

    def _slow_down(self, now_s: float, rate_hz: float) -> None:
        if self.step == 0:
            self._full_hz = rate_hz
        # A board that is hot though nothing is inferred is none of our doing.
        if self.step == len(SHARES) - 1 or self._full_hz <= 0.0:
            return
        self.step, self._changed_s = self.step + 1, now_s
        self.slower += 1
        log.warning("%s: at most %.1f invokes a second", self._reason, self.max_hz)

    def _speed_up(self, now_s: float, heat: str) -> None:
        if self.step == 0:
            return
        self.step, self._changed_s = self.step - 1, now_s
        self.faster += 1
        if self.max_hz is None:
            self._reason = None
            log.warning("temperature %s: full rate again", heat)
        else:
            log.info("temperature %s: at most %.1f invokes a second", heat, self.max_hz)

    def report(self) -> ThermalReport:
        """Return the state as telemetry has it."""
        max_hz = None if self.max_hz is None else round(self.max_hz, 2)
        return ThermalReport(step=self.step, max_hz=max_hz, reason=self._reason)

    def counters(self) -> dict[str, int]:
        """Return the counts since the start, by name."""
        return {"thermal_slower": self.slower, "thermal_faster": self.faster}
