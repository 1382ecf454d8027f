"""What the live page may cost; ``scripts/bench-web`` prints the same figures, of more turns.

The limits are wider than what is promised (0.95 of the rate), for a few turns on a machine that
does other things besides.
"""

from __future__ import annotations

import os
from pathlib import Path

import web_costs


def test_one_viewer_takes_less_than_a_twentieth_of_the_processor(tmp_path: Path) -> None:
    _, more_ms = web_costs.processor(tmp_path, turns=2, turn_s=2.0)
    assert 0.0 < more_ms < 0.05 * 1e3 * (os.cpu_count() or 1)


def test_inference_keeps_its_rate_with_a_viewer(tmp_path: Path) -> None:
    cost, pictures_hz = web_costs.viewer(tmp_path, turns=3, turn_s=1.5, rate_hz=60.0)
    assert 8.0 < pictures_hz < 11.0
    assert cost.ratio > 0.8, cost


def test_slow_and_stalled_clients_are_cut_off_and_cost_little(tmp_path: Path) -> None:
    cost = web_costs.attack(tmp_path, turns=1, rate_hz=60.0)
    assert cost.ratio > 0.8, cost
    assert cost.grown_mb < 30.0, cost
    assert cost.cut_after_s < web_costs.EVICTED_S, cost
