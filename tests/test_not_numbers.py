"""A model that returns NaN or infinity has failed: it does not mean an empty room."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from brokers import Mosquitto, Subscriber, wait_until
from daemons import LOOPED, Daemon
from programs import CLIP, ROOT, edgecam, error_line
from spoilt import spoilt

from edgecam.api import Predictor
from edgecam.core.errors import ModelError
from edgecam.inference.interpreter import is_finite
from edgecam.inference.model import Model, ModelImage
from edgecam.settings.schema import InferenceSettings, ModelSettings

NAN, INF = float("nan"), float("inf")
SAID = "found NaN or infinity"
CLASSIFIER = ROOT / "tests" / "data" / "models" / "fails_on_bright.tflite"


def invoked(path: Path) -> None:
    model = Model(ModelSettings(path=str(path)), InferenceSettings(probe=False, threads=1))
    picture = model.buffer()
    picture[:] = 100
    # What an invoke needs of a staged frame is its picture.
    model.invoke(ModelImage(picture, None))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ["posenet-fp16", "posenet", "ssdlite"])
def test_what_is_no_number_is_a_failure(tmp_path: Path, name: str, value: float) -> None:
    """Of an SSD in front of the op that finds no box then, and returns numbers."""
    with pytest.raises(ModelError, match=f"{SAID}, on xnnpack; try --delegate cpu"):
        invoked(spoilt(name, tmp_path, value))


def test_an_edge_map_that_is_no_number_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=SAID):
        invoked(spoilt("documents", tmp_path, NAN))
    # A sigmoid makes numbers of infinity: 0 or 1.
    invoked(spoilt("documents", tmp_path, INF))


def test_a_class_that_is_no_number_is_a_failure(tmp_path: Path) -> None:
    data, scores = CLASSIFIER.read_bytes(), np.array([0.7, 0.2, 0.1], np.float32).tobytes()
    assert data.count(scores) == 1
    path = tmp_path / "classes.tflite"
    path.write_bytes(data.replace(scores, np.full(3, NAN, np.float32).tobytes()))
    with pytest.raises(ModelError, match=SAID):
        invoked(path)


def test_a_scale_that_makes_no_numbers_is_refused() -> None:
    """The runtime itself crashes with some; the probe's child is there for that."""
    from edgecam.core.tensors import TensorInfo
    from edgecam.inference.interpreter import _check_scales

    def tensor(dtype: type, scale: float | None) -> TensorInfo:
        return TensorInfo(0, "scores", (1, 3), np.dtype(dtype), scale, 0)

    _check_scales("x", [tensor(np.uint8, 0.5), tensor(np.float32, None), tensor(np.int8, 1e30)])
    for dtype, scale in ((np.uint8, NAN), (np.int8, INF), (np.int16, 1e36), (np.int8, -INF)):
        with pytest.raises(ModelError, match=r"x: expected a scale of numbers .* 'scores'"):
            _check_scales("x", [tensor(dtype, scale)])


def test_only_floats_can_be_no_numbers() -> None:
    assert is_finite(np.array([0, 255], np.uint8))
    assert is_finite(np.array([3e38, 3e38], np.float32))
    assert is_finite(np.array([65504.0, 65504.0], np.float16))
    assert is_finite(np.empty((1, 0, 4), np.float32))
    for dtype in (np.float16, np.float32, np.float64):
        for value in (NAN, INF, -INF):
            assert not is_finite(np.array([1.0, value, 0.0], dtype))
    assert not is_finite(np.array([INF, -INF], np.float32))


def test_a_recording_with_such_a_model_alone_ends_with_the_reason(tmp_path: Path) -> None:
    model = spoilt("posenet-fp16", tmp_path, NAN)
    done = edgecam("--model", model, "--source", CLIP, "--jsonl", "-")
    assert SAID in error_line(done)
    assert done.stdout == ""


def test_a_recording_goes_on_with_the_other_model(tmp_path: Path) -> None:
    models = ("-m", "posenet:input_size=129x161", "-m", spoilt("ssdlite", tmp_path, NAN))
    done = edgecam(*models, "--source", CLIP, "--max-frames", "20", "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == 20
    assert all("ssdlite" not in result["model"] for result in results)
    assert done.stderr.count(SAID) == 1


def test_a_finder_raises(tmp_path: Path) -> None:
    finder = Predictor(str(spoilt("posenet-fp16", tmp_path, INF)))
    with pytest.raises(ModelError, match=SAID):
        finder(np.zeros((100, 100, 3), np.uint8))


@pytest.fixture
def camera(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Callable[..., Daemon]]:
    """A live camera, with the models that are given."""
    started: list[Daemon] = []

    def start(*models: object) -> Daemon:
        options = [part for model in models for part in ("-m", model)]
        broker = ("--broker", mosquitto.url, "--threads", "1")
        started.append(Daemon(tmp_path, *options, *LOOPED, *broker))
        return started[-1]

    yield start
    for process in started:
        process.close()


def test_a_camera_counts_it_says_it_once_and_tries_it_again(
    camera: Callable[..., Daemon], subscriber: Subscriber, tmp_path: Path
) -> None:
    running = camera("posenet:input_size=129x161", spoilt("ssdlite", tmp_path, NAN))
    running.wait_ready()

    def failures() -> int:
        report = json.loads(subscriber.last("edgecam/camera/telemetry") or b'{"models": []}')
        return int(report["models"][1]["failures"]) if report["models"] else 0

    # After 1 s and after 2 s more: it is not asked for every frame.
    assert wait_until(lambda: failures() >= 3, 60), running.log
    report = json.loads(subscriber.last("edgecam/camera/telemetry") or b"{}")
    assert report["models"][0]["failures"] == 0
    assert report["models"][1]["state"] == "failed"
    assert SAID in report["models"][1]["reason"]
    assert failures() < len(subscriber.of("edgecam/camera/result"))
    assert running.log.count(SAID) == 1
    assert running.stop()[0] == 0
