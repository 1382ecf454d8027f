"""Runs edgecam many times as fast as it can be: imported once, a fork for each command line.

python forked.py answers each line of JSON on its standard input, [arguments, folder, environment,
file for the output, file for the errors], with a line of the child's number and, when it has
ended, a line of its exit code.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from typing import IO, Any

Done = tuple[int, str, str]


class Forks:
    """A process that has imported edgecam and forks for each command; started by the first one."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        # One command at a time.
        self.lock = threading.Lock()

    def run(
        self, arguments: list[str], folder: str, environment: Mapping[str, str], timeout_s: float
    ) -> Done:
        """Exit code, standard output and standard error of a command; ``lock`` is held."""
        server = self._started(environment)
        assert server.stdin is not None
        assert server.stdout is not None
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            ordered = [arguments, folder, dict(environment), out.name, err.name]
            server.stdin.write(json.dumps(ordered) + "\n")
            server.stdin.flush()
            late = threading.Event()
            child = int(server.stdout.readline())
            timer = threading.Timer(timeout_s, lambda: (late.set(), os.kill(child, signal.SIGKILL)))
            timer.start()
            code = int(server.stdout.readline())
            timer.cancel()
            texts = [file.read().decode() for file in (out, err)]
        if late.is_set():
            raise subprocess.TimeoutExpired(["edgecam", *arguments], timeout_s, *texts)
        return code, texts[0], texts[1]

    def _started(self, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        if self._server is None or self._server.poll() is not None:
            self._server = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            atexit.register(self._server.communicate)
        return self._server


FORKS = Forks()


def edgecams(commands: Iterable[Iterable[object]], environment: Mapping[str, str]) -> list[Done]:
    """Exit code, standard output and standard error of every command line."""
    with FORKS.lock:
        lines = [[str(word) for word in command] for command in commands]
        return [FORKS.run(line, os.getcwd(), environment, 600.0) for line in lines]


def _child(arguments: list[str], folder: str, environment: dict[str, str], *files: str) -> int:
    """Be ``python -m edgecam``; the exit code."""
    from edgecam.__main__ import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY), number)
    sys.argv = ["edgecam", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # noqa: BLE001 - as the interpreter would do
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _serve(orders: IO[str], answers: IO[str]) -> None:
    for line in orders:
        ordered: list[Any] = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_child(*ordered))
        answers.write(f"{child}\n")
        answers.flush()
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        answers.flush()


if __name__ == "__main__":
    # Loaded once for all.
    import edgecam.cli.commands.doctor
    import edgecam.cli.commands.models
    import edgecam.cli.commands.service
    import edgecam.core.opencv
    import edgecam.daemon.run
    import edgecam.daemon.systemd_install
    import edgecam.inference.runtime
    import edgecam.sources.live  # noqa: F401

    _serve(sys.stdin, sys.stdout)
