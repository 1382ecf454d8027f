"""As far as Termux goes without a phone: no systemd, no V4L2, no thermal zones, its own PREFIX."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber, wait_until
from daemons import LOOPED, MODEL, Daemon, delegate_library
from programs import CLIP, ROOT, environment

INSTALL = ROOT / "scripts" / "termux-install"


@pytest.fixture
def phone(tmp_path: Path) -> dict[str, str]:
    """Termux's environment below a folder of ours; its python is the one that runs the tests."""
    prefix = tmp_path / "data/data/com.termux/files/usr"
    home = prefix.parent / "home"
    for folder in (prefix / "bin", prefix / "tmp", home / ".edgecam/bin"):
        folder.mkdir(parents=True)
    (prefix / "bin/sh").symlink_to("/bin/sh")
    program = home / ".edgecam/bin/edgecam"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgecam "$@"\n')
    program.chmod(0o755)
    return {
        "PREFIX": str(prefix),
        "HOME": str(home),
        "TMPDIR": str(prefix / "tmp"),
        "PATH": os.environ["PATH"],
        "LANG": "en_US.UTF-8",
        "PYTHONPATH": environment()["PYTHONPATH"],
        "EDGECAM_TELEMETRY_INTERVAL_S": "1",
        "EDGECAM_INFERENCE_THREADS": "1",
        "EDGECAM_SOURCE_LOOP": "true",
        "EDGECAM_SOURCE_REALTIME": "true",
    }


@pytest.fixture
def bare() -> list[str]:
    """Runs a command where /sys and /run are empty."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a mount namespace of our own needs root and unshare")
    hide = 'mount -t tmpfs none /sys && mount -t tmpfs none /run && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", hide, "sh"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount over /sys")
    return command


def install(phone: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(INSTALL), "--files-only", *arguments],
        env=phone,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_for_termux_and_says_so(phone: dict[str, str]) -> None:
    done = install({**phone, "PREFIX": "/usr"}, "phone", "posenet", "0")
    assert (done.returncode, "run this in Termux" in done.stderr) == (1, True)
    assert install(phone, "Phone!", "posenet", "0").returncode == 2
    assert install(phone).returncode == 2
    assert not (Path(phone["HOME"]) / ".config").exists()


def test_it_installs_what_the_package_needs_and_android_has() -> None:
    """By pip what is pure or compiles there, by pkg what has no wheels for Android."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    needed = {
        requirement.partition(";")[0].split(">")[0].strip()
        for requirement in found
        if "sys_platform != 'android'" not in requirement and "== 'armv7l'" not in requirement
    }
    script = INSTALL.read_text("utf-8")
    by_pip = re.search(r"pip\" install --quiet (?!--)(.*)", script)
    assert by_pip is not None
    packages = {"numpy": "python-numpy", "opencv-python": "opencv-python"}
    assert all(f" {package} " in script for package in packages.values())
    assert set(by_pip[1].split()) == needed - packages.keys()


@pytest.fixture
def runit(phone: dict[str, str], bare: list[str]) -> Iterator[list[str]]:
    if shutil.which("runsv") is None:
        pytest.skip("runit is not installed (Debian: apt install runit)")
    yield [*bare, "runsv"]
    subprocess.run(
        ["sv", "force-shutdown", f"{phone['PREFIX']}/var/service/edgecam-phone"],
        capture_output=True,
        check=False,
    )


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def test_the_runit_service_runs_reloads_and_stops_with_nothing_of_systemd(
    phone: dict[str, str], runit: list[str], mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    done = install(phone, "phone", "posenet", str(CLIP), mosquitto.url)
    assert done.returncode == 0, done.stderr
    service = f"{phone['PREFIX']}/var/service/edgecam-phone"
    supervisor = subprocess.Popen([*runit, service], env=phone, stdout=subprocess.DEVNULL)
    try:
        results = "edgecam/phone/result"
        subscriber.wait_for(results, 5, timeout_s=30)
        report = json.loads(subscriber.wait_for("edgecam/phone/telemetry", 2)[-1].payload)
        assert report["temperature_c"] is None
        assert report["throttled"] is None
        (pid,) = children(supervisor.pid)
        assert children(pid) == []
        status = [sys.executable, "-m", "edgecam", "status", "phone"]
        assert subprocess.run(status, env=phone, check=False).returncode == 0
        boot_id = json.loads(subscriber.of(results)[-1].payload)["boot_id"]
        subprocess.run(["sv", "hup", service], check=True, capture_output=True)
        assert wait_until(
            lambda: json.loads(subscriber.of(results)[-1].payload)["boot_id"] != boot_id, 20
        )
        began_s = time.monotonic()
        subprocess.run(["sv", "down", service], check=True, capture_output=True)
        assert wait_until(lambda: subscriber.last("edgecam/phone/availability") == b"offline", 5)
        print(f"\nstopped in {time.monotonic() - began_s:.1f} s")
    finally:
        subprocess.run(["sv", "force-shutdown", service], capture_output=True, check=False)
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(120)


def test_doctor_reports_what_is_missing_there(phone: dict[str, str], bare: list[str]) -> None:
    done = subprocess.run(
        [*bare, sys.executable, "-m", "edgecam", "doctor", "--json"],
        env=phone,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    power = [f["text"] for f in json.loads(done.stdout)["findings"] if f["check"] == "power"]
    assert power[0] == "temperature no sensor"
    assert "does not tell" in power[1]


def test_without_systemd_a_stuck_stage_ends_the_process(tmp_path: Path) -> None:
    library = delegate_library(tmp_path)
    delegate = f"{library}:take=all,hang_after=30"
    daemon = Daemon(tmp_path, *MODEL, *LOOPED, "--delegate", delegate, EDGECAM_WATCHDOG_S="4")
    try:
        daemon.wait_ready()
        assert daemon.process.wait(120) == 1
        assert "infer: no progress for 2 s" in daemon.log
        assert "giving up" in daemon.log
    finally:
        daemon.close()
