"""The checks in QEMU: cameras from one kept state, then a power cut with the disk looked at."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import board_root
import board_vm_root
from board_camera_checks import CAMERA_CHECKS
from board_power_cut import a_power_cut_damages_nothing
from board_runner import Tally, run_checks
from board_vm import EmulatedMachine

# A cut ends what was kept: it comes last.
VM_CHECKS = {**CAMERA_CHECKS, "a-power-cut-damages-nothing": a_power_cut_damages_nothing}


def run(names: list[str]) -> Tally:
    """Boot once, keep that state, and begin each check from it."""
    board_root.cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vm", dir=board_root.cache()) as folder:
        machine = EmulatedMachine(Path(folder), board_vm_root.disk(Path(folder)))
        began_s = time.monotonic()
        try:
            machine.boot()
            print(f"booted in {time.monotonic() - began_s:.0f} s", flush=True)
            # Compiled and read once, not in each check.
            machine.run("/opt/edgecam/bin/python /opt/board_camera.py none --seconds 1")
            machine.run("systemctl stop mosquitto")
            machine.keep()
            return run_checks(machine, VM_CHECKS, names, before=machine.restore)
        finally:
            machine.cut()
