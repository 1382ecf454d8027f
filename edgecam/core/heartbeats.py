"""When each stage of a run last made progress."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Heartbeats:
    """When each stage last made progress, monotonic seconds."""

    at_s: dict[str, float] = field(default_factory=dict)

    def beat(self, stage: str) -> None:
        """Note that a stage is alive now."""
        self.at_s[stage] = time.monotonic()

    def end(self, stage: str) -> None:
        """The stage is done: nothing more is expected of it."""
        self.at_s.pop(stage, None)

    def older_than(self, since_s: float) -> tuple[str, ...]:
        """The stages whose last progress was before ``since_s``."""
        return tuple(stage for stage, at_s in sorted(self.at_s.copy().items()) if at_s < since_s)


@dataclass(frozen=True, slots=True)
class AllHeartbeats:
    """Heartbeats of several runs in one process, by the name of each; of one alone it is empty."""

    of_run: Mapping[str, Heartbeats]

    def older_than(self, since_s: float) -> tuple[str, ...]:
        """The stages whose last progress was before ``since_s``, with the run that they are of."""
        return tuple(
            f"{name}: {stage}" if name else stage
            for name, heartbeats in self.of_run.items()
            for stage in heartbeats.older_than(since_s)
        )
