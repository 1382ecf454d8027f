"""``edgecam status`` of instances that are well, degraded, stopped and dead."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from brokers import free_port, wait_until
from daemons import LOOPED, MODEL, Daemon
from programs import edgecam

from edgecam import status


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # As long as a socket's path may not be.
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    return deep


def test_status_and_its_exit_code_say_how_an_instance_is(folder: Path, tmp_path: Path) -> None:
    runtime = {"XDG_RUNTIME_DIR": str(folder)}
    assert edgecam("status", **runtime).returncode == 3
    (tmp_path / "well").mkdir()
    (tmp_path / "ill").mkdir()
    well = Daemon(tmp_path / "well", *MODEL, *LOOPED, "--name", "well", **runtime)
    lost = ("--source", f"http://127.0.0.1:{free_port()}/x", "--wait-for-source")
    ill = Daemon(tmp_path / "ill", *MODEL, *lost, "--name", "ill", **runtime)
    try:
        well.wait_ready()
        ill.wait_ready()
        assert wait_until(lambda: edgecam("status", "well", **runtime).returncode == 0)
        done = edgecam("status", "ill", "--json", **runtime)
        assert done.returncode == 1
        (status,) = json.loads(done.stdout)
        assert status["pid"] == ill.process.pid
        assert "source offline: " in status["faults"][0]
        assert status["telemetry"]["source"]["state"] == "offline"
        done = edgecam("status", **runtime)
        assert done.returncode == 1
        assert [line.split(";")[0] for line in done.stdout.splitlines()][1] == "well: healthy"

        second = edgecam(*MODEL, *LOOPED, "--name", "well", "--max-frames", "1", **runtime)
        assert "another edgecam named 'well' is running" in second.stderr
        assert edgecam("status", "well", **runtime).returncode == 0

        well.send(signal.SIGSTOP)
        done = edgecam("status", "well", **runtime)
        assert (done.returncode, "does not answer" in done.stdout) == (1, True)
        well.send(signal.SIGCONT)
        ill.process.kill()
        ill.process.wait()
        done = edgecam("status", "ill", **runtime)
        assert (done.returncode, done.stderr) == (3, "ill: not running\n")
        assert well.stop()[0] == 0
        assert not list(folder.glob("**/well.status"))
        assert edgecam("status", **runtime).returncode == 3
    finally:
        well.close()
        ill.close()


def test_without_a_runtime_directory_it_is_where_temporary_files_are(tmp_path: Path) -> None:
    own = f"edgecam-{os.getuid()}"
    assert status.directory({"TMPDIR": str(tmp_path)}) == tmp_path / own
    for useless in ("", "relative", str(tmp_path / "gone")):
        assert status.directory({"TMPDIR": useless}) == Path("/tmp") / own
    assert not (tmp_path / "gone").exists()
