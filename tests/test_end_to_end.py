"""The main job: a real clip through a real model over a real broker to a real subscriber."""

import json
import shutil
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from brokers import Mosquitto, wait_until
from programs import CLIP, edgecam, environment, start

from edgecam.messages.result import ResultMessage
from edgecam.messages.telemetry import Telemetry

FRAMES = 30


@pytest.fixture
def heard(mosquitto: Mosquitto, tmp_path: Path) -> list[str]:
    """Lines that Debian's own ``mosquitto_sub`` prints, topic and payload."""
    command = shutil.which("mosquitto_sub")
    if command is None:
        pytest.skip("mosquitto_sub is not installed (Debian: apt install mosquitto-clients)")
    path = tmp_path / "heard"
    with path.open("wb") as output:
        # Not a pipe: it would be full before anybody reads it. Line by line: nothing is lost.
        listener = subprocess.Popen(
            ["stdbuf", "-oL", command, "-p", str(mosquitto.port), "-t", "edgecam/#", "-v"],
            stdout=output,
        )
    time.sleep(0.5)
    done = edgecam(
        *("--model", "posenet", "--source", CLIP, "--broker", mosquitto.url),
        *("--name", "front", "--max-frames", FRAMES),
    )
    assert done.returncode == 0, done.stderr
    time.sleep(0.5)
    listener.terminate()
    listener.wait(120)
    return path.read_text().splitlines()


def test_mosquitto_sub_sees_availability_results_telemetry_and_counts(heard: list[str]) -> None:
    by_topic: dict[str, list[str]] = {}
    for line in heard:
        topic, _, payload = line.partition(" ")
        by_topic.setdefault(topic, []).append(payload)
    assert by_topic["edgecam/front/availability"] == ["online", "offline"]
    results = [
        msgspec.json.decode(payload, type=ResultMessage)
        for payload in by_topic["edgecam/front/result"]
    ]
    assert [result.sequence for result in results] == list(range(FRAMES))
    assert min(len(result.poses) for result in results) >= 1
    counts = [int(payload) for payload in by_topic["edgecam/front/count/person"]]
    assert all(count != before for count, before in pairwise(counts))
    # Who is seen counts, and who was seen lately, wherever they rest or may come back.
    last = {pose.track for pose in results[-1].poses if pose.track}
    known = {pose.track for result in results for pose in result.poses if pose.track}
    assert 2 <= len(last) <= counts[-1] <= len(known)
    report = msgspec.json.decode(by_topic["edgecam/front/telemetry"][-1], type=Telemetry)
    assert report.dropped == 0
    assert report.fps.published is not None
    assert report.fps.published > 0
    assert report.invoke_ms is not None
    assert report.delegate in ("xnnpack", "cpu")


def test_a_clip_played_live_drops_frames_and_says_so() -> None:
    """Two models at once cannot keep up: the newest frame wins and the rest are counted."""
    done = edgecam(
        *("--model", "posenet", "--input-size", "705x961", "--threads", 1),
        *("--source", CLIP, "--realtime", "--jsonl", "-", "--max-frames", 8),
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    sequences = [line["sequence"] for line in lines]
    assert sequences == sorted(set(sequences))
    assert len(sequences) == 8


def test_sigterm_ends_a_live_run_cleanly(mosquitto: Mosquitto) -> None:
    listener_topic = "edgecam/camera/availability"
    from brokers import Subscriber

    everything = Subscriber(mosquitto.port).ready()
    running = start(
        *("--model", "posenet", "--source", CLIP, "--realtime", "--broker", mosquitto.url)
    )
    try:
        assert wait_until(lambda: everything.last("edgecam/camera/result"), 30)
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 0, errors
    assert "Traceback" not in errors
    assert wait_until(lambda: everything.last(listener_topic) == b"offline", 5)
    everything.close()


def test_several_models_share_each_frame() -> None:
    done = edgecam(
        *("replay", CLIP, "--model", "posenet", "--model", "ssdlite", "--max-frames", 5),
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        message = json.loads(line)
        first, second = message["model"].split("+")
        assert {pose["model"] for pose in message["poses"]} == {first}
        assert {found["model"] for found in message["detections"]} == {second}
        assert "person" in {found["label"] for found in message["detections"]}


def test_a_status_line_is_shown_on_a_terminal_only() -> None:
    quiet = edgecam("replay", CLIP, "--model", "posenet", "--max-frames", 2)
    assert "\r" not in quiet.stderr
    script = shutil.which("script")
    if script is None:
        pytest.skip("util-linux's script is not installed")
    import sys

    command = f"{sys.executable} -m edgecam --model posenet --source {CLIP} --realtime"
    shown = subprocess.run(
        [script, "-qec", f"{command} --max-frames 15", "/dev/null"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(TERM="xterm", COLUMNS="100"),
        check=False,
    )
    assert shown.returncode == 0, shown.stdout
    assert " fps  invoke " in shown.stdout
