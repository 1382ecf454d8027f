"""The wall clock jumps, the monotonic one does not: nothing but the time in messages changes."""

from __future__ import annotations

import glob
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber, wait_until
from daemons import MODEL, Daemon

HOUR_S = 3600.0
YEARS_S = 10 * 365.25 * 86400.0
WINDOW_S = 4.0
CAMERA_HZ = 20.0
WATCHDOG_S = 10.0
RESULT, TELEMETRY = "edgecam/camera/result", "edgecam/camera/telemetry"


@pytest.fixture
def faketime() -> str:
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        pytest.skip("libfaketime is not installed (Debian: apt install libfaketime)")
    return found[0]


@pytest.fixture
def camera() -> Iterator[str]:
    """The URL of an MJPEG camera with ``CAMERA_HZ`` pictures a second."""
    server = Path(__file__).parents[1] / "servers" / "mjpeg.py"
    process = subprocess.Popen(
        [sys.executable, str(server)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/stream"
    process.kill()
    process.communicate()


def test_steps_of_an_hour_and_ten_years_change_nothing_but_the_time(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path, faketime: str, camera: str
) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0")
    daemon = Daemon(
        tmp_path,
        *(*MODEL, "--input-size", "129x161", "--source", camera, "--broker", mosquitto.url),
        LD_PRELOAD=faketime,
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        DONT_FAKE_MONOTONIC="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        EDGECAM_TELEMETRY_WINDOW_S=str(WINDOW_S),
        WATCHDOG_USEC=f"{WATCHDOG_S * 1e6:.0f}",
    )
    try:
        daemon.wait_ready(60)
        subscriber.wait_for(RESULT, 40)
        for step_s in (HOUR_S, YEARS_S, 0.0):
            before, results = len(subscriber.of(TELEMETRY)), len(subscriber.of(RESULT))
            heartbeats = len(daemon.supervisor.of("WATCHDOG=1"))
            offset.write_text(f"{step_s:+.0f}")
            # A report comes each second: these go beyond the window in which the step was.
            subscriber.wait_for(TELEMETRY, before + round(WINDOW_S) + 3, 20)
            subscriber.wait_for(RESULT, results + 20, 20)
            assert wait_until(lambda n=heartbeats: len(daemon.supervisor.of("WATCHDOG=1")) > n, 20)
            # Counted by a clock that steps, there would be none or far too many.
            for report in subscriber.of(TELEMETRY)[before + 1 :]:
                assert 0.0 < json.loads(report.payload)["fps"]["published"] < 2.0 * CAMERA_HZ
            newest = json.loads(subscriber.of(RESULT)[-1].payload)
            assert newest["time_unix_s"] - time.time() == pytest.approx(step_s, abs=60.0)
            assert 0.0 <= newest["age_ms"] < 60e3
        reports = [json.loads(m.payload) for m in subscriber.of(TELEMETRY)]
        assert {report["source"]["state"] for report in reports} == {"online"}
        assert {report["reconnects"] for report in reports} == {0}
        assert len({report["boot_id"] for report in reports}) == 1
        assert all("clock_synced" in report for report in reports)
        uptimes = [report["uptime_s"] for report in reports]
        assert uptimes == sorted(uptimes)
        assert uptimes[-1] < HOUR_S
        assert {m.payload for m in subscriber.of("edgecam/camera/availability")} == {b"online"}
        assert daemon.process.poll() is None
    finally:
        daemon.close()
