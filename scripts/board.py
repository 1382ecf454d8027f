"""Runs the checks of a whole machine and prints what became of each."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import board_root
import board_vm_checks
from board_checks import CHECKS, prepare, recover
from board_machine import Machine

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


def run(names: list[str], *, with_libnss: bool) -> tuple[int, int]:
    """Boot the machine, run the checks in their order; how many passed and failed."""
    passed = failed = 0
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
            for name in names:
                began_s = time.monotonic()
                try:
                    CHECKS[name](machine)
                except Exception as error:  # noqa: BLE001 - the next check tells more
                    failed += 1
                    recover(machine)
                    print(f"failed  {name}: {error or type(error).__name__}", flush=True)
                else:
                    passed += 1
                    print(f"passed  {name} ({time.monotonic() - began_s:.0f} s)", flush=True)
        finally:
            machine.close()
    return passed, failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/test-board")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--nspawn", action="store_true", help="the service, in systemd-nspawn")
    kind.add_argument("--vm", action="store_true", help="cameras, in QEMU")
    parser.add_argument("--without-libnss", action="store_true", help="as debootstrap leaves it")
    parser.add_argument("check", nargs="*", choices=[[], *CHECKS, *board_vm_checks.VM_CHECKS])
    asked = parser.parse_args()
    names = asked.check or list(board_vm_checks.VM_CHECKS if asked.vm else CHECKS)
    reason = cannot(VM_PROGRAMS if asked.vm else NSPAWN_PROGRAMS)
    if reason is None:
        try:
            if asked.vm:
                passed, failed = board_vm_checks.run(names)
            else:
                passed, failed = run(names, with_libnss=not asked.without_libnss)
        except board_root.CannotRunError as error:
            reason = str(error)
    if reason is not None:
        print(f"skipped: {reason}\n0 passed, 0 failed, {len(names)} skipped")
        return 0
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
