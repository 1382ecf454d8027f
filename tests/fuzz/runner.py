"""Runs targets for a while, keeps what reaches new lines, and says what broke or took too much."""

from __future__ import annotations

import random
import re
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, BinaryIO

from fuzz.mutation import mutated
from fuzz.targets import Target

MAX_S = 2.0
MAX_MB = 200.0
MAX_SEEDS = 500
_PACKAGE = str(Path(__file__).parents[2] / "edgecam")


@dataclass
class Report:
    """``findings``: the bytes of each kind of failure."""

    runs: int = 0
    slowest_s: float = 0.0
    most_mb: float = 0.0
    lines: int = 0
    findings: dict[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.runs} runs, slowest {self.slowest_s:.2f} s, most {self.most_mb:.0f} MB, "
            f"{self.lines} lines reached, {len(self.findings)} findings"
        )


class Lines:
    """Which lines of edgecam ran; looking makes a run some times slower."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int]] = set()
        self.is_new = False

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            return self._trace if frame.f_code.co_filename.startswith(_PACKAGE) else None
        if event == "line":
            key = (frame.f_code, frame.f_lineno)
            if key not in self.seen:
                self.seen.add(key)
                self.is_new = True
        return self._trace

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.is_new = False
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(None)


def peak_mb(*, begin: bool = False) -> float:
    """Return the most memory that this process had since it was asked with ``begin``."""
    if begin:
        # The mark of the highest is set back to what is used now.
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def clock_s() -> float:
    """Return a time that stands still while this thread waits for a core: others may take both."""
    # Linux, in nanoseconds: on a core, waiting for one; and how many times on one.
    _, waited_ns, _ = Path("/proc/thread-self/schedstat").read_text().split()
    return time.monotonic() - int(waited_ns) / 1e9


def fuzz(target: Target, seconds: float, seed: int, scratch: Path) -> Report:
    """Run it on damaged seeds for so long; the bytes of each run are in ``scratch`` before it."""
    noise, lines, report = random.Random(seed), Lines(), Report()
    seeds = list(target.seeds())
    waiting = list(seeds)
    ends_s = time.monotonic() + seconds
    with scratch.open("wb", buffering=0) as kept:
        while time.monotonic() < ends_s:
            data = waiting.pop() if waiting else _next(noise, target, seeds)
            _keep(kept, data)
            # One in so many: the others run as fast as they do in edgecam.
            is_watched = report.runs % 4 == 0 or report.runs < len(seeds)
            _run(target, data, report, lines if is_watched else None)
            if is_watched and lines.is_new and len(seeds) < MAX_SEEDS:
                seeds.append(data)
    report.lines = len(lines.seen)
    return report


def _keep(file: BinaryIO, data: bytes) -> None:
    """Write over what the file holds: to empty it first takes milliseconds where it is large."""
    file.seek(0)
    file.write(data)
    file.truncate()


def _next(noise: random.Random, target: Target, seeds: list[bytes]) -> bytes:
    return mutated(noise, seeds, target.tokens, target.ends_bytes)[: target.max_bytes]


def _run(target: Target, data: bytes, report: Report, lines: Lines | None) -> None:
    report.runs += 1
    before = peak_mb(begin=True)
    began_s = clock_s()
    finding = None
    try:
        if lines is None:
            target.run(data)
        else:
            with lines.watched():
                target.run(data)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        finding = f"{type(error).__name__} {Path(where.filename).name}:{where.lineno}"
    took_s, used_mb = clock_s() - began_s, peak_mb() - before
    if finding is None and took_s > MAX_S and lines is None:
        finding = f"over {MAX_S} s"
    if finding is None and used_mb > MAX_MB:
        finding = f"over {MAX_MB} MB"
    if finding is not None:
        report.findings.setdefault(finding, data)
    if lines is None:
        report.slowest_s = max(report.slowest_s, took_s)
    report.most_mb = max(report.most_mb, used_mb)
