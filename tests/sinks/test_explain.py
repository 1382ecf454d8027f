"""``replay --explain``: what led to a fall, or to none, step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from programs import edgecam, error_line

from edgecam.analysis.analyzer import Analysis
from edgecam.analysis.explaining import Explaining
from edgecam.core.result import Pose
from edgecam.settings.schema import Settings
from tests.analysis.test_events import falling
from tests.sinks.test_recorder import RATE_HZ, Flight, seen, settings


def steps(pose_at: Callable[[float], Pose | None], seconds: float) -> list[str]:
    """Each line without its time."""
    analysis, explaining = Analysis(Settings(), finds_poses=True), Explaining(100.0)
    lines: list[str] = []
    for number in range(round(seconds * RATE_HZ)):
        pose = pose_at(number / RATE_HZ)
        lines += explaining.steps(analysis, analysis(seen(number, [pose] if pose else [])))
    times = [float(line.split(" s  ")[0]) for line in lines]
    assert times == sorted(times)
    return [line.split(" s  ")[1] for line in lines]


def place(lines: list[str], words: str) -> int:
    """Where the first line with these words is."""
    return next(number for number, line in enumerate(lines) if words in line)


def test_a_fall_and_its_recovery_are_explained_in_order() -> None:
    lines = steps(lambda t: falling(t, up_s=12.0), 16.0)
    wanted = ("looks standing", "fall suspected: the shoulders are ", "seen lying")
    wanted += ("reported: fall, confidence", "reported: recovered")
    places = [place(lines, words) for words in wanted]
    assert places == sorted(places)
    assert "looks standing" in lines[places[-1] - 1]


def test_why_a_suspicion_was_no_fall() -> None:
    lines = steps(lambda t: falling(t, up_s=5.0), 12.0)
    assert place(lines, "fall suspected") < place(lines, "no fall: up again")
    assert not any("reported: fall" in line for line in lines)


def test_one_who_is_lost_on_the_floor_is_said_to_be_out_of_sight() -> None:
    lines = steps(lambda t: falling(t) if t < 3.5 else None, 12.0)
    kept = place(lines, "out of sight; the place is kept")
    assert place(lines, "fall suspected") < kept < place(lines, "reported: fall")


def test_replay_explains_a_recording(tmp_path: Path) -> None:
    flight = Flight(settings(tmp_path, events=("fall",), before_s=8.0))
    for number in range(110):
        flight.see(seen(number, [falling(number / RATE_HZ)]))
    flight.wait_written(1)
    flight.recorder.close()
    (path,) = flight.files()
    done = edgecam("replay", path, "--explain")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert place(lines, "fall suspected") < place(lines, "reported: fall, confidence")
    assert lines[-1].endswith("events equal to the recorded ones")


def test_a_clip_has_nothing_to_explain(tmp_path: Path) -> None:
    line = error_line(edgecam("replay", tmp_path / "clip.mp4", "--explain"))
    assert "--explain and --video are for the flight recorder's files" in line
