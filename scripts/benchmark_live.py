"""How old a live frame is when it is inferred and when it is published, for benchmarks.py."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from live_ages import Camera, run

from edgecam.inference.model import Model
from edgecam.pipeline.meter import quantile
from edgecam.settings.schema import InferenceSettings, ModelSettings

# At this size one thread manages some two frames a second.
SLOW = ("posenet_mobilenet_v1_075_fp16", "1601x1601")


def live(add: Callable[..., None]) -> None:
    """A 30 Hz camera and a model that keeps up; a 25 Hz one and a model that does not."""
    inference = InferenceSettings(threads=1, probe=False)
    model = Model(ModelSettings(path="posenet-int8", input_size="257x257"), inference)
    camera = Camera(30.0)
    _, ages = run(model, camera, 240)
    allowed_ms = camera.period_s * 1e3 + 1.3 * statistics.median(ages.invoke_ms)
    about = {"model": model.name, "input": "257x257", "threads": 1}
    add("capture to publish p95, 30 Hz", quantile(sorted(ages.published_ms), 0.95), "ms", **about)
    add("a period and 1.3 invokes", allowed_ms, "ms", "allowed", **about)
    name, size = SLOW
    model = Model(ModelSettings(path=name, input_size=size), inference)
    pipeline, ages = run(model, Camera(25.0), 40)
    about.update(model=model.name, input=size)
    add("invoke", statistics.median(ages.invoke_ms), "ms", **about)
    add("age at inference p99, 25 Hz", quantile(sorted(pipeline.begun_ms[1:]), 0.99), "ms", **about)
    add(
        "memory grown over 30 frames",
        (ages.rss_bytes[-1] - ages.rss_bytes[10]) / 1e6,
        "MB",
        **about,
    )
