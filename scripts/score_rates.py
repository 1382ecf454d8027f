"""Tracks at low rates: see ``score-rates``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from edgecam.core.keypoints import PERSON
from edgecam.core.result import Result
from edgecam.daemon.run import run
from edgecam.inference import catalog as bundled
from edgecam.settings.load import load

RATES_HZ = (10.0, 5.0, 2.0, 1.0, 0.5)


@dataclass(slots=True)
class Tally:
    """Sums over all looks; ``identified`` of those that were ``found`` have an id."""

    looks: int = 0
    found: int = 0
    identified: int = 0
    counted: int = 0

    def publish(self, result: Result) -> None:
        items = [*result.poses, *result.detections]
        self.looks += 1
        self.found += len(items)
        self.identified += sum(item.track is not None for item in items)
        self.counted += result.insight.counts.get(PERSON, 0) if result.insight else 0

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        """Nothing is open."""


def tally(model: str, rate_hz: float) -> Tally:
    """What ``model`` finds in the bundled clip, looking so many times a second."""
    found = Tally()
    flags = {"model.path": [f"{model}:rate_hz={rate_hz}"], "source.url": str(bundled.clip())}
    run(load(None, {}, flags), threading.Event(), extra_sinks=[found])
    return found


def main(model: str = "ssdlite") -> None:
    """Print a line for each rate."""
    for rate_hz in RATES_HZ:
        found = tally(model, rate_hz)
        share = found.identified / max(1, found.found)
        print(
            f"{rate_hz:4g} Hz: {found.looks:3} looks, {found.found / found.looks:.2f} found in "
            f"each, {share:4.0%} of them with an id, mean count {found.counted / found.looks:.2f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
