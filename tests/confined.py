"""Runs a command as a systemd unit would confine it: python confined.py UNIT COMMAND...

Applies the unit's SystemCallFilter= (as a seccomp filter of our own) and, for
MemoryDenyWriteExecute=, PR_SET_MDWE. Exits 77 where this kernel has no PR_SET_MDWE.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

HEADERS = (
    "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "/usr/include/asm-generic/unistd.h",
)
CANNOT = 77
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_MDWE = 38, 22, 65
SECCOMP_MODE_FILTER, MDWE_REFUSE_EXEC_GAIN = 2, 1
# struct sock_filter: load the call's number, compare, return (linux/filter.h, linux/seccomp.h).
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, EPERM = 0x7FFF0000, 0x00050001


def settings(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def calls_of(word: str) -> set[str]:
    """A system call, or all those of a set such as @system-service."""
    if not word.startswith("@"):
        return {word}
    lines = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", word],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[1:]
    words = [line.strip() for line in lines]
    return {call for w in words if w and not w.startswith("#") for call in calls_of(w)}


def allowed(unit: Path) -> set[str]:
    """What the SystemCallFilter= lines let through, as systemd.exec(5) combines them."""
    calls = calls_of("@default")
    for line in settings(unit, "SystemCallFilter"):
        found = {call for word in line.removeprefix("~").split() for call in calls_of(word)}
        calls = calls - found if line.startswith("~") else calls | found
    return calls


def numbers() -> dict[str, int]:
    header = next(path for path in map(Path, HEADERS) if path.exists())
    return {n: int(v) for n, v in re.findall(r"__NR_(\w+)\s+(\d+)", header.read_text())}


def program(unit: Path) -> bytes:
    known = numbers()
    steps = [(LOAD, 0, 0, 0)]
    for call in sorted(allowed(unit) & known.keys()):
        steps += [(IF_EQUAL, 0, 1, known[call]), (RETURN, 0, 0, ALLOW)]
    steps.append((RETURN, 0, 0, EPERM))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def main() -> None:
    unit, command = Path(sys.argv[1]), sys.argv[2:]
    code = program(unit)
    buffer = ctypes.create_string_buffer(code)
    filter_program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if settings(unit, "MemoryDenyWriteExecute") == ["yes"] and libc.prctl(
        PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0
    ):
        sys.exit(CANNOT)
    assert not libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    assert not libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_program, 0, 0)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
