"""The flight recorder on a disk that is full or read-only: edgecam goes on, and says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import wait_until
from daemons import LOOPED, MODEL, Daemon
from programs import edgecam

SETTINGS = """
    name = "front"
    [[zone]]
    name = "picture"
    polygon = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    dwell_s = 0.7
    [recorder]
    enabled = true
    events = ["dwelling"]
    before_s = 0.5
    after_s = 0.2
    directory = "{folder}"
"""


def mounted(folder: Path, options: str) -> list[str]:
    """What runs a command with a small disk of its own at ``folder``; skips where it must not."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare (Debian: util-linux)")
    script = f'mount -t tmpfs -o {options} tmpfs "{folder}" && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, "sh"]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"mounts cannot be changed here: {tried.stderr.strip()}")
    return prefix


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Daemon]]:
    """Starts edgecam with its recordings on a disk of these mount options."""
    made: list[Daemon] = []

    def start(options: str) -> Daemon:
        disk = tmp_path / "disk"
        disk.mkdir()
        config = tmp_path / "settings.toml"
        config.write_text(SETTINGS.format(folder=disk / "kept"))
        arguments = (*MODEL, "--input-size", "257x257", *LOOPED, "--config", config)
        daemon = Daemon(tmp_path, *arguments, prefix=mounted(disk, options))
        made.append(daemon)
        daemon.wait_ready()
        return daemon

    yield start
    for daemon in made:
        daemon.close()


def telemetry(folder: Path) -> dict[str, Any]:
    done = edgecam("status", "front", "--json", XDG_RUNTIME_DIR=str(folder))
    found = json.loads(done.stdout)[0]
    return {"faults": found["faults"], **(found["telemetry"] or {"counters": {}})}


def lost(folder: Path) -> int:
    return int(telemetry(folder)["counters"].get("recordings_lost", 0))


def test_a_full_disk(start: Callable[[str], Daemon], tmp_path: Path) -> None:
    # Room for ten recordings, which have 13 to 35 kB and come every second or two: on 64 kB the
    # third or fourth finds it full again before anyone asks whether all is well.
    daemon = start("size=256k")
    # The daemon's own view of the disk, which no other process has.
    disk = Path(f"/proc/{daemon.process.pid}/root") / str(tmp_path / "disk")[1:]
    filler = disk / "filler"
    filler.write_bytes(bytes(252 * 1024))
    assert wait_until(lambda: lost(tmp_path) >= 2, 40.0), daemon.log
    report = telemetry(tmp_path)
    assert report["recorder"]["state"] == "failing"
    assert "No space left on device" in report["recorder"]["reason"]
    assert any(fault.startswith("recorder failing") for fault in report["faults"])
    assert report["fps"]["published"] > 3.0
    assert daemon.log.count("cannot write recordings") == 1, daemon.log
    assert [path.name for path in disk.rglob("*") if path.is_file()] == ["filler"]
    filler.unlink()
    written = lambda: telemetry(tmp_path)["counters"]["recordings_written"] >= 1  # noqa: E731
    assert wait_until(written, 40.0), daemon.log
    assert wait_until(lambda: telemetry(tmp_path)["faults"] == [], 5.0), telemetry(tmp_path)[
        "faults"
    ]
    assert "takes recordings again" in daemon.log
    kept = sorted((disk / "kept").iterdir())
    assert kept
    copy = tmp_path / kept[-1].name
    copy.write_bytes(kept[-1].read_bytes())
    assert "equal to the recorded ones" in edgecam("replay", copy).stdout
    assert daemon.stop()[0] == 0


def test_a_read_only_disk(start: Callable[[str], Daemon], tmp_path: Path) -> None:
    daemon = start("ro")
    assert "cannot write recordings" in daemon.log
    assert "Read-only file system" in daemon.log
    assert wait_until(lambda: lost(tmp_path) >= 1, 30.0), daemon.log
    report = telemetry(tmp_path)
    assert report["recorder"]["state"] == "failing"
    assert report["fps"]["published"] > 3.0
    assert daemon.process.poll() is None
    assert daemon.stop()[0] == 0


def test_doctor_sees_it_beforehand(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    config = tmp_path / "settings.toml"
    config.write_text(SETTINGS.format(folder=disk / "kept"))
    command = [sys.executable, "-m", "edgecam", "doctor", "--json", "--config", str(config)]
    done = subprocess.run(
        [*mounted(disk, "ro"), *command], capture_output=True, text=True, check=False
    )
    findings = json.loads(done.stdout)["findings"]
    (finding,) = [found for found in findings if "(recorder)" in found["text"]]
    assert (finding["check"], finding["level"]) == ("disk", "fail")
    assert "read-only file system" in finding["text"]
    assert "writable" in finding["remedy"]
