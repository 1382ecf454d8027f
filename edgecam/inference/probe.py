"""Tries a model in a child process first: a damaged file may kill the runtime with a signal.

What passed is remembered by content, runtime and delegate, so that the next start skips it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgecam.core.errors import ModelError
from edgecam.core.native_loading import address_space_bytes, too_little
from edgecam.core.places import base_directory
from edgecam.inference.delegates import DelegateReport
from edgecam.inference.digest import sha256
from edgecam.inference.runtime import Runtime

TIMEOUT_S, GRACE_S = 60.0, 5.0
# What the child's report begins with.
REPORT = "edgecam.probe: "


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where verdicts are kept: ``EDGECAM_CACHE_DIR``, systemd's, XDG's, or ``~/.cache``.

    None where there is none of them.
    """
    for variable in ("EDGECAM_CACHE_DIR", "CACHE_DIRECTORY"):
        if environment.get(variable):
            return Path(environment[variable].split(":")[0])
    base = base_directory("XDG_CACHE_HOME", ".cache", environment=environment)
    return None if base is None else base / "edgecam"


def _verdict(data: bytes, runtime: Runtime, arguments: Sequence[str]) -> Path | None:
    directory = cache_directory()
    if directory is None:
        return None
    about = "\0".join((sha256(data), runtime.name, runtime.version, *arguments))
    return directory / "probed" / sha256(about.encode())


def _remember(verdict: Path | None) -> None:
    if verdict is None:
        return
    try:
        verdict.parent.mkdir(parents=True, exist_ok=True)
        verdict.touch()
    except OSError:
        # A read-only or missing home: the probe then runs at every start.
        return


def check(path: Path, data: bytes, runtime: Runtime, arguments: Sequence[str]) -> None:
    """Load and invoke ``path`` once in a child process, unless the same was tried before.

    ``arguments`` as in ``run``.

    Raises:
        ModelError: the child was killed by a signal, hung, or refused the model.
    """
    verdict = _verdict(data, runtime, arguments)
    if verdict is None or not os.path.exists(verdict):
        run(path, runtime, arguments)
        _remember(verdict)


def run(path: Path, runtime: Runtime, arguments: Sequence[str]) -> DelegateReport:
    """Load and invoke ``path`` once in a child process; what ran it there.

    ``arguments`` are those of ``python -m edgecam.inference.probe_child`` after the path. The
    child ends with this process, however that ends.

    Raises:
        ModelError: the child was killed by a signal, hung, or refused the model.
        AddressSpaceError: it was killed under a limit of address space.
    """
    import subprocess

    # Its own limit ends it where this process cannot any more.
    own = (str(os.getpid()), f"{TIMEOUT_S + GRACE_S:g}")
    command = [sys.executable, "-m", "edgecam.inference.probe_child", *own, str(path), *arguments]
    root = str(Path(__file__).parent.parent.parent)
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(
        part for part in (root, environment.get("PYTHONPATH")) if part
    )
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{path}: {runtime.name} {runtime.version} did not finish one invoke in "
            f"{TIMEOUT_S:.0f} s; the file is damaged or too large for this board"
        ) from None
    if done.returncode < 0:
        crash = (
            f"{path}: it crashes {runtime.name} {runtime.version} "
            f"({signal.Signals(-done.returncode).name})"
        )
        if address_space_bytes() is not None:
            raise too_little(crash)
        raise ModelError(f"{crash}; the file is damaged, fetch it again")
    if done.returncode:
        lines = (done.stdout or done.stderr).strip().splitlines()
        raise ModelError(lines[-1] if lines else f"{path}: the probe failed without a word")
    # A delegate may write lines of its own, before and at the end.
    (report,) = (line for line in done.stdout.splitlines() if line.startswith(REPORT))
    return msgspec.json.decode(report.removeprefix(REPORT), type=DelegateReport)
