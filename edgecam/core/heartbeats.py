"""When each stage of a run last made progress."""

from __future__ import annotations

import time
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
