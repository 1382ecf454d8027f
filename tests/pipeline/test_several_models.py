"""Several models on one camera: each at its own rate, and one that fails stops no other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brokers import Mosquitto, Subscriber, wait_until
from daemons import Daemon
from programs import CLIP, ROOT, edgecam, error_line

from edgecam.core.errors import SettingsError
from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.core.result import Box, Decoded, Detection, Pose, Result
from edgecam.pipeline.schedule import ModelSchedule
from edgecam.settings.load import load
from edgecam.sinks.render.last_found import LastFound

POSENET = "posenet:input_size=129x161"
FAILING = ROOT / "tests" / "data" / "models" / "fails_on_bright.tflite"
# The frames of the bundled clip that a model at 2 Hz looks at: it has 10 a second.
DARK, BRIGHT = 20, 235


def lines(*arguments: object, threads: int = 1) -> list[dict[str, Any]]:
    done = edgecam(*arguments, "--threads", threads, "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """A folder of pictures, each as bright as asked."""

    def make(*levels: int) -> Path:
        folder = tmp_path / "pictures"
        folder.mkdir()
        for number, level in enumerate(levels):
            cv2.imwrite(str(folder / f"{number:04}.png"), np.full((64, 64, 3), level, np.uint8))
        return folder

    return make


def test_a_recordings_rates_go_by_its_own_clock_whatever_the_threads() -> None:
    models = ("-m", POSENET, "-m", "ssdlite:rate_hz=2")
    one, two = (lines(*models, "-s", CLIP, threads=threads) for threads in (1, 2))
    assert one == two
    both = [each["media_time_s"] for each in one if "+" in each["model"]]
    assert len(one) > 50
    assert all(name.startswith("posenet") for name in (each["model"] for each in one))
    assert both[0] == 0.0
    gaps = np.diff(both)
    period_s = np.diff([each["media_time_s"] for each in one]).min()
    assert len(both) >= 3
    assert np.all(np.abs(gaps - 0.5) <= period_s + 0.001)
    assert both[-1] == pytest.approx(0.5 * (len(both) - 1), abs=2 * period_s)


def test_frames_that_no_model_looks_at_give_no_result() -> None:
    slow = f"{POSENET}:rate_hz=2"
    few = {threads: lines("-m", slow, "-s", CLIP, threads=threads) for threads in (1, 2)}
    assert few[1] == few[2]
    every = lines("-m", POSENET, "-s", CLIP)
    times = {each["media_time_s"] for each in few[1]}
    assert len(every) / len(few[1]) == pytest.approx(
        0.5 / np.diff([each["media_time_s"] for each in every]).min(), rel=0.2
    )
    poses = {each["media_time_s"]: len(each["poses"]) for each in every}
    assert sum(len(each["poses"]) for each in few[1]) == sum(poses[at_s] for at_s in times)


def frame(number: int, at_s: float) -> Frame:
    return Frame(np.zeros((4, 4, 3), np.uint8), number, at_s, 0.0)


class Rated:
    def __init__(self, name: str, rate_hz: float | None) -> None:
        self.name, self.rate_hz, self.refines = name, rate_hz, False


def test_a_turn_that_was_overtaken_is_not_lost() -> None:
    """Two frames are prepared for the slow model; the second of them is the one it sees."""
    turns = ModelSchedule([Rated("fast", None), Rated("slow", 1.0)], live=True)
    assert turns.may(frame(0, 0.0)) == (True, True)
    assert turns.may(frame(1, 0.1)) == (True, True)
    assert turns.take(frame(1, 0.1)) == (True, True)
    assert turns.may(frame(2, 0.2)) == (True, False)
    assert turns.take(frame(2, 0.2)) == (True, False)
    assert turns.take(frame(9, 1.1)) == (True, True)


def test_what_a_slow_model_found_stands_on_the_screen_until_it_looks_again() -> None:
    standing = LastFound()
    box = Decoded(detections=(Detection("dog", 0, 0.9, Box(0.0, 0.0, 1.0, 1.0)),))

    def shown(at_s: float, **parts: Decoded) -> set[str]:
        return set(standing(Result(frame(0, at_s), parts)).by_model)

    assert shown(0.0, fast=Decoded(), slow=box) == {"fast", "slow"}
    assert shown(0.1, fast=Decoded()) == {"fast", "slow"}
    assert shown(0.5, fast=Decoded(), slow=Decoded()) == {"fast", "slow"}
    # It looks every 0.5 s; two and a half of them later it has failed, or is gone.
    assert shown(1.7, fast=Decoded()) == {"fast", "slow"}
    assert shown(1.8, fast=Decoded()) == {"fast"}
    other = replace(frame(0, 1.75), camera="yard")
    assert set(standing(Result(other, {"fast": Decoded()})).by_model) == {"fast"}


def test_what_an_earlier_look_found_moves_with_its_track_and_is_marked() -> None:
    standing = LastFound()

    def walker(x: float) -> Decoded:
        return Decoded(detections=(Detection("person", 0, 0.9, Box(x, 0.0, x + 4.0, 8.0), 7),))

    def shown(at_s: float, **parts: Decoded) -> Result:
        return standing(Result(frame(0, at_s), parts))

    first = shown(0.0, fast=Decoded(), slow=walker(0.0))
    assert (first.stale, first.stale_detections) == (frozenset(), frozenset())
    # Before a second look there is no speed to go by.
    assert shown(0.2, fast=Decoded()).detections[0].box.x_min == 0.0
    assert not shown(0.5, fast=Decoded(), slow=walker(10.0)).stale
    later = shown(0.75, fast=Decoded())
    assert (later.stale, later.stale_detections) == ({"slow"}, {0})
    assert later.detections[0].box == Box(15.0, 0.0, 19.0, 8.0)
    # Not further than it came between two looks.
    assert shown(1.5, fast=Decoded()).detections[0].box.x_min == 20.0


def test_a_pose_that_an_earlier_look_found_moves_with_its_track_and_is_marked() -> None:
    standing = LastFound()

    def walker(x: float) -> Decoded:
        steps = np.arange(17.0)[:, None]
        return Decoded(poses=(Pose(0.9, np.hstack((x + steps, steps)), np.ones(17), 7),))

    def shown(at_s: float, **parts: Decoded) -> Result:
        return standing(Result(frame(0, at_s), parts))

    assert not shown(0.0, fast=Decoded(), slow=walker(0.0)).stale_poses
    assert not shown(0.5, fast=Decoded(), slow=walker(10.0)).stale_poses
    later = shown(0.75, fast=Decoded())
    assert later.stale_poses == {0}
    assert later.poses[0].xy[3].tolist() == [18.0, 3.0]


def flags(*models: str, **others: Any) -> list[Any]:
    return list(load(None, {}, {"model.path": models, **others}, {"model.path": "--model"}).model)


def test_settings_of_one_model_on_the_command_line() -> None:
    first, second = flags("posenet", "ssd.tflite:rate_hz=0.5:fit=stretch")
    assert (first.path, first.rate_hz) == ("posenet", None)
    assert (second.path, second.rate_hz, second.fit) == ("ssd.tflite", 0.5, "stretch")
    first, second = flags("a:rate_hz=3", "b", **{"model.rate_hz": "1"})
    assert (first.rate_hz, second.rate_hz) == (3.0, 1.0)
    (odd,) = flags("/models:old/a=b.tflite")
    assert odd.path == "/models:old/a=b.tflite"
    found = load(None, {"EDGECAM_MODEL": "posenet,ssd:rate_hz=2"}, {}).model
    assert [(each.path, each.rate_hz) for each in found] == [("posenet", None), ("ssd", 2.0)]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("a:rate=2", "--model: unknown key 'rate' (did you mean 'model.rate_hz'?)"),
        ("a:rate_hz=0", "--model: model.rate_hz: Expected a number > 0.0"),
        ("a:rate_hz=often", "--model: model.rate_hz: "),
        ("a:path=b", "--model: unknown key 'path'"),
    ],
)
def test_a_bad_setting_of_one_model_is_named(model: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        flags(model)
    assert str(caught.value).startswith(says)


def test_a_model_that_fails_is_left_out_of_that_picture(pictures: Callable[..., Path]) -> None:
    folder = pictures(DARK, BRIGHT, DARK, BRIGHT, BRIGHT, DARK)
    models = ("-m", POSENET, "-m", FAILING)
    done = {threads: lines(*models, "-s", folder, threads=threads) for threads in (1, 2)}
    assert done[1] == done[2]
    with_it = ["fails_on_bright" in each["model"] for each in done[1]]
    assert with_it == [True, False, True, False, False, True]
    assert all(each["model"].startswith("posenet") for each in done[1])


def test_where_no_model_is_left_the_run_ends_in_one_line(pictures: Callable[..., Path]) -> None:
    done = edgecam("-m", FAILING, "-s", pictures(DARK, BRIGHT), "--jsonl", "-")
    assert "invoke failed: gather index out of bounds" in error_line(done)
    assert len(done.stdout.splitlines()) <= 1


def test_a_model_that_does_not_load_is_refused_at_the_start(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(FAILING.read_bytes()[:900])
    done = edgecam("-m", POSENET, "-m", damaged, "-s", CLIP, "--jsonl", "-")
    assert str(damaged) in error_line(done)
    assert not done.stdout


@pytest.fixture
def camera(tmp_path: Path, mosquitto: Mosquitto, pictures: Callable[..., Path]) -> Iterator[Daemon]:
    """A live camera: dark for 2 s, bright for 4 s, in turn."""
    folder = pictures(*[DARK] * 20, *[BRIGHT] * 40)
    daemon = Daemon(
        tmp_path,
        *("-m", POSENET, "-m", FAILING, "--threads", "1", "--broker", mosquitto.url),
        *("--source", folder, "--realtime", "--loop"),
        EDGECAM_SOURCE_RATE_HZ="10",
    )
    yield daemon
    daemon.close()


def test_a_live_camera_goes_on_without_the_model_that_fails_and_tries_it_again(
    camera: Daemon, subscriber: Subscriber, tmp_path: Path
) -> None:
    camera.wait_ready()

    def model() -> dict[str, Any]:
        report = subscriber.last("edgecam/camera/telemetry")
        return dict(json.loads(report)["models"][1]) if report else {}

    assert wait_until(lambda: model().get("state") == "failed", 15)
    assert "invoke failed: gather" in model()["reason"]
    assert wait_until(lambda: "gather index" in camera.supervisor.last_status(), 2)
    shown = edgecam("status", XDG_RUNTIME_DIR=str(tmp_path))
    assert shown.returncode == 1
    assert "degraded: model" in shown.stdout
    assert "gather index out of bounds" in shown.stdout
    before = len(subscriber.of("edgecam/camera/result"))
    subscriber.wait_for("edgecam/camera/result", before + 5)
    failures = model()["failures"]
    # In 4 s of brightness it is tried at once, after 1 and after 2 s more, not 40 times.
    assert 1 <= failures <= 8
    assert wait_until(lambda: model().get("state") == "running", 15)
    assert "works again" in camera.log
    results = [json.loads(each.payload) for each in subscriber.of("edgecam/camera/result")]
    assert any("fails_on_bright" in each["model"] for each in results[-20:])
    assert camera.stop()[0] == 0


def test_the_slow_model_of_a_busy_camera_has_its_rate(
    tmp_path: Path, mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    """By the frames' own times: the fast model may take more than a frame's time."""
    daemon = Daemon(
        tmp_path,
        *("-m", "posenet", "-m", f"{FAILING}:rate_hz=2", "--threads", "1"),
        *("--source", CLIP, "--realtime", "--loop", "--broker", mosquitto.url),
    )
    try:
        daemon.wait_ready()
        topic = "edgecam/camera/result"
        found = [json.loads(each.payload) for each in subscriber.wait_for(topic, 60, 40)]
        report = json.loads(subscriber.wait_for("edgecam/camera/telemetry")[-1].payload)
        assert [each["rate_hz"] for each in report["models"]] == [None, 2.0]
    finally:
        daemon.close()
    looks = [n for n, each in enumerate(found) if "+" in each["model"]]
    assert len(looks) >= 3
    times = [each["time_unix_s"] for each in found]
    assert times == sorted(times)
    for here, there in itertools.pairwise(looks):
        # Not sooner, and the first frame that is due: a turn after a late one may come sooner.
        assert times[there] - times[here] > 0.19
        assert times[there - 1] - times[here] < 0.51
