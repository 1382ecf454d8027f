"""What the live page costs: the rate of results and processor time with and without it, in turns.

On a busy board the camera is faster than the model, so that whatever the page takes is missing
from the rate; but wall clocks lie where other processes run. Beside an idle one processor time is
measured exactly: what it is of all cores is what inference loses at most.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from daemons import Daemon
from pages import LivePage
from programs import CLIP
from viewers import PICTURES_ON, Watcher, handshake

# After the turn changed, before counting begins.
SETTLE_S = 0.5
LOOK_EVERY_S = 0.25
SLOW, STALLED = 200, 50
EVICTED_S = 10.0
CAMERA = Path(__file__).parent / "servers" / "clip_camera.py"


@dataclass(frozen=True)
class Board:
    """What runs beside the page."""

    rate_hz: float
    model: tuple[str, ...]


# So large that it takes every core longer than the camera's interval.
BUSY = Board(60.0, ("--model", "posenet", "--input-size", "705x961"))
IDLE = Board(10.0, ("--model", "posenet", "--threads", "1"))


@dataclass(frozen=True)
class Turn:
    """Results a second, and processor milliseconds of the daemon a second."""

    rate_hz: float
    cpu_ms: float


@dataclass(frozen=True)
class Cost:
    """Medians over all turns; ``ratio`` is of the rates of neighbouring turns.

    ``share`` is what ``more_cpu_ms`` is of all cores' time.
    """

    turns: int
    without_hz: float
    with_hz: float
    ratio: float
    without_cpu_ms: float
    more_cpu_ms: float
    share: float
    pictures_hz: float = 0.0
    grown_mb: float = 0.0
    cut_after_s: float = 0.0


class Camera:
    """The bundled clip as an MJPEG camera, a process of its own; it can be killed and started."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz, self._port = rate_hz, 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        command = [sys.executable, CAMERA, CLIP, str(self._rate_hz), str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def camera(rate_hz: float) -> Iterator[Camera]:
    made = Camera(rate_hz)
    try:
        yield made
    finally:
        made.kill()


