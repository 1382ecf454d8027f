"""Many cameras at once: a fleet on one real mosquitto, and several instances on these cores."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from brokers import mosquitto_command
from programs import ROOT, environment


def measure(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "benchmark_many.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return dict(json.loads(done.stdout))


def assert_whole(found: dict[str, Any]) -> None:
    assert found["events_lost"] == 0
    assert found["events_twice"] == 0
    # They go at QoS 0, so that a broker may drop some on a busy machine, and makes none up.
    assert 0 <= found["results_lost"] < found["results_published"]


def test_a_small_fleet_loses_no_event() -> None:
    mosquitto_command()
    found = measure("fleet", "--number", 60, "--rate-hz", 5, "--seconds", 4)
    assert found["events_published"] == 60 * 5 * 4
    assert_whole(found)


@pytest.mark.long
def test_two_hundred_cameras_at_five_hertz_lose_no_event() -> None:
    mosquitto_command()
    found = measure("fleet", "--number", 200, "--rate-hz", 5, "--seconds", 60)
    assert found["events_published"] == 200 * 5 * 60
    assert_whole(found)


def test_instances_that_run_together_all_give_results() -> None:
    """How many is a figure of ``scripts/bench --check``."""
    size = ("--input-size", "257x257")
    found = measure("instances", "--number", 3, "--seconds", 1, "--rounds", 1, *size)
    assert found["slowest_of_fastest"] > 0.0
