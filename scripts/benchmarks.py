"""Measures edgecam and its peers; writes benchmarks.csv and docs/benchmarks.svg.

Run by scripts/bench. Every comparison takes turns within one run; the ratio is what is kept, for
times alone say more about the machine and its other users.
"""

from __future__ import annotations

import argparse
import csv
import json
import operator
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmark_bars import check
from benchmark_heads import heads
from benchmark_house import house
from benchmark_live import live
from benchmark_many import fleet, instances, mosquitto_command
from benchmark_parts import median_ms, parts
from benchmark_peer_runs import peer_runs
from benchmark_plan import ROWS
from benchmark_plot import plot
from benchmark_precisions import precisions
from benchmark_start import start_up
from benchmark_workers import workers

from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.core.protocols import DecodeOptions
from edgecam.inference import catalog as bundled
from edgecam.inference import runtime
from edgecam.inference.model import Model
from edgecam.mqtt.embedded_broker import EmbeddedBroker, free_port
from edgecam.settings.schema import InferenceSettings, ModelSettings, Settings, SourceSettings
from edgecam.tools.evaluate.throughput import score_tracks

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks.csv"
FIELDS = ("what", "model", "input", "threads", "who", "value", "unit", "board", "versions")
# Bundled models, at the sizes that the goals are set for.
MODELS = (
    ("posenet-int8", "353x481"),
    ("posenet-int8", "257x257"),
    ("ssdlite_mobilenet_v2_pedestrian_int8", None),
)
PIECES = ("parts", "start", "live", "runs", "precisions", "crops", "heads", "many", "houses")
# Measured on request alone: others' packages take 200 MB.
ON_REQUEST = ("peers",)
OF_TRACKS = ("boxes found", "identity switches", "fragments", "ids on no person")


class Table:
    """The rows so far, each with the board and versions that they hold for."""

    def __init__(self) -> None:
        found = runtime.find()
        self._board = f"{_processor()}, {len(os.sched_getaffinity(0))} cores"
        python = f"Python {platform.python_version()}"
        self._versions = f"{found.name} {found.version}, {python}, NumPy {np.__version__}, "
        self._versions += f"OpenCV {cv2.__version__}"
        self.rows: list[dict[str, Any]] = []

    def add(self, what: str, value: float, unit: str, who: str = "edgecam", **about: Any) -> None:
        row = {"what": what, "who": who, "value": f"{value:.3f}", "unit": unit, **about}
        row.update(board=self._board, versions=self._versions)
        self.rows.append(row)
        named = " ".join(str(part) for part in (about.get("model", ""), about.get("input") or ""))
        threads = f" {about['threads']} threads" if "threads" in about else ""
        print(f"{what}: {named}{threads} {who} {value:.3f} {unit}".replace("  ", " "), flush=True)

    def keep_others(self) -> None:
        """Take over what the table has of other measurements, in its order."""
        key = operator.itemgetter("what", "model", "input", "threads", "who")
        with TABLE.open(newline="") as file:
            known = {key(row): row for row in csv.DictReader(file)}
        self.rows = [{**dict.fromkeys(FIELDS, ""), **row} for row in self.rows]
        known.update({tuple(map(str, key(row))): row for row in self.rows})
        self.rows = list(known.values())

    def write(self) -> None:
        with TABLE.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


def _processor() -> str:
    try:
        board = Path("/proc/device-tree/model").read_text().strip("\0\n ")
    except OSError:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        board = names[0] if names else platform.machine()
    return board


