"""The cameras of one process that share a model, beside one camera and a process for each.

Run by scripts/bench-many house; scripts/bench takes its rows from here too.

The three are measured in turns, the ratios are medians of the rounds. Memory is that of live
cameras, the most that was seen while they ran; ``pss`` counts what processes share once. Rates are
those of recordings, which come as fast as they are looked at, so that the models never wait for a
camera; beside them stands the processor time of a frame, which other programs disturb less.
"""

from __future__ import annotations

import json
import os
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "models" / "clips" / "people-walking.mp4"
WARM_FRAMES = 5
WARM_LIMIT_S = 120.0
SAMPLE_S = 0.5
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor seconds of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def memory_mb(pid: int, kind: str = "Rss") -> float:
    """Resident memory of a process; of ``kind`` Pss, what is shared counts by parts."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kb = next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))
    return kb * 1024 / 1e6


@dataclass(frozen=True)
class Housed:
    """Frames a second of each camera, processor time of a frame, memory of all processes."""

    fps: list[float]
    cpu_ms: float
    rss_mb: float
    pss_mb: float


def run_house(sizes: Sequence[int], model: str, seconds: float, source: str, live: bool) -> Housed:
    """A process for each of ``sizes``, with so many cameras, from when all are warm."""
    kind = f'{{url = "{source}"' + (", realtime = true" if live else "") + ", loop = true}"
    with tempfile.TemporaryDirectory() as folder:
        processes: list[subprocess.Popen[bytes]] = []
        counts: dict[str, int] = {}
        for number, size in enumerate(sizes):
            names = [f"camera{number}-{each}" for each in range(size)]
            counts.update(dict.fromkeys(names, 0))
            tables = (f'[[camera]]\nname = "{name}"\nsource = {kind}\n' for name in names)
            path = Path(folder, f"house{number}.toml")
            head = f'[[model]]\npath = "{model}"\n[output]\njsonl = "-"\n'
            path.write_text(head + "".join(tables))
            command = [sys.executable, "-m", "edgecam", "--config", str(path)]
            processes.append(
                subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
                )
            )
        try:
            return _Watched(processes, counts).measure(seconds)
        finally:
            for process in processes:
                process.kill()
                process.communicate()


class _Watched:
    """Processes that write lines, each with the name of its camera."""

    def __init__(
        self, processes: Sequence[subprocess.Popen[bytes]], counts: dict[str, int]
    ) -> None:
        self._processes, self._counts = processes, counts
        self._rests = {process.pid: b"" for process in processes}
        self._most = {"Rss": 0.0, "Pss": 0.0}

    def measure(self, seconds: float) -> Housed:
        with selectors.DefaultSelector() as selector:
            for process in self._processes:
                assert process.stdout is not None
                selector.register(process.stdout.fileno(), selectors.EVENT_READ, process.pid)
            self._drain(selector, WARM_LIMIT_S, enough=True)
            before, began_s, cpu_before_s = dict(self._counts), time.monotonic(), self._cpu_s()
            self._drain(selector, seconds, enough=False)
            took_s, used_s = time.monotonic() - began_s, self._cpu_s() - cpu_before_s
        frames = {name: self._counts[name] - count for name, count in before.items()}
        if not all(frames.values()):
            raise SystemExit(
                f"bench-many: expected frames of every camera within {took_s:.0f} s, found none "
                "of one; leave the machine alone, or measure for longer (--seconds)"
            )
        return Housed(
            [count / took_s for count in frames.values()],
            used_s / sum(frames.values()) * 1e3,
            self._most["Rss"],
            self._most["Pss"],
        )

    def _cpu_s(self) -> float:
        return sum(cpu_s(process.pid) for process in self._processes)

    def _drain(self, selector: selectors.DefaultSelector, seconds: float, enough: bool) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            sample_s = time.monotonic() + SAMPLE_S
            while (wait_s := min(left_s, sample_s - time.monotonic())) > 0:
                for key, _ in selector.select(wait_s):
                    self._read(key.fd, key.data)
            for kind, most in self._most.items():
                now_mb = sum(memory_mb(process.pid, kind) for process in self._processes)
                self._most[kind] = max(most, now_mb)
            if enough and all(count >= WARM_FRAMES for count in self._counts.values()):
                return

    def _read(self, descriptor: int, pid: int) -> None:
        data = os.read(descriptor, 1 << 20)
        if not data:
            raise SystemExit("bench-many: a process has ended")
        *lines, self._rests[pid] = (self._rests[pid] + data).split(b"\n")
        for line in lines:
            self._counts[json.loads(line)["name"]] += 1


def house(
    number: int, seconds: float, rounds: int, model: str, source: str = str(CLIP)
) -> dict[str, Any]:
    """One process with many cameras, one with one, and a process for each, in turns."""
    kinds: Mapping[str, Sequence[int]] = {
        "one": [1],
        "house": [number],
        "processes": [1] * number,
    }
    live: dict[str, list[Housed]] = {kind: [] for kind in kinds}
    recorded: dict[str, list[Housed]] = {kind: [] for kind in kinds}
    for turn in range(rounds):
        for kind in kinds if turn % 2 == 0 else reversed(kinds):
            live[kind].append(run_house(kinds[kind], model, seconds, source, live=True))
            recorded[kind].append(run_house(kinds[kind], model, seconds, source, live=False))

    def median(runs: Mapping[str, list[Housed]], what: str) -> dict[str, float]:
        return {
            kind: round(statistics.median(float(getattr(each, what)) for each in found), 1)
            for kind, found in runs.items()
        }

    def ratio(runs: Mapping[str, list[Housed]], what: str) -> float:
        pairs = zip(runs["one"], runs["house"], strict=True)
        return round(
            statistics.median(getattr(many, what) / getattr(one, what) for one, many in pairs), 3
        )

    rates = {kind: [sum(each.fps) for each in found] for kind, found in recorded.items()}
    return {
        "number": number,
        "model": model,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "rss_mb": median(live, "rss_mb"),
        "pss_mb": median(live, "pss_mb"),
        "rss_ratio": ratio(live, "rss_mb"),
        "fps": {kind: round(statistics.median(found), 2) for kind, found in rates.items()},
        "fps_ratio": round(
            statistics.median(
                many / one for one, many in zip(rates["one"], rates["house"], strict=True)
            ),
            3,
        ),
        "cpu_ms": median(recorded, "cpu_ms"),
        "cpu_ratio": round(1.0 / ratio(recorded, "cpu_ms"), 3),
        "slowest_of_fastest": round(
            statistics.median(min(each.fps) / max(each.fps) for each in recorded["house"]), 3
        ),
    }
