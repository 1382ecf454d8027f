"""Ratios that edgecam keeps to, each of two things that took turns within one run.

Run by ``scripts/bench --check``. Other programs on the machine only ever make a figure worse, so
the best of a few tries counts. The tests assert order, counts and bytes; what is fast enough is
said here alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import bars_code
import bars_daemon
import bars_decoders
import bars_runs

TRIES = 3


@dataclass(frozen=True)
class Bar:
    """A figure and the bar that it may not pass: ``limit`` at most, or at least."""

    name: str
    unit: str
    measure: Callable[[], float]
    limit: float
    at_least: bool = False

    def holds(self, figure: float) -> bool:
        return figure >= self.limit if self.at_least else figure <= self.limit

    def best(self, figures: Iterable[float]) -> float:
        return max(figures) if self.at_least else min(figures)


def at_most(name: str, limit: float, unit: str, measure: Callable[[], float]) -> Bar:
    return Bar(name, unit, measure, limit)


def at_least(name: str, limit: float, unit: str, measure: Callable[[], float]) -> Bar:
    return Bar(name, unit, measure, limit, at_least=True)


BARS = (
    at_least("pipeline-1-thread", 0.85, "of the bare rate", lambda: bars_runs.efficiency(1)),
    at_least("pipeline-2-threads", 0.55, "of the bare rate", lambda: bars_runs.efficiency(2)),
    at_least("crops", 2.2, "times less in the interpreter", bars_runs.crops),
    at_most("still-scene", 0.3, "of the cascade without its gate", bars_runs.still_scene),
    at_least("eight-instances", 0.9, "of one's frames a second", bars_runs.instances),
    at_most("ssd-decode", 25.0, "passes over the scores", bars_code.ssd_decode),
    at_least("balanced", 0.5, "of PoseNet's rate, five people, by invokes", bars_code.balanced),
    at_most("nanodet-decode", 0.1, "of its invoke, 100 boxes", bars_decoders.nanodet),
    at_most("yolo-decode", 0.1, "of a smaller network's invoke", bars_decoders.yolo),
    at_most(
        "multipose-decode", 0.05, "of 1.4 PoseNet invokes, six people", bars_decoders.multipose
    ),
    at_most("message", 0.5, "of packing it in plain Python", bars_code.message),
    at_most("documents", 3.0, "of a PoseNet invoke", bars_code.documents),
    at_most("teach", 5.0, "of the invokes that it needs", bars_code.teach),
    at_most("age-published", 1.0, "of a period and 1.3 invokes", bars_daemon.age_published),
    at_most("age-inferred", 2.5, "of the camera's period", bars_daemon.age_inferred),
    at_most("viewer", 1.0, "of what the run takes without", bars_daemon.viewer),
    at_most("attack", 1.0, "of what the run takes without", bars_daemon.attack),
    at_least("viewer-on-a-busy-board", 0.95, "of the rate without", bars_daemon.viewer_on_busy),
    at_most("idle-connection", 0.02, "of a busy loop", bars_daemon.idle_connection),
    at_most("fleet-broker", 50.0, "% of a core, 200 cameras", bars_daemon.fleet_broker),
)


def check(names: Sequence[str]) -> int:
    """Print figure and bar of those named, or all; how many were missed."""
    known = {bar.name: bar for bar in BARS}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(
            f"bench --check: expected some of {', '.join(known)}, found {', '.join(unknown)}"
        )
    width = max(map(len, known))
    missed = 0
    print(f"{'what':{width}}  {'figure':>8}  {'bar':>11}", flush=True)
    for name in names or known:
        bar, figures = known[name], list[float]()
        while len(figures) < TRIES and not any(map(bar.holds, figures)):
            figures.append(bar.measure())
        best = bar.best(figures)
        word = "kept" if bar.holds(best) else "MISSED"
        missed += not bar.holds(best)
        limit = f"{'>=' if bar.at_least else '<='} {bar.limit:g}"
        print(f"{name:{width}}  {best:8.3f}  {limit:>11}  {word:6}  {bar.unit}", flush=True)
    if missed:
        print(f"bench --check: {missed} missed, the best of {TRIES} tries each", file=sys.stderr)
    return missed
