"""What the live page may cost; ``scripts/bench-web`` prints the same figures, of more turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import web_costs
from pages import LivePage
from web_costs import Run

SHARE = 0.05


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, LivePage]]:
    """One daemon for both: its board has time left, so that processor time tells the cost."""
    with web_costs.watched(tmp_path_factory.mktemp("idle"), web_costs.IDLE) as both:
        yield both


@pytest.mark.alone
def test_a_viewer_takes_less_than_a_twentieth_of_the_processor(
    idle: tuple[Run, LivePage],
) -> None:
    cost = web_costs.viewer(*idle, turns=2, turn_s=1.0)
    assert cost.pictures_hz > 4.0, cost
    assert cost.share < SHARE, cost


@pytest.mark.alone
def test_slow_and_stalled_clients_are_cut_off_and_cost_little(idle: tuple[Run, LivePage]) -> None:
    cost = web_costs.attack(*idle, turns=1, turn_s=2.5)
    assert cost.share < SHARE, cost
    assert cost.grown_mb < 30.0, cost
    assert cost.cut_after_s < web_costs.EVICTED_S, cost


@pytest.mark.long
def test_inference_keeps_its_rate_on_a_busy_board(tmp_path: Path) -> None:
    """Turns with and without a viewer alternate: what else this machine does meets both."""
    with web_costs.watched(tmp_path, web_costs.BUSY) as both:
        cost = web_costs.viewer(*both, turns=20, turn_s=2.0)
    assert cost.pictures_hz > 8.0, cost
    assert cost.ratio >= 0.95, cost
