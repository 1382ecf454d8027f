"""What clients of the live page may do to it; what they cost ``scripts/bench --check`` says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import web_costs
from brokers import wait_until
from pages import LivePage
from viewers import PICTURES_ON, Watcher, handshake
from web_costs import Run

MOST_GROWN_MB = 30.0


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[tuple[Run, LivePage]]:
    with web_costs.watched(tmp_path, web_costs.IDLE) as both:
        yield both


def test_slow_and_stalled_clients_are_cut_off_and_results_go_on(
    idle: tuple[Run, LivePage],
) -> None:
    run, page = idle
    # What a first viewer makes the process load is no cost of the attack.
    with Watcher(page.port) as watcher:
        assert wait_until(lambda: watcher.pictures > 3)
    before_mb, before = web_costs.resident_mb(page), run.results()
    clients = web_costs.connect(page, web_costs.SLOW, b"GET / HTTP/1.1\r\nHost: ")
    words = handshake(page.port) + PICTURES_ON
    clients += web_costs.connect(page, web_costs.STALLED, words)
    try:
        assert wait_until(lambda: all(map(web_costs.is_cut, clients)), 20.0)
        assert wait_until(lambda: run.results() > before + 5)
        assert web_costs.resident_mb(page) - before_mb < MOST_GROWN_MB
        with Watcher(page.port) as watcher:
            assert wait_until(lambda: watcher.pictures > 3)
    finally:
        for client in clients:
            client.close()
