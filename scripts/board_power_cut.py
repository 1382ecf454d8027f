"""A power cut of the emulated machine, looked at from outside: what was promised is on the disk."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

from board_vm import EmulatedMachine

from edgecam.sinks.mqtt.spool_file import SpoolFile
from edgecam.sinks.recorder.file import SUFFIX

PLACE = "/var/lib/board"
PROMISES = 20


def promised(console: Path, kind: str) -> list[str]:
    """What the writer inside has said to be on the disk."""
    text = console.read_text("utf-8", "replace")
    return re.findall(rf"^{kind} (\S+)\s*$", text, re.MULTILINE)


def examine(disk: Path, spooled: list[str], recorded: list[str]) -> None:
    """Repair the file system as a boot does, then compare it with the promises."""
    subprocess.run(["e2fsck", "-p", str(disk)], check=False, capture_output=True)
    again = subprocess.run(["e2fsck", "-fn", str(disk)], check=False, capture_output=True)
    assert again.returncode == 0, f"the file system is damaged: {again.stdout.decode()[-300:]}"
    target = disk.parent / "found"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    dump = ["debugfs", "-R", f"rdump {PLACE} {target}", str(disk)]
    subprocess.run(dump, check=True, capture_output=True)
    folder = target / Path(PLACE).name
    rows = [row for row in SpoolFile(folder / "front.spool").load().values() if row]
    numbers = [json.loads(row.payload)["sequence"] for row in rows]
    assert numbers == list(range(len(numbers))), f"not each once and in order: {numbers[-5:]}"
    assert len(numbers) >= len(spooled), f"{len(spooled)} promised, {len(numbers)} there"
    files = {path.name.partition("-")[2]: path for path in folder.glob(f"recordings/*{SUFFIX}")}
    lost = set(recorded) - files.keys()
    assert not lost, f"recordings that were promised are gone: {lost}"
    for name, path in files.items():
        assert name.startswith(hashlib.sha256(path.read_bytes()).hexdigest()[:16]), f"{path} is cut"


def a_power_cut_damages_nothing(machine: EmulatedMachine) -> None:
    """Cut while events are spooled and a recording is half written; also a copy in mid-write."""
    folder = machine.folder
    console = folder / "console.log"
    machine.run("setsid /opt/edgecam/bin/python /opt/board_writer.py > /dev/null 2>&1 &").ok()
    machine.until(lambda: len(promised(console, "recorded")) >= PROMISES, "the first recordings")
    before = promised(console, "spooled"), promised(console, "recorded")
    torn = machine.flat(folder / "torn.raw")
    said = machine.run("true").code
    assert said == 0
    examine(torn, *before)
    torn.unlink()
    machine.cut()
    # What was said before the cut; a half line at the end is no promise.
    after = promised(console, "spooled")[:-1], promised(console, "recorded")[:-1]
    flat = machine.flat(folder / "cut.raw")
    examine(flat, *after)
    flat.unlink()
    machine.boot(fresh=False)
    state = machine.run("systemctl is-system-running --wait").text.strip()
    assert state in ("running", "degraded"), state
    again = "from board_writer import *; print(len(SpoolFile(PLACE / 'front.spool').load()))"
    rows = machine.run(f'cd /opt && /opt/edgecam/bin/python -c "{again}"').ok()
    assert int(rows) >= len(after[0]), rows