class Run:
    """A daemon that watches the camera and counts its results in a file."""

    def __init__(self, folder: Path, url: str, *arguments: object) -> None:
        folder.mkdir()
        self._lines = folder / "lines"
        self.daemon = Daemon(folder, "--source", url, "--jsonl", self._lines, *arguments)

    def results(self) -> int:
        """How many there are by now."""
        return self._lines.read_bytes().count(b"\n")

    def count(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> Turn:
        """From now on; ``meanwhile`` is called now and then."""
        with self._lines.open("rb") as file:
            file.seek(0, os.SEEK_END)
            began_s, before_s = time.monotonic(), self._spent_s()
            while (left_s := began_s + seconds - time.monotonic()) > 0:
                time.sleep(min(left_s, LOOK_EVERY_S))
                meanwhile()
            took_s, spent_s = time.monotonic() - began_s, self._spent_s() - before_s
            return Turn(file.read().count(b"\n") / took_s, spent_s / took_s * 1e3)

    def _spent_s(self) -> float:
        """Processor seconds of all threads."""
        stat = Path(f"/proc/{self.daemon.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def watched(folder: Path, board: Board) -> Iterator[tuple[Run, LivePage]]:
    """A daemon with its page, warm."""
    with camera(board.rate_hz) as made:
        run = Run(folder / "watched", made.url, *board.model, "--web", "127.0.0.1:0")
        try:
            page = LivePage(run.daemon)
            run.daemon.wait_ready()
            time.sleep(2)
            yield run, page
        finally:
            run.daemon.close()


def take_turns(turns: int, without: Callable[[], Turn], with_it: Callable[[], Turn]) -> Cost:
    """Without and with; each goes first every other time."""
    pairs: list[tuple[Turn, Turn]] = []
    for number in range(turns):
        if number % 2 == 0:
            before = without()
            pairs.append((before, with_it()))
        else:
            after = with_it()
            pairs.append((without(), after))
    more_ms = statistics.median(b.cpu_ms - a.cpu_ms for a, b in pairs)
    return Cost(
        turns=turns,
        without_hz=statistics.median(a.rate_hz for a, _ in pairs),
        with_hz=statistics.median(b.rate_hz for _, b in pairs),
        ratio=statistics.median(b.rate_hz / a.rate_hz for a, b in pairs),
        without_cpu_ms=statistics.median(a.cpu_ms for a, _ in pairs),
        more_cpu_ms=more_ms,
        share=more_ms / 1e3 / (os.cpu_count() or 1),
    )


def viewer(run: Run, page: LivePage, turns: int, turn_s: float) -> Cost:
    """One viewer against none."""
    seen: list[float] = []

    def watching() -> Turn:
        with Watcher(page.port) as watcher:
            time.sleep(SETTLE_S)
            before = watcher.pictures
            turn = run.count(turn_s)
            seen.append((watcher.pictures - before) / turn_s)
            return turn

    def alone() -> Turn:
        time.sleep(SETTLE_S)
        return run.count(turn_s)

    cost = take_turns(turns, alone, watching)
    return replace(cost, pictures_hz=statistics.median(seen))


def unwatched(folder: Path, board: Board, turns: int, turn_s: float) -> Cost:
    """A page without a viewer against none; the one that has no turn is stopped."""
    with camera(board.rate_hz) as made:
        bare = Run(folder / "bare", made.url, *board.model)
        page = Run(folder / "page", made.url, *board.model, "--web", "127.0.0.1:0")
        try:
            for run in (bare, page):
                run.daemon.wait_ready()
                time.sleep(1)
                run.daemon.send(signal.SIGSTOP)

            def alone(run: Run) -> Turn:
                run.daemon.send(signal.SIGCONT)
                time.sleep(SETTLE_S)
                turn = run.count(turn_s)
                run.daemon.send(signal.SIGSTOP)
                return turn

            return take_turns(turns, lambda: alone(bare), lambda: alone(page))
        finally:
            bare.daemon.close()
            page.daemon.close()


def is_cut(client: socket.socket) -> bool:
    """Whether the other side has gone; reads nothing that it sent."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def resident_mb(page: LivePage) -> float:
    status = Path(f"/proc/{page.daemon.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000.0


def connect(page: LivePage, number: int, words: bytes) -> list[socket.socket]:
    clients = []
    for _ in range(number):
        client = socket.create_connection(("127.0.0.1", page.port))
        # Those beyond the limit are cut already.
        if not is_cut(client):
            client.send(words)
        clients.append(client)
    return clients


def attack(run: Run, page: LivePage, turns: int, turn_s: float) -> Cost:
    """Slow and stalled clients against none; a turn with them is as long as they may live."""
    grown, cut_after = [0.0], [0.0]
    # What a first viewer makes the process load is no cost of the attack.
    with Watcher(page.port):
        time.sleep(1)

    def attacked() -> Turn:
        before_mb, began_s = resident_mb(page), time.monotonic()
        slow = connect(page, SLOW, b"GET / HTTP/1.1\r\nHost: ")
        stalled = connect(page, STALLED, handshake(page.port) + PICTURES_ON)
        opened_s, cut_s = time.monotonic(), float("inf")

        def look() -> None:
            nonlocal cut_s
            if all(map(is_cut, slow + stalled)):
                cut_s = min(cut_s, time.monotonic() - opened_s)

        turn = run.count(EVICTED_S - (opened_s - began_s), look)
        grown.append(resident_mb(page) - before_mb)
        cut_after.append(cut_s)
        for client in slow + stalled:
            client.close()
        return turn

    cost = take_turns(turns, lambda: run.count(turn_s), attacked)
    return replace(cost, grown_mb=max(grown), cut_after_s=max(cut_after))
