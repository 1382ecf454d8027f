"""Measures single parts, decoding beside its peers, for benchmarks.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_peers import posenet_python, tensorflow_js
from numpy.typing import NDArray

from edgecam.core.frame import Frame
from edgecam.core.result import Box, Decoded, Detection, Pose, Result
from edgecam.inference.decoders import posenet_tfjs
from edgecam.inference.model import Model
from edgecam.messages.result import result_payload
from edgecam.settings.schema import InferenceSettings, ModelSettings

ROOT = Path(__file__).resolve().parents[1]
Add = Callable[..., None]
# Real outputs of PoseNet 481x641, which are not ours to hand on; their rows are left as they are
# where the files are not.
VECTORS = ROOT.parent / "shared" / "conformance" / "posenet"
CROWDS = (
    ("couple", "two people", {"max_poses": 5, "score_threshold": 0.5, "nms_radius_px": 20.0}),
    (
        "cheer_crowd",
        "thirty people",
        {"max_poses": 20, "score_threshold": 0.1, "nms_radius_px": 10.0},
    ),
)


def median_ms(work: Callable[[], Any], number: int = 200) -> float:
    times = []
    for _ in range(number):
        began_s = time.perf_counter()
        work()
        times.append((time.perf_counter() - began_s) * 1e3)
    return statistics.median(times)


def parts(add: Add) -> None:
    """Decoding beside its peers, the message, and preparing a large picture."""
    with np.load(ROOT / "tests" / "data" / "posenet" / "people_stride16.npz") as file:
        keys = ("heatmaps", "offsets", "displacement_fwd", "displacement_bwd")
        tensors = [file[key].astype(np.float32) for key in keys]
    case = {"model": "posenet outputs", "input": "x".join(map(str, tensors[0].shape[:2]))}
    limits = {"stride": 16, "max_poses": 5, "score_threshold": 0.5, "nms_radius_px": 20.0}

    def decode() -> None:
        posenet_tfjs.decode_multiple_poses(*tensors[:2], (tensors[2], tensors[3]), **limits)

    add("decode", median_ms(decode), "ms", **case)
    for who, measure in (("TensorFlow.js", tensorflow_js), ("posenet-python", posenet_python)):
        found = measure(tensors, limits)
        if found is not None:
            add("decode", found, "ms", who, **case)
    for name, people, crowd_limits in CROWDS:
        crowd(add, name, people, {"stride": 16, **crowd_limits})
    random = np.random.default_rng(0)
    frame = Frame(random.integers(0, 256, (720, 1280, 3), np.uint8), 0, 0.0, 0.0)
    poses = [Pose(0.9, random.uniform(0, 700, (17, 2)), random.uniform(0, 1, 17)) for _ in range(5)]
    boxes = (Detection("person", 0, 0.9, Box(1.0, 2.0, 3.0, 4.0)),)

    def encode() -> None:
        result = Result(frame, {"posenet": Decoded(poses=tuple(poses), detections=boxes)})
        result_payload(result, "camera", "boot", 0.0)

    add("message of five people", median_ms(encode, 1000), "ms")
    model = Model(ModelSettings(path="posenet-int8"), InferenceSettings(threads=1))
    buffer = model.buffer()
    staged = model.preprocess(frame, buffer)

    def prepare() -> None:
        model.preprocess(frame, buffer)
        model.interpreter.fill(staged.image, model.fill)

    shares = [median_ms(prepare, 20) / median_ms(model.interpreter.invoke, 20) for _ in range(15)]
    about = {"model": model.name, "input": "1280x720 picture", "threads": 1}
    add("preprocess", statistics.median(shares), "of invoke", **about)


def crowd(add: Add, name: str, people: str, limits: dict[str, Any]) -> None:
    """Decode what Coral's PoseNet 481x641 made of a picture."""
    path = VECTORS / f"{name}.npz"
    if not path.exists():
        return
    with np.load(path) as file:

        def real(part: str) -> NDArray[np.float32]:
            key = f"coral_481_641_full_{part}"
            zero_point, scale = file[f"{key}_zero_point"], file[f"{key}_scale"]
            return ((file[f"{key}_u8"].astype(np.float32) - zero_point) * scale).astype(np.float32)

        tensors = [real(part) for part in ("heatmaps", "short_offsets", "mid_offsets")]
    case = {"model": f"posenet outputs, {people}", "input": "31x41"}
    add(
        "decode",
        median_ms(lambda: posenet_tfjs.decode_multiple_poses(*tensors, **limits)),
        "ms",
        **case,
    )
