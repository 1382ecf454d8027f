"""How far apart a model's looks at a source are: as meant, and as they come.

A model looks less often than it is meant to where the board is slow or hot, or the source is.
"""

from __future__ import annotations

from dataclasses import dataclass

# The shortest of so many gaps counts: a camera that was away once does not make looks rare.
MAX_GAPS = 3


@dataclass(slots=True)
class Intervals:
    """The looks of one model by the frames' clock.

    ``period_s`` is how far apart they are meant to be, 0 for every frame. ``gaps_s`` are the last
    ones, ``waited_s`` is how much of the time since ``last_s`` the model had nothing to look at.
    """

    period_s: float = 0.0
    gaps_s: tuple[float, ...] = ()
    last_s: float | None = None
    waited_s: float = 0.0

    def note(self, now_s: float) -> None:
        """Note that the model looks at a frame of this time."""
        if self.last_s is not None and now_s < self.last_s:
            # A recording that begins again.
            self.gaps_s = ()
        elif self.last_s is not None:
            gap_s = max(0.0, now_s - self.last_s - self.waited_s)
            self.gaps_s = (*self.gaps_s, gap_s)[-MAX_GAPS:]
        self.last_s, self.waited_s = now_s, 0.0

    def wait(self, elapsed_s: float) -> None:
        """Nothing moved, or nothing called for the model, for so long."""
        self.waited_s += elapsed_s

    @property
    def interval_s(self) -> float:
        """How long after a look the next one is to be expected, at most."""
        return max(self.period_s, min(self.gaps_s, default=0.0))
