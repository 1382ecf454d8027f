"""Runs the checks of a whole machine and prints what became of each."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import board_root
import board_vm_checks
from board_checks import CHECKS
from board_machine import Machine
from board_runner import Tally, run_checks
from board_service import prepare, recover

NSPAWN_PROGRAMS = ("systemd-nspawn", "mmdebstrap")
VM_PROGRAMS = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mke2fs", "busybox", "cpio")


def cannot(programs: Sequence[str]) -> str | None:
    """Why this machine cannot boot another one in itself, None where it can."""
    if os.geteuid():
        return "it needs root"
    for program in programs:
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None


def run(names: list[str], *, with_libnss: bool) -> Tally:
    """Boot the machine in systemd-nspawn and run the checks in their order."""
    base = board_root.base(*(("libnss-systemd",) if with_libnss else ()))
    with tempfile.TemporaryDirectory(prefix="board", dir=board_root.cache()) as folder:
        root = Path(folder) / "root"
        # Device nodes too, which a copy by reading would read without end.
        subprocess.run(["cp", "--archive", "--reflink=auto", base, root], check=True)
        board_root.install(root, board_root.wheel(Path(folder)))
        machine = Machine(root, Path(folder) / "boot.log")
        try:
            machine.boot()
            prepare(machine)
            return run_checks(machine, CHECKS, names, after_failure=lambda: recover(machine))
        finally:
            machine.close()


def _end(*_: object) -> None:
    """Leave by way of every ``finally``, so that no machine stays running."""
    sys.exit(128 + signal.SIGTERM)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/test-board")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--nspawn", action="store_true", help="the service, in systemd-nspawn")
    kind.add_argument("--vm", action="store_true", help="cameras, in QEMU")
    parser.add_argument("--without-libnss", action="store_true", help="as debootstrap leaves it")
    parser.add_argument("check", nargs="*", choices=[[], *CHECKS, *board_vm_checks.VM_CHECKS])
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    names = asked.check or list(board_vm_checks.VM_CHECKS if asked.vm else CHECKS)
    reason = cannot(VM_PROGRAMS if asked.vm else NSPAWN_PROGRAMS)
    if reason is None:
        try:
            if asked.vm:
                tally = board_vm_checks.run(names)
            else:
                tally = run(names, with_libnss=not asked.without_libnss)
        except board_root.CannotRunError as error:
            reason = str(error)
    if reason is not None:
        print(f"skipped: {reason}\n0 passed, 0 failed, {len(names)} skipped")
        return 0
    print(f"{tally.passed} passed, {tally.failed} failed, 0 skipped")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
