"""What a daemon that watches a camera costs, and how old its frames get, for benchmark_bars.py."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

import benchmark_many  # noqa: E402
import live_ages  # noqa: E402
import web_costs  # noqa: E402

from edgecam.inference.model import Model  # noqa: E402
from edgecam.pipeline.meter import quantile  # noqa: E402
from edgecam.settings.schema import InferenceSettings, ModelSettings, MqttSettings  # noqa: E402
from edgecam.sinks.mqtt.sink import MqttSink  # noqa: E402

ONE_THREAD = InferenceSettings(threads=1, probe=False)
IDLE_S = 3.0


def age_published() -> float:
    """From capture to publish, the 95th percentile, where the model keeps up with 30 Hz."""
    model = Model(ModelSettings(path="posenet-int8", input_size="257x257"), ONE_THREAD)
    camera = live_ages.Camera(30.0)
    _, ages = live_ages.run(model, camera, frames=90)
    allowed_ms = camera.period_s * 1e3 + 1.3 * statistics.median(ages.invoke_ms)
    return quantile(sorted(ages.published_ms), 0.95) / allowed_ms


def age_inferred() -> float:
    """How old frames are when their inference begins, the 99th percentile, of a slow model."""
    model = Model(ModelSettings(path="posenet-int8", input_size="1153x1153"), ONE_THREAD)
    camera = live_ages.Camera(25.0)
    pipeline, _ = live_ages.run(model, camera, frames=40)
    return quantile(sorted(pipeline.begun_ms[1:]), 0.99) / (camera.period_s * 1e3)


def viewer() -> float:
    """Processor time that one viewer adds, beside a model that has time left."""
    with (
        tempfile.TemporaryDirectory() as folder,
        web_costs.watched(Path(folder), web_costs.IDLE) as both,
    ):
        cost = web_costs.viewer(*both, turns=4, turn_s=2.0)
    return cost.more_cpu_ms / cost.without_cpu_ms


def attack() -> float:
    """Processor time that slow and stalled clients add until they are cut off."""
    with (
        tempfile.TemporaryDirectory() as folder,
        web_costs.watched(Path(folder), web_costs.IDLE) as both,
    ):
        cost = web_costs.attack(*both, turns=1, turn_s=2.5)
    return cost.more_cpu_ms / cost.without_cpu_ms


def viewer_on_busy() -> float:
    """Results a second with a viewer over those without, where the model takes every core."""
    with (
        tempfile.TemporaryDirectory() as folder,
        web_costs.watched(Path(folder), web_costs.BUSY) as both,
    ):
        return web_costs.viewer(*both, turns=12, turn_s=2.0).ratio


def idle_connection() -> float:
    """Processor time of a connection with nothing to say, over a thread that only computes."""
    with tempfile.TemporaryDirectory() as folder, benchmark_many.mosquitto(Path(folder)) as found:
        sink = MqttSink(MqttSettings(url=f"mqtt://127.0.0.1:{found[0]}"), "front", "b", {})
        try:
            if not sink.wait_connected(30.0):
                raise SystemExit("bench --check: the sink finds no broker")
            time.sleep(0.5)
            began_s = time.process_time()
            time.sleep(IDLE_S)
            idle_s = time.process_time() - began_s
        finally:
            sink.close(0.5)
    began_s, until_s = time.process_time(), time.monotonic() + 1.0
    while time.monotonic() < until_s:
        pass
    return (idle_s / IDLE_S) / (time.process_time() - began_s)


def fleet_broker() -> float:
    """What mosquitto takes for 200 cameras with five results and events a second each."""
    found = benchmark_many.fleet(200, rate_hz=5.0, seconds=20.0)
    return float(found["broker_cpu_percent"])
