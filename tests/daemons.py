"""Runs edgecam as its supervisor does: a notification socket, signals, and an end in time."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from brokers import wait_until
from programs import CLIP, environment

MODEL = ("--model", "posenet", "--threads", "1")
LOOPED = ("--source", CLIP, "--loop", "--realtime")


@dataclass
class Supervisor:
    """A real NOTIFY_SOCKET; collects what comes in."""

    folder: Path
    messages: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while lines := self._socket.recv(4096).decode().splitlines():
            self.messages += [(time.monotonic(), line) for line in lines]

    def of(self, start: str) -> list[float]:
        """When each such message came, monotonic seconds."""
        return [at_s for at_s, line in self.messages.copy() if line.startswith(start)]

    def last_status(self) -> str:
        statuses = [line for _, line in self.messages.copy() if line.startswith("STATUS=")]
        return statuses[-1] if statuses else ""

    def close(self) -> None:
        """An empty message ends the reader."""
        self._socket.sendto(b"", str(self.path))


class Daemon:
    """``edgecam ARGUMENTS`` under a supervisor; standard error goes to a file that is read."""

    def __init__(
        self, folder: Path, *arguments: object, prefix: Sequence[str] = (), **variables: str
    ) -> None:
        self.supervisor = Supervisor(folder)
        self._log = folder / "stderr"
        self._stderr = self._log.open("wb")
        variables = {
            "NOTIFY_SOCKET": str(self.supervisor.path),
            "XDG_RUNTIME_DIR": str(folder),
            "EDGECAM_TELEMETRY_INTERVAL_S": "1",
            **variables,
        }
        self.began_s = time.monotonic()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "edgecam", *map(str, arguments)],
            env=environment(**variables),
            stderr=self._stderr,
            stdin=subprocess.DEVNULL,
        )

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def wait_ready(self, timeout_s: float = 30.0) -> float:
        """Seconds from start to ``READY=1``."""
        assert wait_until(lambda: self.supervisor.of("READY=1"), timeout_s), self.log
        return self.supervisor.of("READY=1")[0] - self.began_s

    def wait_log(self, words: str, timeout_s: float = 15.0) -> None:
        assert wait_until(lambda: words in self.log, timeout_s), self.log

    def send(self, what: signal.Signals) -> None:
        self.process.send_signal(what)

    def stop(self, timeout_s: float = 60.0) -> tuple[int, float]:
        """SIGTERM; returns the exit code and how many seconds it took."""
        began_s = time.monotonic()
        self.process.terminate()
        code = self.process.wait(timeout_s)
        return code, time.monotonic() - began_s

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.supervisor.close()
        self._stderr.close()


def delegate_library(folder: Path) -> Path:
    """The test's own delegate, made by the system's C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: install gcc to test external delegates")
    made = folder / "libnoop.so"
    source = Path(__file__).parent / "native" / "noop_delegate.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source], check=True)
    return made


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
