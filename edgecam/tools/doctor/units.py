"""The systemd units of edgecam here: whether systemd accepts them and how much they expose."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from edgecam.core.errors import EdgecamError
from edgecam.settings.schema import Settings
from edgecam.tools.doctor.finding import Finding, fail, ok, warn

DIRECTORIES = tuple(
    map(Path, ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"))
)
# systemd-analyze security: 0 exposes nothing, 10 everything. What is shipped has no more.
EXPOSURE_LIMIT = 2.0
ANSWER_S = 10.0
# What has run for so long after its last start is no loop of starts.
SETTLED_S = 600.0
# systemd.exec(5), Process Exit Codes; 78 is edgecam's own.
STATUS_WORDS = {
    "78": "the configuration is refused",
    "200": "200/CHDIR: its directory cannot be entered",
    "203": "203/EXEC: the program cannot be executed by the service's user",
    "226": "226/NAMESPACE: a path that the unit binds or hides is missing",
    "243": "243/CREDENTIALS: a credential's file cannot be read",
}


def _run(*command: str) -> tuple[int, str]:
    """Exit code, and what it says on both streams.

    Raises:
        EdgecamError: it does not answer, as where systemd itself is stuck.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise EdgecamError(
            f"{command[0]} does not answer within {ANSWER_S:g} s; "
            "look into the system's log: journalctl -b"
        ) from None
    return done.returncode, done.stdout + done.stderr


def exposure(unit: Path) -> float | None:
    """Of ``systemd-analyze security``, drop-ins included; None where it does not say."""
    _, said = _run("systemd-analyze", "--no-pager", "security", "--offline=true", str(unit))
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    return float(found[1]) if found else None


def installed() -> list[Path]:
    """Every unit of edgecam that can be started: instances, and the single one."""
    found: dict[str, Path] = {}
    for directory in DIRECTORIES:
        for unit in sorted(directory.glob("edgecam*.service")):
            if unit.name != "edgecam@.service":
                found.setdefault(unit.name, unit)
    return list(found.values())


def _examine(unit: Path) -> Iterator[Finding]:
    again = "sudo edgecam service uninstall, then install, makes it again"
    if unit.exists() and not unit.stat().st_size:
        # To systemd an empty unit and a link to /dev/null are the same.
        linked = unit.is_symlink()
        text = f"{unit}: masked, this camera does not start"
        yield warn("unit", text, f"sudo systemctl unmask {unit.name}" if linked else again)
        return
    code, said = _run("systemd-analyze", "--no-pager", "verify", "--man=no", str(unit))
    lines = [line for line in said.splitlines() if unit.stem in line]
    if code or lines:
        what = lines[0].strip() if lines else f"refused with code {code}"
        yield fail("unit", f"{unit}: systemd does not accept it: {what}", again)
    score = exposure(unit)
    if score is None:
        text = f"{unit}: its security score is unknown: it needs systemd 250 or later"
        yield warn("unit", text, f"see for yourself what confines it: systemctl cat {unit.name}")
    elif score > EXPOSURE_LIMIT:
        text = f"{unit}: exposes {score} of 10; as edgecam ships it, {EXPOSURE_LIMIT}"
        yield warn("unit", text, f"remove what weakens it: systemctl cat {unit.name}; or {again}")
    else:
        yield ok("unit", f"{unit}: accepted by systemd, exposes {score} of 10")
    yield from _state(unit)
    if _run("systemctl", "is-enabled", unit.name)[1].strip() == "disabled":
        text = f"{unit.name} is installed, but does not start at boot"
        yield warn("unit", text, f"sudo systemctl enable --now {unit.name}")


def _state(unit: Path) -> Iterator[Finding]:
    """How the unit fares: systemd accepts many a unit that it cannot run."""
    names = (
        *("ActiveState", "SubState", "Result", "ExecMainCode", "ExecMainStatus", "NRestarts"),
        "ActiveEnterTimestampMonotonic",
    )
    code, said = _run("systemctl", "show", unit.name, *(f"--property={name}" for name in names))
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    if code or not found:
        return
    result, status = found.get("Result", "success"), found.get("ExecMainStatus", "0")
    again = int(found.get("NRestarts") or 0)
    age_s = time.monotonic() - int(found.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    if found.get("ActiveState") == "failed" or found.get("SubState") == "auto-restart":
        what = STATUS_WORDS.get(status, f"exit status {status}")
        text = f"{unit.name} does not run: {result}, {what}, started again {again} times"
        yield fail("unit", text, f"see why: journalctl -u {unit.name} -n 20")
    elif found.get("ActiveState") == "active" and again and age_s < SETTLED_S:
        text = f"{unit.name} runs for {age_s:.0f} s, after {again} starts that did not last"
        yield warn("unit", text, f"see why: journalctl -u {unit.name} -p warning -n 20")
    elif found.get("ActiveState") == "active":
        yield ok("unit", f"{unit.name} runs")


def units(settings: Settings) -> Iterator[Finding]:
    """Every unit of edgecam, and whether the instance of the settings has one."""
    if shutil.which("systemctl") is None or shutil.which("systemd-analyze") is None:
        yield ok("unit", "no systemd here")
        return
    found = installed()
    for unit in found:
        yield from _examine(unit)
    wanted = f"edgecam@{settings.name}.service"
    by_default = settings.name == Settings().name
    if not (found and by_default) and wanted not in [unit.name for unit in found]:
        text = f"no {wanted}: this camera does not start at boot"
        remedy = f"sudo edgecam service install {settings.name} --model posenet --source 0"
        yield warn("unit", text, remedy)
