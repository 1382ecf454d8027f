"""A real terminal: a program inside tmux, its screen, and every byte that it wrote."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from brokers import wait_until
from programs import environment

_numbers = itertools.count()


class Terminal:
    """Runs ``command`` in a window of ``width`` x ``height``; ``raw`` is what it has written."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[object],
        width: int = 100,
        height: int = 24,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        if shutil.which("tmux") is None:
            pytest.skip("tmux is not installed (Debian: apt install tmux)")
        self._environment = {**(variables or environment()), "TERM": "xterm-256color"}
        # Of the terminal that the tests run in, if at all: they outdo the window's own size.
        for size in ("COLUMNS", "LINES"):
            self._environment.pop(size, None)
        self._socket = folder / f"tmux-{next(_numbers)}"
        self._raw, self._code = folder / "raw", folder / "code"
        self._raw.touch()
        words = shlex.join(map(str, command))
        # The program waits until everything it writes is kept.
        wait = f"while [ ! -e {self._socket}.go ]; do sleep 0.05; done"
        script = f"trap : INT; {wait}; {words}; echo $? > {shlex.quote(str(self._code))}; sleep 600"
        self._tmux(
            "new-session", "-d", "-x", width, "-y", height, f"exec sh -c {shlex.quote(script)}"
        )
        self._tmux("pipe-pane", "-o", f"cat >> {shlex.quote(str(self._raw))}")
        Path(f"{self._socket}.go").touch()

    def _tmux(self, *arguments: object) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", os.devnull, *map(str, arguments)],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def lines(self) -> list[str]:
        """The screen as a person sees it."""
        return self._tmux("capture-pane", "-p").splitlines()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def raw(self) -> bytes:
        return self._raw.read_bytes()

    @property
    def title(self) -> str:
        return self._tmux("display-message", "-p", "#{pane_title}").strip()

    def shows(self, words: str, timeout_s: float = 15.0) -> bool:
        return wait_until(lambda: words in self.text, timeout_s)

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", width, "-y", height)

    def exit_code(self, timeout_s: float = 10.0) -> int:
        """Of the program, once it has ended."""
        ended = wait_until(
            lambda: self._code.exists() and self._code.read_text().strip(), timeout_s
        )
        assert ended, self.text
        return int(self._code.read_text())

    def close(self) -> None:
        subprocess.run(
            ["tmux", "-S", str(self._socket), "kill-server"], capture_output=True, check=False
        )
