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
from brokers import Mosquitto, Subscriber
from daemons import MODEL, Daemon

HOUR_S = 3600.0
YEARS_S = 10 * 365.25 * 86400.0
# 160 results: one more or less at each edge of the window is below what is allowed.
WINDOW_S = 8.0
RESULT, TELEMETRY = "edgecam/camera/result", "edgecam/camera/telemetry"


@pytest.fixture
def faketime() -> str:
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        pytest.skip("libfaketime is not installed (Debian: apt install libfaketime)")
    return found[0]


@pytest.fixture
def camera() -> Iterator[str]:
    """The URL of an MJPEG camera with 20 pictures a second."""
    server = Path(__file__).parents[1] / "servers" / "mjpeg.py"
    process = subprocess.Popen(
        [sys.executable, str(server)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/stream"
    process.kill()
    process.communicate()


def rates(subscriber: Subscriber) -> tuple[float, float]:
    """Results a second over the last report's window: by our clock, and as it says."""
    report = subscriber.of(TELEMETRY)[-1]
    ages_s = [report.received_s - m.received_s for m in subscriber.of(RESULT)]
    counted = sum(0 <= age_s < WINDOW_S for age_s in ages_s)
    return counted / WINDOW_S, json.loads(report.payload)["fps"]["published"]


def test_steps_of_an_hour_and_ten_years_change_nothing_but_the_time(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path, faketime: str, camera: str
) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0")
    daemon = Daemon(
        tmp_path,
        *(*MODEL, "--source", camera, "--broker", mosquitto.url),
        LD_PRELOAD=faketime,
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        DONT_FAKE_MONOTONIC="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        EDGECAM_TELEMETRY_WINDOW_S=str(WINDOW_S),
        WATCHDOG_USEC="2000000",
    )
    try:
        daemon.wait_ready(60)
        subscriber.wait_for(RESULT, 40)
        for step_s in (HOUR_S, YEARS_S, 0.0):
            offset.write_text(f"{step_s:+.0f}")
            time.sleep(WINDOW_S + 1.0)
            counted_hz, reported_hz = rates(subscriber)
            newest = json.loads(subscriber.of(RESULT)[-1].payload)
            error = abs(reported_hz - counted_hz) / counted_hz
            print(f"\n{step_s:+.0f} s: {counted_hz:.2f} Hz, reported {reported_hz:.2f} Hz")
            assert error < 0.02
            assert newest["time_unix_s"] - time.time() == pytest.approx(step_s, abs=5.0)
            assert newest["age_ms"] < 2000
        reports = [json.loads(m.payload) for m in subscriber.of(TELEMETRY)]
        assert {report["source"]["state"] for report in reports} == {"online"}
        assert {report["reconnects"] for report in reports} == {0}
        assert len({report["boot_id"] for report in reports}) == 1
        assert all("clock_synced" in report for report in reports)
        uptimes = [report["uptime_s"] for report in reports]
        assert uptimes == sorted(uptimes)
        assert uptimes[-1] < 120
        assert {m.payload for m in subscriber.of("edgecam/camera/availability")} == {b"online"}
        assert daemon.supervisor.longest_gap_s("WATCHDOG=1") < 1.5
        assert daemon.process.poll() is None
    finally:
        daemon.close()
