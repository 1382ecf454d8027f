"""bench says what it measured, and ids are kept as well as benchmarks.csv records."""

import csv
import importlib
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from programs import CLIP, ROOT, edgecam, environment, error_line
from tiny_models import UNIT

from edgecam.cli.commands.bench import show, show_ops
from edgecam.core.frame import Frame
from edgecam.inference import runtime
from edgecam.inference.catalog import resolve
from edgecam.inference.model import Model
from edgecam.inference.tflite.cut import Alone
from edgecam.inference.tflite.file import read
from edgecam.settings.schema import (
    ModelSettings,
    Settings,
    SourceSettings,
)
from edgecam.sources import open_source
from edgecam.tools.convert import writer
from edgecam.tools.convert.lite import LiteModel
from edgecam.tools.evaluate import op_times
from edgecam.tools.evaluate.throughput import Report, TimingSink, measure, score_tracks

MODEL = "posenet_mobilenet_v1_075_int8"


@pytest.mark.parametrize("together", [1, 3, 7, 8])
def test_results_that_come_a_few_at_a_time_cost_what_they_take(together: int) -> None:
    marks = TimingSink()
    for number in range(100):
        done = (number // together + 1) * together
        marks.wall_s.append(0.010 * done)
        marks.cpu_s.append(0.015 * done)
    wall_ms, cpu_ms = marks.cost_ms()
    assert wall_ms == pytest.approx(10.0, rel=0.01)
    assert cpu_ms == pytest.approx(15.0, rel=0.01)


def test_bench_reports_stages_rates_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    done = edgecam("bench", "posenet-int8", "--rounds", 1, "--max-frames", 30, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report["stages"]) == {"preprocess", "invoke", "decode", "capture to publish"}
    for spread in report["stages"].values():
        assert 0 < spread["p50"] <= spread["p95"] <= spread["p99"]
    assert report["frames"] == 30
    assert report["bare_cpu_ms"] > 0
    assert report["frame_cpu_ms"] > 0
    assert 20e6 < report["peak_rss_bytes"] < 2e9
    tracks = report["tracks"]
    show(msgspec.json.decode(done.stdout, type=Report))
    shown = capsys.readouterr().out
    assert "of the bare rate" in shown
    words = f"{tracks['switches']} identity switches, {tracks['fragments']} fragments"
    assert words in shown


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


def test_tracks_are_scored_only_where_they_were_drawn(tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(CLIP.read_bytes())
    model = (ModelSettings(path="posenet-int8"),)
    assert score_tracks(Settings(model=model, source=SourceSettings(url=str(copy)))) is None


def test_bench_shows_each_of_several_models(capsys: pytest.CaptureFixture[str]) -> None:
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
    show(msgspec.json.decode(done.stdout, type=Report))
    shown = capsys.readouterr().out
    assert f"{names[1]}: invoke" in shown
    assert f"{names[0]} looked at 100% of the frames" in shown


def test_a_model_counts_as_often_as_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    models = (
        ModelSettings(path="posenet", input_size="129x161"),
        ModelSettings(path="ssdlite", rate_hz=2.0),
    )

    def bare(model: Model, _settings: Settings) -> tuple[float, float]:
        return (10.0, 11.0) if model.name.startswith("posenet") else (40.0, 44.0)

    monkeypatch.setattr("edgecam.tools.evaluate.throughput._bare", bare)
    source = SourceSettings(url=str(CLIP))
    report = measure(Settings(model=models, source=source, max_frames=40), rounds=1)
    often = report.looks["ssdlite_mobilenet_v2_pedestrian_int8"]
    assert 0.0 < often < 0.5
    assert report.bare_ms == pytest.approx(10.0 + 40.0 * often, abs=0.1)
    assert report.bare_cpu_ms == pytest.approx(11.0 + 44.0 * often, abs=0.1)


BARS = ROOT / "scripts" / "benchmarks.py"


def test_what_has_a_bar_is_named() -> None:
    command = [sys.executable, BARS, "--check", "speed"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 1
    assert "expected some of pipeline-1-thread, " in done.stderr
    assert done.stderr.rstrip().endswith("found speed")


def test_a_missed_bar_is_printed_with_its_figure_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BARS.parent))
    bars = importlib.import_module("benchmark_bars")
    figures = iter((0.5, 0.7, 0.6, 3.0, 2.0))
    kept = bars.at_most("kept", 2.5, "of that", lambda: next(figures))
    missed = bars.at_least("missed", 0.8, "of this", lambda: next(figures))
    monkeypatch.setattr(bars, "BARS", (missed, kept))
    assert bars.check(()) == 1
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert table == [
        ["what", "figure", "bar"],
        ["missed", "0.700", ">=", "0.8", "MISSED", "of", "this"],
        ["kept", "2.000", "<=", "2.5", "kept", "of", "that"],
    ]


def test_bench_refuses_what_it_cannot_measure() -> None:
    assert "more than" in error_line(edgecam("bench", "posenet-int8", "--max-frames", 5))
    live = edgecam("bench", "posenet-int8", "--rounds", 1, "-s", "rtsp://127.0.0.1:1/none")
    assert "rtsp://127.0.0.1:1" in error_line(live) or "recording" in error_line(live)


def _first_frame() -> Frame:
    source = open_source(SourceSettings(url=str(CLIP)))
    try:
        return next(iter(source.frames()))
    finally:
        source.close()


def test_ops_are_timed_one_by_one_with_the_delegate_that_takes_them() -> None:
    file = read(resolve("documents"))
    report = op_times.measure(file, _first_frame(), "auto", 1, None, 1)
    ops = dict(enumerate(op.name for op in file.main.ops))
    assert len(report.nodes) + sum(report.once.values()) == len(ops)
    assert {row.node: row.op for row in report.nodes}.items() <= ops.items()
    times = [row.ms for row in report.nodes]
    assert None not in times
    assert times == sorted(times, reverse=True)
    assert sum(row.share for row in report.operators) == pytest.approx(1.0, abs=0.01)
    assert sum(row.nodes for row in report.operators) == len(report.nodes)
    assert {row.delegate for row in report.nodes} == {"xnnpack"}


def test_a_node_alone_computes_what_it_does_in_the_whole_model() -> None:
    file = read(resolve("documents"))
    whole = runtime.find().interpreter(
        model_content=file.data,
        experimental_preserve_all_tensors=True,
        **runtime.find().without_default_delegates(),
    )
    whole.allocate_tensors()
    picture = np.random.default_rng(1).normal(size=file.inputs[0].shape).astype(np.float32)
    whole.set_tensor(file.inputs[0].index, picture)
    whole.invoke()
    data = bytearray(Alone.size(file))
    alone = Alone(file, data)
    constant = {tensor.index for tensor in file.main.tensors if tensor.is_constant}
    for node, op in enumerate(file.main.ops):
        inputs = [tensor for tensor in op.inputs if tensor not in constant and tensor >= 0]
        alone.leave([node], inputs, op.outputs)
        one = runtime.find().interpreter(
            model_content=bytes(data), **runtime.find().without_default_delegates()
        )
        one.allocate_tensors()
        for tensor in inputs:
            one.set_tensor(tensor, whole.get_tensor(tensor))
        one.invoke()
        for tensor in op.outputs:
            np.testing.assert_array_equal(one.get_tensor(tensor), whole.get_tensor(tensor))


def test_ops_that_no_delegate_takes_are_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    model = LiteModel()
    picture = model.tensor("picture", (1, 8, 8, 3))
    doubled = model.add("ADD", (picture, picture), "doubled", (1, 8, 8, 3))
    last = model.add("LOG_SOFTMAX", (doubled,), "last", (1, 8, 8, 3))
    model.inputs, model.outputs = [picture], [last]
    file = read(writer.write(model, "odd", UNIT), "odd.tflite")
    show_ops(op_times.measure(file, _first_frame(), "auto", 1, None, 1))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert any(row[:2] == ["ADD", "1"] and row[-1] == "xnnpack" for row in rows)
    assert any(row[:2] == ["LOG_SOFTMAX", "1"] and row[-1] == "cpu" for row in rows)


def test_ops_look_into_one_model() -> None:
    done = edgecam("bench", "posenet", "ssdlite", "--ops")
    assert done.returncode == 2
    assert "--ops looks into one model, found 2" in done.stderr
