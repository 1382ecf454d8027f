"""Readiness, watchdog and signals, on real processes with a real notification socket."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber, free_port, wait_until
from daemons import LOOPED, MODEL, Daemon, delegate_library
from programs import ROOT

from tests.servers import Server

WATCHDOG_S = 2.0
WATCHDOG = {"WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons; they are killed with the test."""
    started: list[Daemon] = []

    def start(*arguments: object, **variables: str) -> Daemon:
        folder = tmp_path / f"daemon{len(started)}"
        folder.mkdir()
        started.append(Daemon(folder, *arguments, **variables))
        return started[-1]

    yield start
    for process in started:
        process.close()


def keeps_feeding(running: Daemon) -> None:
    """Fail where the watchdog is not fed again and again."""
    fed = len(running.supervisor.of("WATCHDOG=1"))
    assert wait_until(lambda: len(running.supervisor.of("WATCHDOG=1")) >= fed + 4, 15)


def starves(running: Daemon) -> None:
    """Fail where the watchdog is still fed."""
    time.sleep(WATCHDOG_S)  # what was on its way
    fed = len(running.supervisor.of("WATCHDOG=1"))
    time.sleep(2 * WATCHDOG_S)
    assert len(running.supervisor.of("WATCHDOG=1")) == fed


def test_it_says_when_it_is_ready_alive_and_stopping(daemon: Callable[..., Daemon]) -> None:
    running = daemon(*MODEL, *LOOPED, **WATCHDOG)
    running.wait_ready()
    keeps_feeding(running)
    assert "fps" in running.supervisor.last_status()
    assert "healthy" in running.supervisor.last_status()
    code, _ = running.stop()
    assert (code, running.supervisor.of("STOPPING=1") != []) == (0, True)


def test_a_lost_camera_and_broker_are_degraded_and_the_watchdog_is_fed(
    daemon: Callable[..., Daemon],
) -> None:
    running = daemon(
        *MODEL,
        *("--source", f"rtsp://127.0.0.1:{free_port()}/x", "--wait-for-source"),
        *("--broker", f"mqtt://127.0.0.1:{free_port()}"),
        **WATCHDOG,
    )
    running.wait_ready()
    keeps_feeding(running)
    status = running.supervisor.last_status()
    assert "source offline" in status
    assert "broker disconnected" in status
    assert running.stop()[0] == 0


def test_a_hung_invoke_stops_the_pings_and_still_ends_in_time(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    library = delegate_library(tmp_path)
    running = daemon(*MODEL, *LOOPED, "--delegate", f"{library}:take=all,hang_after=30", **WATCHDOG)
    running.wait_ready()
    running.wait_log("infer: no progress for 1 s")
    starves(running)
    assert running.stop()[0] == 0


# Put before edgecam by Python itself: the camera's reader hangs after 20 pictures.
HANGING_READER = """
import time
from edgecam.sources import mjpeg, supervised
supervised.STUCK_AFTER_S = 1.0
read, pictures = mjpeg.MjpegCapture.read, [0]
def hang(self):
    pictures[0] += 1
    time.sleep(1e6 if pictures[0] > 20 else 0)
    return read(self)
mjpeg.MjpegCapture.read = hang
"""


def test_a_hung_reader_of_a_camera_stops_the_pings(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING_READER)
    path = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with Server("mjpeg.py") as camera:
        url = f"http://127.0.0.1:{camera.port}/stream"
        running = daemon(*MODEL, "--source", url, **WATCHDOG, **path)
        running.wait_ready()
        running.wait_log("capture: no progress for 1 s", 40)
        starves(running)
        assert "capture makes no progress" in running.supervisor.last_status()
        assert "the reader hangs in a call" in running.supervisor.last_status()
        code, _ = running.stop()
        assert code == 0


def test_a_hung_reader_ends_a_process_that_watches_itself(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING_READER)
    path = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "EDGECAM_WATCHDOG_S": "2"}
    with Server("mjpeg.py") as camera:
        url = f"http://127.0.0.1:{camera.port}/stream"
        running = daemon(*MODEL, "--source", url, **path)
        running.wait_ready()
        assert running.process.wait(60) == 1
        assert "giving up, so that the service manager starts edgecam again" in running.log


def mute_server() -> socket.socket:
    """Accepts connections and never says a word."""
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_stop_waits_for_no_camera_that_opens(
    daemon: Callable[..., Daemon], scheme: str, waits: bool
) -> None:
    with mute_server() as camera, mute_server() as broker:
        running = daemon(
            *MODEL,
            *("--source", f"{scheme}://127.0.0.1:{camera.getsockname()[1]}/x"),
            *("--broker", f"mqtt://127.0.0.1:{broker.getsockname()[1]}"),
            *(["--wait-for-source"] if waits else []),
            EDGECAM_SOURCE_OPEN_TIMEOUT_S="1000",
        )
        camera.settimeout(120)
        connections = [camera.accept()]
        time.sleep(0.5)
        assert running.stop()[0] == 0, running.log
        assert "Traceback" not in running.log
        connections.clear()


def test_a_new_configuration_is_taken_and_a_bad_one_refused(
    daemon: Callable[..., Daemon], mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path
) -> None:
    config = tmp_path / "front.toml"
    body = (
        'name = "front"\n[model]\npath = "posenet"\n[source]\nurl = "{source}"\nloop = true\n'
        "realtime = true\n[inference]\nthreads = 1\n[decode]\nmin_pose_score = {score}\n"
        f'[mqtt]\nurl = "{mosquitto.url}"\n'
    )
    config.write_text(body.format(source=LOOPED[1], score=0.15))
    running = daemon("--config", config, **WATCHDOG)
    running.wait_ready()
    results = "edgecam/front/result"
    before = json.loads(subscriber.wait_for(results)[0].payload)

    config.write_text(body.format(source=LOOPED[1], score=7))
    running.send(signal.SIGHUP)
    running.wait_log("refused, the old one goes on: ")
    assert wait_until(lambda: "on the disk is refused: " in running.supervisor.last_status())
    assert "decode.min_pose_score" in running.log
    config.write_text(body.format(source="/nonexistent.mp4", score=0.2))
    running.send(signal.SIGHUP)
    running.wait_log("does not start, the old one goes on: /nonexistent.mp4")
    assert wait_until(lambda: "does not start: /nonex" in running.supervisor.last_status())
    seen = len(subscriber.of(results))
    subscriber.wait_for(results, seen + 5)

    config.write_text(body.format(source=LOOPED[1], score=1.0))
    running.send(signal.SIGHUP)
    assert wait_until(lambda: len(running.supervisor.of("READY=1")) == 3, 15), running.log
    assert len(running.supervisor.of("RELOADING=1")) == 2
    seen = len(subscriber.of(results))
    after = json.loads(subscriber.wait_for(results, seen + 5)[-1].payload)
    assert before["poses"]
    assert after["poses"] == []
    assert after["boot_id"] != before["boot_id"]
    assert wait_until(lambda: "healthy; " in running.supervisor.last_status())
    availability = [m.payload for m in subscriber.of("edgecam/front/availability")]
    assert availability == [b"online"], "the connection outlives a reload"
    keeps_feeding(running)
    assert running.stop()[0] == 0
    assert subscriber.wait_for("edgecam/front/availability", 2)[-1].payload == b"offline"
