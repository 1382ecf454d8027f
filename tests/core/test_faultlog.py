import logging

import pytest

import edgecam.core.fault_log
from edgecam.core.fault_log import FaultLog


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [0.0]
    monkeypatch.setattr(edgecam.core.fault_log.time, "monotonic", lambda: now_s[0])
    return now_s


def test_a_flapping_fault_stays_under_60_lines_an_hour(
    caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    caplog.set_level(logging.INFO)
    faults = FaultLog(logging.getLogger("test"))
    for i in range(3600):
        clock[0] = float(i)
        faults.fault("broker", "connection refused")
        faults.recovered("broker", "connected")
    assert 20 <= len(caplog.records) <= 60
    assert "119 more since the last line" in caplog.text


def test_new_words_are_logged_soon_and_recovery_once(
    caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    caplog.set_level(logging.INFO)
    faults = FaultLog(logging.getLogger("test"))
    faults.recovered("broker", "never was lost")
    for now_s, line in ((0.0, "refused"), (6.0, "certificate has expired"), (7.0, "refused")):
        clock[0] = now_s
        faults.fault("broker", line)
    faults.recovered("broker", "connected")
    faults.recovered("broker", "connected")
    assert [r.getMessage() for r in caplog.records] == [
        "refused",
        "certificate has expired",
        "connected",
    ]
