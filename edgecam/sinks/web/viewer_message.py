"""One result as the page's viewers get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from msgspec import Raw

from edgecam.analysis.counts import counts
from edgecam.core.result import Result


@dataclass(frozen=True, eq=False)
class Moment:
    """A published result; ``number`` counts them, ``write`` makes its JSON."""

    number: int
    result: Result
    write: Callable[[], bytes]

    @property
    def zone_counts(self) -> dict[str, dict[str, int]]:
        """How many of each label are in each zone."""
        insight = self.result.insight
        return {} if insight is None else {z: dict(n) for z, n in insight.zone_counts.items()}

    @cached_property
    def parts(self) -> dict[str, Any]:
        """Return what a viewer gets of it, made once however many there are."""
        return {
            "result": Raw(self.write()),
            "counts": counts(self.result),
            "zone_counts": self.zone_counts,
            "stale": {
                "detections": sorted(self.result.stale_detections),
                "poses": sorted(self.result.stale_poses),
            },
        }
