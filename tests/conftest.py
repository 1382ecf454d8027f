"""Fixtures that several test files share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from brokers import Mosquitto, Subscriber


@pytest.fixture
def make_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Makes brokers that are not started yet; they end with the test."""
    made: list[Mosquitto] = []

    def make(lines: str = "allow_anonymous true", port: int = 0) -> Mosquitto:
        made.append(Mosquitto(tmp_path, lines, port))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def mosquitto(make_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A running broker on a free loopback port."""
    broker = make_mosquitto()
    broker.start()
    return broker


@pytest.fixture
def subscriber(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    """Everything that is published on ``mosquitto``."""
    everything = Subscriber(mosquitto.port).ready()
    yield everything
    everything.close()
