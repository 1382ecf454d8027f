from pathlib import Path

import numpy as np
import pytest

from edgecam.core import board
from edgecam.core.frame import Frame
from edgecam.core.result import Decoded, Result, StageTimes
from edgecam.pipeline.meter import Meter


def result(captured_s: float, times: dict[str, StageTimes]) -> Result:
    frame = Frame(np.zeros((2, 2, 3), np.uint8), 0, captured_s, 0.0)
    return Result(frame, {name: Decoded() for name in times}, times)


def test_rates_count_the_last_window_only() -> None:
    meter = Meter(10.0, started_s=0.0)
    for tick in range(200):
        meter.captured(tick * 0.1)
    for tick in range(0, 200, 2):
        meter.inferred(tick * 0.1)
    rates = meter.rates(20.0)
    assert rates.captured == pytest.approx(10.0, abs=0.15)
    assert rates.inferred == pytest.approx(5.0, abs=0.15)
    assert rates.published == 0.0
    assert meter.rates(40.0).captured == 0.0
    assert meter.last_frame_age_s(20.0) == pytest.approx(0.1)


def test_a_young_process_divides_by_its_age() -> None:
    meter = Meter(10.0, started_s=100.0)
    for tick in range(20):
        meter.captured(100.0 + tick * 0.1)
    assert meter.rates(102.0).captured == pytest.approx(10.0)


def test_percentiles_are_by_model_and_in_sum() -> None:
    meter = Meter(10.0, started_s=0.0)
    for number in range(1, 101):
        times = {"a": StageTimes(1.0, float(number), 0.5), "b": StageTimes(1.0, 100.0, 0.5)}
        meter.published(result(captured_s=0.0, times=times), now_s=0.02)
    by_model = meter.percentiles_by_model("invoke_ms", 0.02)
    assert by_model["a"] is not None
    assert (by_model["a"].p50, by_model["a"].p95) == pytest.approx((50.5, 95.05))
    total = meter.percentiles("invoke_ms", 0.02)
    assert total is not None
    assert total.p50 == pytest.approx(150.5)
    ages = meter.ages(0.02)
    assert ages is not None
    assert ages.p95 == pytest.approx(20.0)
    assert meter.percentiles("invoke_ms", 100.0) is None


def test_a_board_without_sensors_says_none_and_one_with_them_the_hottest(tmp_path: Path) -> None:
    assert board.temperature_c(tmp_path) is None
    for zone, text in enumerate(("41500\n", "broken\n", "63250\n")):
        directory = tmp_path / f"thermal_zone{zone}"
        directory.mkdir()
        (directory / "temp").write_text(text)
    assert board.temperature_c(tmp_path) == 63.25


@pytest.mark.parametrize(
    ("bits", "now"), [("0x0", False), ("0x50000", False), ("0x50005", True), ("0x80008", True)]
)
def test_a_raspberry_pi_says_whether_it_is_throttled_now(
    bits: str, now: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bits 0 to 3 are now, 16 to 19 since the start; from the kernel, or from vcgencmd."""
    kernels = tmp_path / "get_throttled"
    monkeypatch.setattr(board, "PI_THROTTLED", kernels)
    monkeypatch.setattr(board, "VCIO", tmp_path / "vcio")
    program = tmp_path / "vcgencmd"
    program.write_text(f'#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled={bits}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert board.throttled() is None
    (tmp_path / "vcio").touch()
    assert board.throttled() is now
    program.unlink()
    assert board.throttled() is None
    kernels.write_text(f"{bits.removeprefix('0x')}\n")
    assert board.throttled() is now


def test_resident_memory_is_this_processs_and_the_clock_is_known_or_none() -> None:
    rss_bytes = board.rss_bytes()
    assert rss_bytes is not None
    kilobytes = next(
        int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    assert rss_bytes == pytest.approx(kilobytes * 1024, rel=0.2)
    assert board.clock_synced() in (True, False, None)
