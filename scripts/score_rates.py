"""Tracks at low rates: see ``score-rates``."""

from __future__ import annotations

import sys

from edgecam.core.keypoints import PERSON
from edgecam.daemon.build import load_models
from edgecam.inference import catalog as bundled
from edgecam.settings.load import load
from edgecam.tools.evaluate.clips import Clip, Playing, look_at, play

RATES_HZ = (10.0, 5.0, 2.0, 1.0, 0.5)
LAPS = 6
# Counts are of what comes after so long.
SETTLED_S = 10.0


def rate_line(names: list[str], clip: Clip, rate_hz: float) -> str:
    """What is found in the looped clip by models that look so many times a second."""
    flags = {"model.path": [f"{name}:rate_hz={rate_hz}" for name in names]}
    settings = load(None, {}, flags)
    results = list(play(clip, settings, load_models(settings), Playing(rate_hz, loops=LAPS)))
    ids = [i.track for r in results for i in r.poses]
    ids += [i.track for r in results for i in r.detections]
    share = sum(track is not None for track in ids) / max(1, len(ids))
    later = results[round(SETTLED_S * rate_hz) :]
    counts = [r.insight.counts.get(PERSON, 0) for r in later if r.insight is not None]
    return (
        f"{rate_hz:4g} Hz: {len(results):3} looks, {len(ids) / len(results):.2f} found in each, "
        f"{share:4.0%} of them with an id, mean count {sum(counts) / len(counts):.2f}"
    )


def main(*names: str) -> None:
    """Print a line for each rate."""
    models = list(names) or ["ssdlite"]
    settings = load(None, {}, {"model.path": models})
    clip = look_at(bundled.clip(), settings, load_models(settings))
    for rate_hz in RATES_HZ:
        print(rate_line(models, clip, rate_hz), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
