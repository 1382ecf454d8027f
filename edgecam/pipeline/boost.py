"""More turns for a camera while it sees what the settings ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgecam.analysis.counts import counts
from edgecam.core.result import Result
from edgecam.messages.label_names import label_key
from edgecam.pipeline.turns import Turn

FALL = "fall"


class Boost:
    """A sink that boosts a camera's turns by each result.

    ``wanted`` are labels, or ``FALL``; ``has_fall`` says whether one is under way.
    """

    def __init__(self, turn: Turn, wanted: tuple[str, ...], has_fall: Callable[[], bool]) -> None:
        self._turn, self._has_fall = turn, has_fall
        self._labels = frozenset(map(label_key, wanted)) - {FALL}
        self._wants_falls = FALL in wanted

    def publish(self, result: Result) -> None:
        """Boost the next turn, or no longer."""
        seen = {label_key(label) for label, number in counts(result).items() if number}
        has_fall = self._wants_falls and self._has_fall()
        self._turn.is_boosted = has_fall or not self._labels.isdisjoint(seen)

    def counters(self) -> Mapping[str, int]:
        """Return nothing: it drops nothing."""
        return {}

    def close(self) -> None:
        """Nothing is open."""
