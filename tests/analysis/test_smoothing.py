"""The One Euro filter and the dead band."""

from __future__ import annotations

import numpy as np
import pytest

from edgecam.analysis.smoothing import DeadBand, OneEuro

SURE = np.full(17, 0.9)


def reference(values: list[float], times: list[float], size: float) -> list[float]:
    """The paper's own formulas, one number at a time."""
    tau = 1.0 / (2.0 * np.pi)
    hat, speed, out = values[0], 0.0, [values[0]]
    for place in range(1, len(values)):
        step = times[place] - times[place - 1]
        raw = (values[place] - hat) / step / size
        speed += (raw - speed) / (1.0 + tau / 1.0 / step)
        hat += (values[place] - hat) / (1.0 + tau / (1.0 + 3.0 * abs(speed)) / step)
        out.append(hat)
    return out


def test_it_is_the_papers_filter_with_the_real_time_step() -> None:
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.uniform(0.01, 0.3, 50)).tolist()
    values = (100 + 20 * np.sin(times) + rng.normal(0, 2, 50)).tolist()
    smooth = OneEuro()
    ours = []
    for value, time_s in zip(values, times, strict=True):
        xy = np.zeros((17, 2))
        xy[:, 0] = value
        ours.append(float(smooth(xy, SURE, 50.0, time_s)[0, 0]))
    assert ours == pytest.approx(reference(values, times, 50.0), abs=1e-9)


@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_who_stands_still_trembles_less_and_who_walks_is_not_left_behind(rate_hz: float) -> None:
    rng = np.random.default_rng(3)
    still, walking = OneEuro(), OneEuro()
    raw, smooth, lag = [], [], []
    for number in range(200):
        time_s = number / rate_hz
        noisy = np.full((17, 2), 200.0) + rng.normal(0, 2.0, (17, 2))
        raw.append(noisy)
        smooth.append(still(noisy, SURE, 100.0, time_s))
        # Two body sizes a second.
        place = np.full((17, 2), 200.0 * time_s)
        lag.append(float(np.abs(walking(place, SURE, 100.0, time_s) - place).max()))
    assert np.std(smooth[20:]) < 0.65 * np.std(raw[20:])
    assert max(lag) < 15.0


def test_a_keypoint_that_becomes_sure_starts_where_it_is() -> None:
    smooth, unsure = OneEuro(), np.full(17, 0.1)
    smooth(np.full((17, 2), 10.0), unsure, 100.0, 0.0)
    assert (smooth(np.full((17, 2), 90.0), SURE, 100.0, 0.1) == 90.0).all()


def test_the_dead_band_holds_small_movements_back_and_lets_none_add_up() -> None:
    band = DeadBand(3.0)
    start = np.full((17, 2), 50.0)
    assert (band(start) == 50.0).all()
    for shift in (1.0, -1.0, 2.0):
        assert (band(start + np.array([shift, 0.0])) == 50.0).all()
    moved = start.copy()
    moved[4] += [3.0, 0.0]
    held = band(moved)
    assert held[4].tolist() == [53.0, 50.0]
    assert (np.delete(held, 4, axis=0) == 50.0).all()
