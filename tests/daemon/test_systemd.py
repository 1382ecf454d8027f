"""The units: what they expose, whether systemd accepts them, and whether edgecam can live so."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import confined
import pytest
from confinement import LIMIT_BYTES, memory_cgroups
from programs import CLIP, ROOT, environment

UNITS = ROOT / "systemd"
TEMPLATE, SINGLE = UNITS / "edgecam@.service", UNITS / "edgecam.service"
NETWORK_ONLY = UNITS / "network-camera.conf"


@pytest.fixture(autouse=True)
def _systemd() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian: apt install systemd)")


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def exposure(unit: Path) -> float:
    done = analyze("security", "--offline=true", unit)
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert found, done
    return float(found[1])


@pytest.mark.parametrize("unit", [TEMPLATE, SINGLE], ids=lambda path: path.name)
def test_a_unit_exposes_little_and_is_accepted(unit: Path) -> None:
    assert exposure(unit) <= 2.0
    done = analyze("verify", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", [TEMPLATE, SINGLE], ids=lambda path: path.name)
def test_a_camera_on_the_network_exposes_less(unit: Path, tmp_path: Path) -> None:
    shutil.copy(unit, tmp_path)
    drop_ins = tmp_path / f"{unit.name}.d"
    drop_ins.mkdir()
    shutil.copy(NETWORK_ONLY, drop_ins)
    copy = tmp_path / unit.name
    assert exposure(copy) <= 1.5
    done = analyze("verify", copy)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_both_units_say_the_same_but_for_the_instance() -> None:
    def lines(path: Path) -> list[str]:
        text = path.read_text().partition("[Unit]")[2].replace(", camera %i", "")
        return text.replace("%i", "edgecam").splitlines()

    assert lines(TEMPLATE) == lines(SINGLE)


def test_edgecam_gives_the_same_results_confined(tmp_path: Path) -> None:
    """Under the unit's system-call filter and without memory that is writable and executable."""
    arguments = ["replay", str(CLIP), "--model", "posenet", "--max-frames", "3"]
    command = [sys.executable, "-m", "edgecam", *arguments]
    variables = {"EDGECAM_CACHE_DIR": str(tmp_path)}
    free = subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, check=True
    )
    variables["EDGECAM_CACHE_DIR"] = str(tmp_path / "other")
    bound = subprocess.run(
        [sys.executable, confined.__file__, str(TEMPLATE), *command],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    if bound.returncode == confined.CANNOT:
        pytest.skip("this kernel has no PR_SET_MDWE (6.3 or later has)")
    assert bound.returncode == 0, bound.stderr
    assert len(free.stdout.splitlines()) == 3
    assert bound.stdout == free.stdout


def test_the_flight_recorder_writes_confined(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("[recorder]\nenabled = true\n[decode]\nscore_threshold = 0.3\n")
    arguments = ["--model", "posenet", "--input-size", "257x257", "--source", str(CLIP)]
    command = [sys.executable, "-m", "edgecam", *arguments, "--config", str(config)]
    done = subprocess.run(
        [sys.executable, confined.__file__, str(TEMPLATE), *command, "--max-frames", "20"],
        env=environment(STATE_DIRECTORY=str(tmp_path), EDGECAM_CACHE_DIR=str(tmp_path / "cache")),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == confined.CANNOT:
        pytest.skip("this kernel has no PR_SET_MDWE (6.3 or later has)")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "recordings").glob("*.recording.gz")), done.stderr


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A memory cgroup of our own with 300 MB, of version 1 or 2."""
    parent, limit = memory_cgroups()
    made = parent / f"edgecam-test-{os.getpid()}"
    try:
        made.mkdir()
        (made / limit).write_text(str(LIMIT_BYTES))
    except OSError as error:
        if made.is_dir():
            made.rmdir()
        pytest.skip(f"this machine lets us make no memory cgroup: {error}")
    yield made
    made.rmdir()


def test_edgecam_lives_in_300_mb(small_cgroup: Path) -> None:
    arguments = [sys.executable, "-m", "edgecam", "--model", "posenet", "--source", str(CLIP)]
    arguments += ["--max-frames", "30", "--jsonl", os.devnull]
    enter = f'echo $$ > "{small_cgroup}/cgroup.procs" && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", enter, "sh", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_confinement_of_that_test_is_real(tmp_path: Path) -> None:
    del tmp_path
    code = (
        "import ctypes, errno, json, mmap, os\n"
        "from edgecam.core.board import clock_synced\n"
        "found = {'clock': clock_synced()}\n"
        "try:\n    mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "except OSError as error:\n    found['mmap'] = errno.errorcode[error.errno]\n"
        "try:\n    os.chroot('/')\n"
        "except OSError as error:\n    found['chroot'] = errno.errorcode[error.errno]\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, confined.__file__, str(TEMPLATE), sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == confined.CANNOT:
        pytest.skip("this kernel has no PR_SET_MDWE (6.3 or later has)")
    found = json.loads(done.stdout)
    assert found["mmap"] == "EACCES"
    assert found["chroot"] == "EPERM"
    assert found["clock"] is not None, "the filter must let edgecam ask whether the clock is kept"