@contextmanager
def broker() -> Iterator[str]:
    """A real mosquitto where there is one, else edgecam's embedded broker."""
    command = mosquitto_command()
    if command is None:
        with EmbeddedBroker() as embedded:
            yield embedded.url
        return
    port = free_port()
    process = subprocess.Popen([command, "-p", str(port)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def whole_runs(table: Table, models: Sequence[tuple[str, str | None]], rounds: int) -> None:
    """The pipeline and a plain loop, each against the bare interpreter."""
    with broker() as url:
        for model, size in models:
            for threads in (1, 2):
                sized = ["--input-size", size] if size else []
                done = subprocess.run(
                    [
                        *(sys.executable, "-m", "edgecam", "bench", model, *sized, "--json"),
                        *("--threads", str(threads), "--broker", url, "--rounds", str(rounds)),
                    ],
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    cwd=ROOT,
                )
                found = json.loads(done.stdout)
                about = {key: found[key] for key in ("model", "input", "threads")}
                table.add("efficiency", found["efficiency"], "of bare rate", **about)
                table.add("bare invoke", found["bare_ms"], "ms", "bare loop", **about)
                table.add("frame", found["frame_ms"], "ms", **about)
                for key in ("bare_cpu_ms", "frame_cpu_ms"):
                    table.add(key.removesuffix("_ms").replace("_", " "), found[key], "ms", **about)
                table.add("peak memory", found["peak_rss_bytes"] / 1e6, "MB", **about)
                if threads == 1:
                    tracks(table, found["tracks"], about)
                ratio = sequential(model, size, threads, rounds)
                table.add("efficiency", ratio, "of bare rate", "sequential loop", **about)


def tracks(table: Table, found: dict[str, Any] | None, about: dict[str, Any]) -> None:
    """How well ids are kept on the bundled clip; threads make no difference to it."""
    if found is None:
        return
    case = {key: about[key] for key in ("model", "input")}
    times = f"times among {found['people']} people"
    table.add("boxes found", found["found"] / found["boxes"], "of those drawn by hand", **case)
    table.add("identity switches", found["switches"], times, **case)
    table.add("fragments", found["fragments"], times, **case)
    table.add("ids on no person", found["false"], f"boxes in {found['frames']} frames", **case)


def tracks_alone(models: Sequence[tuple[str, str | None]]) -> None:
    """Score the tracks again, and leave every other row as it was measured."""
    table = Table()
    for name, size in models:
        model = ModelSettings(path=name, input_size=size)
        found = score_tracks(
            Settings(model=(model,), source=SourceSettings(url=str(bundled.clip())))
        )
        loaded = Model(model, InferenceSettings())
        sides = f"{loaded.resizer.height_px}x{loaded.resizer.width_px}"
        tracks(table, msgspec.to_builtins(found), {"model": loaded.name, "input": sides})
    write_beside(table, lambda what: what in OF_TRACKS)


def write_beside(table: Table, renewed: Callable[[str], bool]) -> None:
    """Write the rows in place of those that they renew, behind all others."""
    with TABLE.open(newline="") as file:
        kept = [row for row in csv.DictReader(file) if not renewed(row["what"])]
    table.rows = kept + table.rows
    table.write()


def many(table: Table) -> None:
    """Eight replays beside one, and a fleet of 200 cameras on one mosquitto."""
    found = instances(8, seconds=6.0, rounds=4, model="posenet")
    about = {"model": found["model"], "threads": "as many as cores"}
    table.add("eight instances", found["ratio"], "of one's frames a second", **about)
    cost = 1.0 / found["cpu_ratio"]
    table.add("eight instances, processor time of a frame", cost, "times that alone", **about)
    if mosquitto_command() is None:
        return
    found = fleet(200, rate_hz=5.0, seconds=30.0)
    published = f"of {found['events_published']}"
    table.add("fleet, events lost", found["events_lost"], published)
    table.add("fleet, results lost", found["results_lost"], f"of {found['results_published']}")
    for who in ("broker", "subscriber"):
        table.add(f"fleet, {who}", found[f"{who}_cpu_percent"], "% of a core", who)
        table.add(f"fleet, {who} memory", found[f"{who}_rss_mb"], "MB", who)


def houses(table: Table, rounds: int) -> None:
    """Four cameras of one process, beside one and a process for each; and workers."""
    found = house(4, 6.0, rounds, "posenet")
    about = {"model": found["model"], "threads": "as many as cores"}
    rss, each = found["rss_mb"], found["number"] - 1
    for what, value, unit in (
        ("house, memory", found["rss_ratio"], "times that of one camera"),
        ("house, memory of four processes", rss["processes"] / rss["one"], "times that of one"),
        ("house, frames a second", found["fps_ratio"], "of one's frames a second"),
        ("house, slowest camera", found["slowest_of_fastest"], "of the fastest's frames"),
        (ROWS["house_mb"], rss["one"], "MB"),
        (ROWS["camera_mb"], (rss["house"] - rss["one"]) / each, "MB"),
        (ROWS["process_mb"], found["pss_mb"]["processes"] / found["number"], "MB"),
        (ROWS["house_ms"], found["cpu_ms"]["house"], "ms"),
        ("house, processor time of a frame, one camera", found["cpu_ms"]["one"], "ms"),
        (ROWS["process_ms"], found["cpu_ms"]["processes"], "ms"),
    ):
        table.add(what, value, unit, **about)
    if mosquitto_command() is None:
        return
    found = workers(4, 10.0, "posenet")
    for key, unit in (("worker_ms", "ms"), ("worker_mb", "MB"), ("picture_kb", "kB")):
        table.add(ROWS[key], found[key], unit, **about)
    table.add(ROWS["broker_ms"], found["broker_ms"], "ms", "broker")
    table.add("workers, camera's processor time of a picture", found["camera_ms"], "ms", **about)


def crops(table: Table, rounds: int) -> None:
    """Looking at the people alone against looking at the whole frame."""
    for threads in (1, 2):
        command = [sys.executable, "-m", "edgecam", "bench", "posenet-int8", "--crop", "--json"]
        command += ["--threads", str(threads), "--rounds", str(rounds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
        found = json.loads(done.stdout)
        about = {"model": found["model"], "input": found["crop_input"], "threads": threads}
        whole = {**about, "input": found["whole_input"]}
        table.add("crop speed-up", found["speedup"], "of whole frames", **about)
        table.add("crop invoke speed-up", found["invoke_speedup"], "of whole frames", **about)
        table.add("mean OKS", found["crop_oks"], "0..1", "people alone", **about)
        table.add("mean OKS", found["whole_oks"], "0..1", "whole frame", **whole)


def sequential(name: str, size: str | None, threads: int, rounds: int) -> float:
    """Read, resize, invoke, decode and write a line, one after the other, as most scripts do."""
    model = Model(ModelSettings(path=name, input_size=size), InferenceSettings(threads=threads))
    buffer, options, ratios = model.buffer(), DecodeOptions(), []
    for _ in range(rounds):
        bare_ms = median_ms(model.interpreter.invoke, 40)
        capture, times = cv2.VideoCapture(str(bundled.clip())), []
        with tempfile.TemporaryFile("w") as lines:
            while True:
                began_s = time.perf_counter()
                whole, image = capture.read()
                if not whole:
                    break
                frame = Frame(image, len(times), 0.0, 0.0)
                staged = model.preprocess(frame, buffer)
                found = model.decode(model.invoke(staged), staged, frame, options)
                people = [pose.xy.tolist() for pose in found.poses]
                lines.write(json.dumps([people, [str(box) for box in found.detections]]) + "\n")
                times.append((time.perf_counter() - began_s) * 1e3)
        ratios.append(bare_ms / statistics.median(times))
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="further .tflite files")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tracks", action="store_true", help="score the tracks again, no more")
    parser.add_argument("--many", action="store_true", help="instances and fleet again, no more")
    parser.add_argument("--houses", type=int, metavar="ROUNDS", help="houses again, no more")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=(*PIECES, *ON_REQUEST),
        help="measure these, and leave every other row as it was measured",
    )
    parser.add_argument(
        "--check",
        nargs="*",
        metavar="BAR",
        help="measure no more than the ratios that have a bar, or those named; 1 if one is missed",
    )
    parser.add_argument("--images", type=Path, help="peers: COCO's pictures, not those that ship")
    parser.add_argument("--annotations", type=Path, help="their person_keypoints_*.json")
    given = parser.parse_args()
    if given.check is not None:
        sys.exit(bool(check(given.check)))
    if given.many:
        table = Table()
        many(table)
        write_beside(table, lambda what: what.startswith(("eight instances", "fleet,")))
        return
    if given.houses:
        table = Table()
        houses(table, given.houses)
        write_beside(table, lambda what: what.startswith(("house,", "workers,")))
        return
    models = [*MODELS, *((name, None) for name in given.models)]
    if given.tracks:
        tracks_alone(models)
        return
    table = Table()
    measured = given.only or PIECES
    if "parts" in measured:
        parts(table.add)
    if "start" in measured:
        start_up(table.add, given.rounds)
    if "runs" in measured:
        whole_runs(table, models, given.rounds)
    if "precisions" in measured:
        precisions(table.add, given.rounds)
    if "crops" in measured:
        crops(table, given.rounds)
    if "heads" in measured:
        heads()
    if "many" in measured:
        many(table)
    if "peers" in measured:
        peer_runs(table.add, given.rounds, given.images, given.annotations)
    if "houses" in measured:
        houses(table, 3)
    # Last, for it takes much memory, and a child begins with its parent's peak on its account.
    if "live" in measured:
        live(table.add)
    if given.only:
        table.keep_others()
    table.write()
    plot(table.rows, ROOT / "docs" / "benchmarks.svg")


if __name__ == "__main__":
    main()
