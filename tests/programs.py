"""Runs edgecam as a person does: a process of its own, its exit code and what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked import FORKS

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
CLIP = ROOT / "models" / "clips" / "people-walking.mp4"


def environment(**variables: str) -> dict[str, str]:
    """This environment with this checkout's package first and no setting of the caller's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EDGECAM_")}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, **variables}


def edgecam(
    *arguments: object, timeout_s: float = 600.0, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    It is forked from a process that has imported edgecam; a whole new one where it gets variables
    of its own, which may be read while it is imported.
    """
    words = list(map(str, arguments))
    if not variables and FORKS.lock.acquire(blocking=False):
        try:
            done = FORKS.run(words, str(cwd or Path.cwd()), environment(), timeout_s)
        finally:
            FORKS.lock.release()
        return subprocess.CompletedProcess(["edgecam", *words], *done)
    return subprocess.run(
        [sys.executable, "-m", "edgecam", *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=cwd,
        env=environment(**variables),
        check=False,
    )


def start(*arguments: object, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgecam", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )


def shared(*parts: str) -> Path:
    """A file of the shared test data; the test skips where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs the shared test data {'/'.join(parts)}")
    return path


def error_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a fault prints, checked to be the only word on it."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (1, 2), (done.returncode, done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.startswith("edgecam: error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]
