"""Runs the checks of a whole machine and prints what became of each."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import board_root
from board_checks import CHECKS, prepare, recover
from board_machine import Machine


def cannot() -> str | None:
    """Why this machine cannot boot another one in itself, None where it can."""
    if os.geteuid():
        return "it needs root"
    for program in ("systemd-nspawn", "mmdebstrap"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None


def run(names: list[str], *, with_libnss: bool) -> tuple[int, int]:
    """Boot the machine, run the checks in their order; how many passed and failed."""
    passed = failed = 0
    base = board_root.base(with_libnss)
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
    parser.add_argument("--nspawn", action="store_true", required=True)
    parser.add_argument("--without-libnss", action="store_true", help="as debootstrap leaves it")
    parser.add_argument("check", nargs="*", choices=[[], *CHECKS])
    asked = parser.parse_args()
    names = asked.check or list(CHECKS)
    reason = cannot()
    if reason is None:
        try:
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
