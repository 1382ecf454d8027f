"""Schedule of models over frames: each at its own rate, and not while it has failed.

Rates and waits go by the frames' own clock, so that a recording gives the same results on every
run. A model that fails is left out of that frame; of a live source also of those that follow for
a while, 1 s at first and 60 s at most, then it is loaded again. Where no model is left that works
the run ends with the error.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgecam.core.errors import EdgecamError
from edgecam.core.fault_log import FaultLog
from edgecam.core.frame import Frame
from edgecam.core.rate_limit import CameraLimits, RateLimit

RETRY_MIN_S = 1.0
RETRY_MAX_S = 60.0

log = logging.getLogger(__name__)


class Rated(Protocol):
    """A model, as far as turns go."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def rate_hz(self) -> float | None:
        """Frames a second that it looks at, at most; None for all."""
        ...

    @property
    def refines(self) -> bool:
        """Whether it looks once more at what others find."""
        ...


@dataclass(slots=True)
class _Turn:
    name: str
    # Of each camera, where a source serves several.
    limits: CameraLimits
    refines: bool = False
    failures: int = 0
    reason: str | None = None
    failed_at_s: float = 0.0
    wait_s: float = 0.0

    def limit(self, frame: Frame) -> RateLimit:
        return self.limits.of(frame.camera)

    def waits(self, now_s: float) -> bool:
        # Several cameras' clocks are a little apart; one that jumps back is a recording's, again
        # at its beginning.
        return -1.0 < now_s - self.failed_at_s < self.wait_s


class ModelSchedule:
    """Asked in the order of the frames, but for ``may``."""

    def __init__(self, models: Sequence[Rated], live: bool) -> None:
        self._live = live
        self._turns = [
            _Turn(model.name, CameraLimits(model.rate_hz), model.refines) for model in models
        ]
        self._faults = FaultLog(log)
        self._lock = threading.Lock()

    def may(self, frame: Frame) -> tuple[bool, ...]:
        """Which models could look at a frame, if none before it takes their turn."""
        now_s = frame.time_s
        with self._lock:
            return self._looks(
                [not t.waits(now_s) and t.limit(frame).due(now_s) for t in self._turns]
            )

    def take(self, frame: Frame) -> tuple[bool, ...]:
        """Which models look at this frame."""
        now_s = frame.time_s
        with self._lock:
            return self._looks(
                [not t.waits(now_s) and not t.limit(frame).holds(now_s) for t in self._turns]
            )

    def _looks(self, may: Sequence[bool]) -> tuple[bool, ...]:
        """One that refines looks where another one does."""
        finds = any(is_due for is_due, t in zip(may, self._turns, strict=True) if not t.refines)
        return tuple(
            is_due and (finds or not t.refines) for is_due, t in zip(may, self._turns, strict=True)
        )

    def is_retry(self, place: int) -> bool:
        """Whether the model failed the last time and should be loaded again."""
        return self._live and self._turns[place].reason is not None

    def failed(self, place: int, now_s: float, error: EdgecamError) -> None:
        """The model at ``place`` failed on a frame.

        Raises:
            EdgecamError: this very one, where no model works.
        """
        turn = self._turns[place]
        with self._lock:
            turn.failures += 1
            turn.reason = str(error)
            if self._live:
                turn.failed_at_s = now_s
                turn.wait_s = min(max(RETRY_MIN_S, 2.0 * turn.wait_s), RETRY_MAX_S)
            if all(each.reason is not None for each in self._turns if not each.refines):
                raise error
        self._faults.fault(turn.name, f"{error}; the other models go on")

    def worked(self, place: int) -> None:
        """The model at ``place`` gave a result."""
        turn = self._turns[place]
        if turn.reason is not None:
            with self._lock:
                turn.reason, turn.wait_s = None, 0.0
            self._faults.recovered(turn.name, f"{turn.name}: works again")

    @property
    def failures(self) -> Mapping[str, int]:
        """How often each model failed, by its name."""
        return {turn.name: turn.failures for turn in self._turns}

    @property
    def faults(self) -> Mapping[str, str]:
        """Why, by name, of the models that failed the last time."""
        return {turn.name: turn.reason for turn in self._turns if turn.reason is not None}
