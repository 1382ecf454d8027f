"""The thermal governor on time series of temperatures, and on a daemon with planted sensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber, wait_until
from daemons import LOOPED, MODEL, Daemon

from edgecam.daemon.thermal_governor import SHARES, Governor
from edgecam.settings.board import ThermalSettings

SETTINGS = ThermalSettings(limit_c=80.0, hysteresis_c=5.0, step_s=30.0)
Series = Callable[[float], tuple[float | None, bool | None]]


def played(series: Series, until_s: float, rate_hz: float = 20.0) -> tuple[Governor, list[int]]:
    """A governor that saw ``series`` once a second, and its step after each."""
    governor, steps = Governor(SETTINGS), []
    for second in range(int(until_s)):
        governor.update(float(second), *series(second), rate_hz)
        steps.append(governor.step)
    return governor, steps


def test_a_cool_board_runs_at_full_rate() -> None:
    governor, steps = played(lambda _: (79.9, False), 600)
    assert set(steps) == {0}
    assert (governor.interval_s, governor.max_hz) == (0.0, None)


def test_heat_lowers_the_rate_step_by_step_to_a_tenth() -> None:
    governor, steps = played(lambda _: (85.0, False), 600)
    assert steps[0] == 1
    assert [steps.index(n) for n in range(1, len(SHARES))] == [0, 30, 60, 90, 120]
    assert steps[-1] == len(SHARES) - 1
    assert governor.max_hz == pytest.approx(2.0)
    assert governor.interval_s == pytest.approx(0.5)


def test_throttling_counts_as_heat_where_there_is_no_sensor() -> None:
    governor, steps = played(lambda s: (None, s < 40), 200)
    assert max(steps) == 2
    assert steps[-1] == 0
    assert governor.counters() == {"thermal_slower": 2, "thermal_faster": 2}


def test_it_comes_back_only_below_the_hysteresis() -> None:
    _, steps = played(lambda s: (81.0 if s < 10 else 76.0, False), 600)
    assert steps[-1] == 1
    _, steps = played(lambda s: (81.0 if s < 10 else 74.9, False), 600)
    assert steps[29:31] == [1, 0]


def test_a_temperature_at_the_limit_does_not_make_it_swing() -> None:
    governor, _ = played(lambda s: (80.5 if s % 2 else 79.5, False), 3600)
    assert governor.faster == 0


def test_the_model_of_a_board_settles() -> None:
    """A board that heats with the rate (first order, 60 s) settles below the limit."""
    governor, heat_c, changes = Governor(SETTINGS), 50.0, 0
    for second in range(3600):
        rate_hz = min(20.0, governor.max_hz or 20.0)
        heat_c += (45.0 + 2.2 * rate_hz - heat_c) / 60.0
        before = governor.step
        governor.update(float(second), heat_c, None, rate_hz)
        changes += governor.step != before
    assert heat_c < 80.0
    assert changes <= 4


def test_a_board_that_is_hot_from_elsewhere_is_left_alone() -> None:
    _, steps = played(lambda _: (95.0, False), 100, rate_hz=0.0)
    assert set(steps) == {0}


def test_the_daemon_slows_down_says_so_and_comes_back(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path
) -> None:
    zone = tmp_path / "thermal" / "thermal_zone0"
    zone.mkdir(parents=True)
    temperature = zone / "temp"
    temperature.write_text("60000\n")
    variables = {
        "EDGECAM_THERMAL_DIRECTORY": str(zone.parent),
        "EDGECAM_THERMAL_STEP_S": "5",
        "EDGECAM_TELEMETRY_WINDOW_S": "2",
    }
    daemon = Daemon(tmp_path, *MODEL, *LOOPED, "--broker", mosquitto.url, **variables)

    def reports() -> list[dict[str, object]]:
        found = subscriber.of("edgecam/camera/telemetry")
        return [json.loads(m.payload) for m in found]

    def rates(step: int) -> list[float]:
        return [r["fps"]["inferred"] for r in reports() if r["thermal"]["step"] == step]

    try:
        daemon.wait_ready()
        assert wait_until(lambda: len(rates(0)) >= 4)
        temperature.write_text("85000\n")
        assert wait_until(lambda: len(rates(2)) >= 5, 25), daemon.log
        assert reports()[-1]["thermal"]["reason"] == "85 °C"
        most_hz = {r["thermal"]["step"]: r["thermal"]["max_hz"] for r in reversed(reports())}
        assert most_hz[2] < most_hz[1]
        assert min(rates(2)) <= most_hz[2] * 1.1
        temperature.write_text("60000\n")
        assert wait_until(lambda: reports()[-1]["thermal"]["step"] == 0, 40), daemon.log
        assert reports()[-1]["counters"]["thermal_slower"] >= 2
        assert "full rate again" in daemon.log
    finally:
        daemon.close()
