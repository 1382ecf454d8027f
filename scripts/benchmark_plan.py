"""How many boards so many cameras need: a simulation from figures that were measured.

Run by scripts/bench-many plan. The figures are rows of benchmarks.csv ("house, ..." and
"workers, ...", which scripts/bench --houses writes), of the board that they were measured on.

A look takes the processor time that it was measured with, spread over all cores, a fifth more or
less at random. Every camera wants so many looks a second and its newest picture alone waits. On a
board the next look goes to the camera that is furthest behind, by the very code that does it in a
run; processes share a board in the same way, for the system is as fair. A broker hands pictures to
the workers in turn, and each keeps the newest of a camera and 16 at most, as a real one does. A
way holds where the slowest camera gets nearly all of the looks that it wants, and memory suffices.
"""

from __future__ import annotations

import csv
import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000)
# A look takes so much more or less than the mean.
SPREAD = 0.2
ENOUGH = 0.95
SECONDS = 20.0
HELD = 16
# Of a board's memory for the system.
SYSTEM_MB = 150.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one board: processor milliseconds of a look or picture, resident megabytes."""

    cores: int
    process_ms: float
    house_ms: float
    worker_ms: float
    broker_ms: float
    process_mb: float
    house_mb: float
    camera_mb: float
    worker_mb: float
    picture_kb: float


# What it is called in benchmarks.csv.
ROWS = {
    "process_ms": "house, processor time of a frame, a process for each",
    "house_ms": "house, processor time of a frame",
    "worker_ms": "workers, processor time of a picture",
    "broker_ms": "workers, broker's processor time of a picture",
    "process_mb": "house, memory of a process of four",
    "house_mb": "house, memory of one camera",
    "camera_mb": "house, memory of a further camera",
    "worker_mb": "workers, memory of a worker",
    "picture_kb": "workers, a picture",
}


def measured(path: Path = ROOT / "benchmarks.csv") -> Measured:
    """Read the figures.

    Raises:
        SystemExit: one of them was not measured.
    """
    with path.open(newline="") as file:
        rows = {row["what"]: row for row in csv.DictReader(file)}
    lacking = [what for what in ROWS.values() if what not in rows]
    if lacking:
        raise SystemExit(
            f"bench-many: expected a row {lacking[0]!r} in {path.name}, found none; "
            "measure it with scripts/bench --houses 3"
        )
    figures = {key: float(rows[what]["value"]) for key, what in ROWS.items()}
    board = rows[ROWS["house_ms"]]["board"]
    cores = int(board.rpartition(",")[2].split()[0])
    return Measured(cores=cores, **figures)


def slowest(cameras: int, rate_hz: float, look_s: float, workers: int = 1) -> float:
    """Looks a second of the camera that gets fewest, of ``workers`` that look for ``look_s``.

    One worker takes the picture of the camera that is furthest behind, several get theirs of a
    broker in turn.
    """
    from edgecam.pipeline.turns import FairShare

    noise = random.Random(cameras)
    shares = [FairShare() for _ in range(workers)]
    waiting: list[dict[int, None]] = [{} for _ in range(workers)]
    is_free, looks = [True] * workers, [0] * cameras
    # When, what, and who: a camera's next picture, or the end of a worker's look.
    events = [(noise.random() / rate_hz, 0, camera) for camera in range(cameras)]
    heapq.heapify(events)
    turn = 0

    def begin(worker: int, now_s: float) -> None:
        camera = shares[worker].next(waiting[worker])
        assert isinstance(camera, int)
        del waiting[worker][camera]
        took_s = look_s * noise.uniform(1.0 - SPREAD, 1.0 + SPREAD)
        shares[worker].used(camera, took_s, 1.0)
        looks[camera] += 1
        is_free[worker] = False
        heapq.heappush(events, (now_s + took_s, 1, worker))

    while events[0][0] < SECONDS:
        now_s, what, who = heapq.heappop(events)
        if what == 0:
            heapq.heappush(events, (now_s + 1.0 / rate_hz, 0, who))
            worker, turn = turn % workers, turn + 1
            if len(waiting[worker]) < HELD or workers == 1 or who in waiting[worker]:
                shares[worker].asks(who)
                waiting[worker][who] = None
        else:
            worker = who
            is_free[worker] = True
        if is_free[worker] and waiting[worker]:
            begin(worker, now_s)
    return min(looks) / SECONDS


def most(holds: Callable[[int], bool], limit: int) -> int:
    """The largest number up to ``limit`` that holds, where all smaller ones do."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def on_a_board(found: Measured, way: str, rate_hz: float, memory_mb: float) -> int:
    """Cameras that a board serves: in a process each ("processes"), or in one ("house")."""
    free_mb = memory_mb - SYSTEM_MB
    if way == "processes":
        room, cost_ms = free_mb / found.process_mb, found.process_ms
    else:
        room = 1.0 + (free_mb - found.house_mb) / found.camera_mb
        cost_ms = found.house_ms
    look_s = cost_ms / found.cores / 1e3
    limit = max(0, min(int(room), math.ceil(2.0 / (rate_hz * look_s))))
    return most(lambda n: slowest(n, rate_hz, look_s) >= ENOUGH * rate_hz, limit)


def workers_for(found: Measured, cameras: int, rate_hz: float) -> int:
    """Workers that the pictures of so many cameras need."""
    look_s = found.worker_ms / found.cores / 1e3
    workers = max(1, math.ceil(cameras * rate_hz * look_s))
    while slowest(cameras, rate_hz, look_s, workers) < ENOUGH * rate_hz:
        workers += max(1, workers // 20)
    return workers


def plan(
    found: Measured, rate_hz: float, memory_mb: float, numbers: Sequence[int] = NUMBERS
) -> list[dict[str, Any]]:
    """For each number of cameras, the boards of each way, and what the broker has to carry."""
    room = {way: on_a_board(found, way, rate_hz, memory_mb) for way in ("processes", "house")}
    rows = []
    for cameras in numbers:
        boards = {way: math.ceil(cameras / each) if each else None for way, each in room.items()}
        pictures_hz = cameras * rate_hz
        row = {
            "cameras": cameras,
            **boards,
            "workers": workers_for(found, cameras, rate_hz),
            "broker_cores": round(pictures_hz * found.broker_ms / 1e3, 2),
            "network_mbit_s": round(pictures_hz * found.picture_kb * 8 * 2 / 1e3, 1),
        }
        rows.append(row)
    return rows


def shown(found: Measured, rate_hz: float, memory_mb: float) -> str:
    """The plan as a table of Markdown, with what it was made of."""
    head = "cameras | a process each | many in one | workers | broker, cores | network, Mbit/s"
    lines = [
        f"{rate_hz:g} looks a second of each camera, boards of {found.cores} cores and "
        f"{memory_mb:g} MB; " + ", ".join(f"{key} {getattr(found, key):g}" for key in ROWS),
        "",
        f"| {head} |",
        "| " + " | ".join("---" for _ in head.split("|")) + " |",
    ]
    for row in plan(found, rate_hz, memory_mb):
        lines.append("| " + " | ".join("-" if v is None else str(v) for v in row.values()) + " |")
    return "\n".join(lines)
