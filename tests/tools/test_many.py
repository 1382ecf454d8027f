"""Many cameras at once: a fleet on one real mosquitto, and several instances on these cores."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from types import ModuleType
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


# The plan: a simulation, from figures of our own here


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("benchmark_plan")


FIGURES = {
    "cores": 2,
    "process_ms": 20.0,
    "house_ms": 20.0,
    "worker_ms": 25.0,
    "broker_ms": 0.5,
    "process_mb": 100.0,
    "house_mb": 150.0,
    "camera_mb": 25.0,
    "worker_mb": 150.0,
    "picture_kb": 50.0,
}


def test_a_board_that_keeps_up_gives_every_camera_its_looks_and_one_that_does_not_shares(
    plan: ModuleType,
) -> None:
    # 10 ms a look: 20 cameras want what there is, 40 get half of it, each as much as the others.
    assert plan.slowest(10, 5.0, 0.010) == pytest.approx(5.0, rel=0.02)
    assert plan.slowest(40, 5.0, 0.010) == pytest.approx(2.5, rel=0.1)
    assert plan.slowest(40, 5.0, 0.010, workers=4) == pytest.approx(5.0, rel=0.02)


def test_the_plan_says_from_how_many_cameras_each_way_needs_another_board(
    plan: ModuleType,
) -> None:
    found = plan.Measured(**FIGURES)
    # 850 MB: 8 processes, or 29 cameras, of which the cores serve 19 or 20.
    assert plan.on_a_board(found, "processes", 5.0, 1000.0) == 8
    assert plan.on_a_board(found, "house", 5.0, 1000.0) in (19, 20)
    rows = {row["cameras"]: row for row in plan.plan(found, 5.0, 1000.0, (1, 16, 1000))}
    assert (rows[1]["processes"], rows[1]["house"], rows[1]["workers"]) == (1, 1, 1)
    assert (rows[16]["processes"], rows[16]["house"]) == (2, 1)
    # A look of theirs costs more, and at least as many are needed as the looks take time.
    assert rows[1000]["house"] <= 53 < 1000 * 5.0 * 0.0125 <= rows[1000]["workers"] <= 75
    assert rows[1000]["processes"] == 125
    assert rows[1000]["broker_cores"] == 2.5


def test_a_board_too_small_for_one_camera_serves_none(plan: ModuleType) -> None:
    found = plan.Measured(**FIGURES)
    assert plan.on_a_board(found, "house", 5.0, 200.0) == 0
    (row,) = plan.plan(found, 5.0, 200.0, (4,))
    assert row["house"] is None
