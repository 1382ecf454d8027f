"""What the live page may cost; ``scripts/bench-web`` prints the same figures, of more turns."""

from __future__ import annotations

from pathlib import Path

import pytest
import web_costs

SHARE = 0.05


def test_a_viewer_takes_less_than_a_twentieth_of_the_processor(tmp_path: Path) -> None:
    cost = web_costs.viewer(tmp_path, web_costs.IDLE, turns=2, turn_s=1.5)
    assert cost.pictures_hz > 4.0, cost
    assert 0.0 < cost.share < SHARE, cost


def test_slow_and_stalled_clients_are_cut_off_and_cost_little(tmp_path: Path) -> None:
    cost = web_costs.attack(tmp_path, web_costs.IDLE, turns=1)
    assert cost.share < SHARE, cost
    assert cost.grown_mb < 30.0, cost
    assert cost.cut_after_s < web_costs.EVICTED_S, cost


@pytest.mark.long
def test_inference_keeps_its_rate_on_a_busy_board(tmp_path: Path) -> None:
    """Turns with and without a viewer alternate: what else this machine does meets both."""
    cost = web_costs.viewer(tmp_path, web_costs.BUSY, turns=20, turn_s=2.0)
    assert cost.pictures_hz > 8.0, cost
    assert cost.ratio >= 0.95, cost
