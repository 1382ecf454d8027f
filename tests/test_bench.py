"""The efficiency that benchmarks.csv records is still reached, and bench says what it measured."""

import csv
import json
import os
import time
from pathlib import Path

import pytest
from brokers import Mosquitto
from programs import CLIP, ROOT, edgecam, error_line

from edgecam.settings.schema import (
    InferenceSettings,
    ModelSettings,
    MqttSettings,
    Settings,
    SourceSettings,
)
from edgecam.tools.evaluate.throughput import Marks, measure, score_tracks

MODEL = "posenet_mobilenet_v1_075_int8"
# A ratio within one run; where others use the machine too, a later round may be less disturbed.
ROUNDS_AT_MOST = 12
ALLOWED_DROP = 0.10
FRAMES = 60
# Cores' worth of work of others, the broker's among it, that leaves a round undisturbed: one thread
# and what works beside it need two cores to themselves.
MAX_OTHERS = 0.1


def machine_busy_s() -> float:
    """Seconds that all cores together have worked since boot, for whomever."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def recorded(threads: int) -> float:
    with (ROOT / "benchmarks.csv").open(newline="") as file:
        (value,) = (
            float(row["value"])
            for row in csv.DictReader(file)
            if (row["what"], row["model"], row["input"]) == ("efficiency", MODEL, "353x481")
            and (row["who"], row["threads"]) == ("edgecam", str(threads))
        )
    return value


@pytest.mark.alone
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="recorded on two cores")
def test_efficiency_has_not_dropped(threads: int, mosquitto: Mosquitto) -> None:
    settings = Settings(
        model=(ModelSettings(path="posenet-int8"),),
        source=SourceSettings(url=str(CLIP)),
        inference=InferenceSettings(threads=threads),
        mqtt=MqttSettings(url=mosquitto.url),
        max_frames=FRAMES,
    )
    # Above 1 it was the bare loop that somebody disturbed.
    floor = min(recorded(threads), 1.0) * (1.0 - ALLOWED_DROP)
    found, undisturbed = [], []
    for _ in range(ROUNDS_AT_MOST):
        busy_s, own_s, began_s = machine_busy_s(), time.process_time(), time.monotonic()
        found.append(measure(settings, rounds=1).best_efficiency)
        if found[-1] >= floor:
            return
        others_s = machine_busy_s() - busy_s - (time.process_time() - own_s)
        if others_s < MAX_OTHERS * (time.monotonic() - began_s):
            undisturbed.append(found[-1])
    if not undisturbed:
        pytest.skip(f"others used the machine in every round; {found}, floor {floor:.3f}")
    raise AssertionError(f"{undisturbed} of {found} undisturbed, all below {floor:.3f}")


@pytest.mark.parametrize("together", [1, 3, 7, 8])
def test_results_that_come_a_few_at_a_time_cost_what_they_take(together: int) -> None:
    marks = Marks()
    for number in range(100):
        done = (number // together + 1) * together
        marks.wall_s.append(0.010 * done)
        marks.cpu_s.append(0.015 * done)
    wall_ms, cpu_ms = marks.cost_ms()
    assert wall_ms == pytest.approx(10.0, rel=0.01)
    assert cpu_ms == pytest.approx(15.0, rel=0.01)


@pytest.mark.alone
def test_bench_reports_stages_rates_and_memory() -> None:
    done = edgecam("bench", "posenet-int8", "--rounds", 1, "--max-frames", 30, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report["stages"]) == {"preprocess", "invoke", "decode", "capture to publish"}
    for spread in report["stages"].values():
        assert 0 < spread["p50"] <= spread["p95"] <= spread["p99"]
    assert report["frames"] == 30
    assert 0 < report["bare_cpu_ms"] < report["frame_cpu_ms"]
    assert 20e6 < report["peak_rss_bytes"] < 2e9
    tracks = report["tracks"]
    shown = edgecam("bench", "posenet-int8", "--rounds", 1, "--max-frames", 30)
    assert "of the bare rate" in shown.stdout
    words = f"{tracks['switches']} identity switches, {tracks['fragments']} fragments"
    assert words in shown.stdout


def test_identities_are_kept_as_well_as_is_recorded() -> None:
    with (ROOT / "benchmarks.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == MODEL]
    found = {row["what"]: float(row["value"]) for row in rows if row["input"] == "353x481"}
    model = (ModelSettings(path="posenet-int8"),)
    score = score_tracks(Settings(model=model, source=SourceSettings(url=str(CLIP))))
    assert score is not None
    # Another runtime or processor sees a little differently.
    assert score.switches <= found["identity switches"] + 2
    assert score.fragments <= found["fragments"] + 3
    assert score.found / score.boxes >= found["boxes found"] - 0.02


def test_tracks_are_scored_only_where_somebody_drew_them(tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(CLIP.read_bytes())
    model = (ModelSettings(path="posenet-int8"),)
    assert score_tracks(Settings(model=model, source=SourceSettings(url=str(copy)))) is None


def test_bench_shows_each_of_several_models() -> None:
    models = ("posenet:input_size=129x161", "ssdlite:rate_hz=2")
    done = edgecam("bench", *models, "--rounds", 2, "--max-frames", 40, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    names = ("posenet_mobilenet_v1_075_int8", "ssdlite_mobilenet_v2_pedestrian_int8")
    stages = ("preprocess", "invoke", "decode")
    assert set(report["stages"]) == {
        "capture to publish",
        *(f"{name}: {stage}" for name in names for stage in stages),
    }
    assert report["looks"][names[0]] == 1.0
    assert 0.0 < report["looks"][names[1]] < 0.5
    # The detector's invoke counts as often as it looks.
    both = sum(report["looks"][name] * report["stages"][f"{name}: invoke"]["p50"] for name in names)
    assert report["bare_ms"] == pytest.approx(both, rel=0.75)
    shown = edgecam("bench", *models, "--rounds", 1, "--max-frames", 40)
    assert f"{names[1]}: invoke" in shown.stdout
    assert f"{names[0]} looked at 100% of the frames" in shown.stdout


def test_bench_refuses_what_it_cannot_measure() -> None:
    assert "more than" in error_line(edgecam("bench", "posenet-int8", "--max-frames", 5))
    live = edgecam("bench", "posenet-int8", "--rounds", 1, "-s", "rtsp://127.0.0.1:1/none")
    assert "rtsp://127.0.0.1:1/none" in error_line(live) or "recording" in error_line(live)
