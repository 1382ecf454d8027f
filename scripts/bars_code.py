"""What single parts of the code cost, beside a yardstick of the same run, for benchmark_bars.py."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_parts import median_ms

from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Decoded, Pose, Result
from edgecam.inference import catalog as bundled
from edgecam.inference import decoders, runtime
from edgecam.inference.decoders import FamilyContext
from edgecam.inference.interpreter import TensorInfo
from edgecam.inference.model import Model
from edgecam.inference.tflite.file import read
from edgecam.messages.result import result_payload
from edgecam.pipeline.roi.inference_steps import Answer, ModelRunner
from edgecam.pipeline.roi.refiner import Refiner, candidates
from edgecam.settings.schema import InferenceSettings, ModelSettings
from edgecam.tools.train.documents.scene import render
from edgecam.tools.train.head import graft
from edgecam.tools.train.head.backbone import find

# What an invoke of PoseNet takes here, so long that nothing else counts, and Thunder's share of it.
INVOKE_MS, THUNDER = 1e6, 1.3
TESTS = Path(__file__).resolve().parents[1] / "tests"


def median_cpu_ms(work: Callable[[], Any], number: int) -> float:
    """Processor time of all threads together, which other programs hardly change."""
    times = []
    for _ in range(number):
        began_s = time.process_time()
        work()
        times.append((time.process_time() - began_s) * 1e3)
    return statistics.median(times)


def ssd_decode() -> float:
    """Raw SSD outputs with 60 objects, against passes over the scores; 8 to 12 were measured."""
    chance = np.random.default_rng(9)
    scores = chance.beta(0.2, 40, (1, 1917, 91)).astype(np.float32)
    hot = chance.integers(0, 1917, 60)
    scores[0, hot, chance.integers(1, 91, 60)] = chance.uniform(0.5, 1, 60)
    encodings = chance.normal(0, 1, (1, 1917, 4)).astype(np.float32)
    image = TensorInfo(0, "image", (1, 300, 300, 3), np.dtype(np.uint8), 0.0, 0)
    outputs = [
        TensorInfo(place, name, shape, np.dtype(np.float32), 0.0, 0)
        for place, name, shape in ((1, "box", (1, 1917, 4)), (2, "class", (1, 1917, 91)))
    ]
    decoder = decoders.recognise([image], outputs, FamilyContext(output_ops=("ADD", "LOGISTIC")))
    decoding_ms = median_ms(lambda: decoder([encodings, scores], DecodeOptions()), 60)
    return decoding_ms / median_ms(lambda: scores[0, :, 1:] >= np.float32(0.5), 60)


def balanced() -> float:
    """Frames for each of PoseNet's in the same time, five people, no time between frames.

    Invokes are counted, and none is made: one to find, THUNDER of them for each person refined.
    """
    model = Model(ModelSettings(path="thunder"), InferenceSettings(threads=1), refines=True)
    refiner = Refiner(ModelRunner(1, model), max_people=5)
    chance = np.random.default_rng(3)
    poses = [
        Pose(0.5, chance.uniform(0, 60, (17, 2)) + np.array((120.0 * n, 100.0)), np.ones(17))
        for n in range(5)
    ]
    five = candidates(poses, [])
    frames = 200
    for number in range(frames):
        frame = Frame(np.zeros((480, 640, 3), np.uint8), number, 0.0, 0.0)
        steps = refiner.refine(frame, five, INVOKE_MS, live=True)
        try:
            next(steps)
            while True:
                steps.send(Answer(None, THUNDER * INVOKE_MS))
        except StopIteration:
            continue
    looks = refiner.counts["refine_looks"] / frames
    print(f"  balanced: 1 invoke of PoseNet and {looks:.2f} of Thunder a frame", flush=True)
    return 1.0 / (1.0 + THUNDER * looks)


def message() -> float:
    """A message of five people, against packing its 255 numbers one by one."""
    random = np.random.default_rng(0)
    poses = tuple(
        Pose(0.9, random.uniform(0, 480, (17, 2)), random.uniform(0, 1, 17)) for _ in range(5)
    )
    frame = Frame(np.zeros((480, 640, 3), np.uint8), 0, 0.0, 0.0)
    result = Result(frame, {"posenet": Decoded(poses=poses)})

    def plain() -> str:
        points = [
            {"x": round(float(x), 1), "y": round(float(y), 1), "score": round(float(s), 2)}
            for (x, y), s in zip(poses[0].xy, poses[0].scores, strict=True)
        ]
        return json.dumps([points] * 5)

    return median_ms(lambda: result_payload(result, "front", "a1b2c3d4", 0.0)) / median_ms(plain)


def documents() -> float:
    """The page network and its corners, against PoseNet at its own size."""
    inference = InferenceSettings(threads=2, probe=False)
    model = Model(ModelSettings(path="documents"), inference)
    frame = Frame(render(3_000_000, 256, 256).image, 0, 0.0, 0.0, file="")

    def work() -> None:
        staged = model.preprocess(frame, model.buffer())
        model.decode(model.invoke(staged), staged, frame, DecodeOptions())

    yardstick = Model(ModelSettings(path="posenet-int8"), inference)
    return median_cpu_ms(work, 32) / median_cpu_ms(yardstick.interpreter.invoke, 32)


def teach() -> float:
    """A lesson of 300 pictures, against taking each through the backbone once."""
    sys.path.insert(0, str(TESTS))
    import gestures
    from click.testing import CliRunner

    from edgecam.cli.main import cli

    name = "posenet" if runtime.find().name == "ai-edge-litert" else "posenet-fp16"
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "all"
        gestures.write(pictures, 100, seed=8)
        command = ["teach", str(pictures), "-o", f"{folder}/g.tflite", "--backbone", name]
        began_s = time.process_time()
        done = CliRunner().invoke(cli, [*command, "--input-size", "257x257"])
        taught_s = time.process_time() - began_s
    if done.exit_code:
        raise SystemExit(f"bench --check: teach failed: {done.output}")
    backbone = runtime.find().interpreter(
        model_content=graft.features(find(read(bundled.resolve(name))), (257, 257)), num_threads=1
    )
    backbone.allocate_tensors()
    began_s = time.process_time()
    for _ in range(300):
        backbone.invoke()
    return taught_s / (time.process_time() - began_s)
