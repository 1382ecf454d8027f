"""Runs edgecam many times as fast as it can be: imported once, a fork for each command line.

python forked.py < JSON list of argument lists > JSON list of [exit code, stdout, stderr]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from programs import environment

Done = tuple[int, str, str]


def edgecams(commands: Iterable[Iterable[object]]) -> list[Done]:
    """Exit code, standard output and standard error of every command line."""
    lines = [[str(word) for word in command] for command in commands]
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    return [(code, out, err) for code, out, err in json.loads(done.stdout)]


def _run(arguments: list[str]) -> Done:
    from edgecam.cli.main import main

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = ["edgecam", *arguments]
            code = 70
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException as error:  # noqa: BLE001 - as the interpreter would do
                sys.excepthook(type(error), error, error.__traceback__)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
        return code, texts[0], texts[1]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import edgecam.cli.commands.doctor
    import edgecam.cli.commands.models
    import edgecam.cli.commands.service
    import edgecam.core.opencv
    import edgecam.daemon.run
    import edgecam.daemon.systemd_install
    import edgecam.sources.live  # noqa: F401 - loaded once for all

    json.dump([_run(arguments) for arguments in json.load(sys.stdin)], sys.stdout)
