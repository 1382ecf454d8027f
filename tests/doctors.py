"""Runs ``edgecam doctor`` as a person does, beside planted faults, and reads its report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import ROOT

DOCTOR = [sys.executable, "-m", "edgecam", "doctor"]


class Report:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert "Traceback" not in done.stderr, done.stderr
        self.code = done.returncode
        self.findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]

    def of(self, check: str, level: str | None = None) -> list[dict[str, Any]]:
        return [f for f in self.findings if f["check"] == check and level in (None, f["level"])]

    def only(self, check: str, level: str) -> tuple[str, str]:
        """Text and remedy of the one finding of that check and level."""
        (finding,) = self.of(check, level) or self.of(check)
        assert finding["level"] == level, finding
        return finding["text"], finding["remedy"] or ""


def examine(
    *checks: str,
    config: Path | None = None,
    prefix: tuple[str, ...] = (),
    cwd: Path = ROOT,
    options: tuple[str, ...] = (),
    **variables: str,
) -> Report:
    """Every check, or those named."""
    arguments = [*checks, *options, *(["--config", str(config)] if config else [])]
    done = subprocess.run(
        [*prefix, *DOCTOR, "--json", *arguments],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Report(done)


def toml(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def compiled(folder: Path, name: str, text: str) -> Path:
    """A library of C source, for LD_PRELOAD."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (Debian: apt install gcc)")
    source, made = folder / f"{name}.c", folder / f"{name}.so"
    source.write_text(text)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source], check=True)
    return made


def in_own_mounts(script: str) -> tuple[str, ...]:
    """A prefix that runs a command after ``script`` changed mounts that only it sees."""
    prefix = ("unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh")
    try:
        tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare (Debian: apt install util-linux)")
    if tried.returncode:
        pytest.skip(f"mounts cannot be changed here: {tried.stderr.strip()}")
    return prefix


def in_own_devices(folder: Path, script: str) -> tuple[str, ...]:
    """A prefix that runs a command with a /dev of its own, in which ``script`` made more.

    Root is held to the files' modes there, as everybody else is.
    """
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv (Debian: apt install util-linux)")
    devices = folder / "dev"
    devices.mkdir()
    shared = "null zero full random urandom tty"
    made = (
        f"mount -t tmpfs tmpfs {devices} && cd {devices} && for name in {shared};"
        " do touch $name && mount --bind /dev/$name $name; done && mkdir shm"
        f" && ln -s /proc/self/fd fd && {script} && cd {ROOT} && mount --rbind {devices} /dev"
    )
    bound = "--bounding-set=-dac_override,-dac_read_search"
    return (*in_own_mounts(made), "setpriv", bound)
