"""Real server processes for the tests, each steered by lines on its standard input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


class Server:
    """A server process on loopback; ``tell`` changes how it behaves from now on."""

    def __init__(
        self, script: str, arguments: Sequence[str] = (), python: str = sys.executable
    ) -> None:
        command = [python, str(HERE / script), *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{script} ended at once")
        self.port = int(line)

    def tell(self, mode: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(mode + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().strip() == mode

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
