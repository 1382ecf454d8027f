"""Several cameras in one process, with a real broker and real servers that break."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber, retained, wait_until
from daemons import Daemon
from programs import CLIP, edgecam, error_line
from test_spool import keys, rows

from tests.servers import Server

SYSTEM_PYTHON = "/usr/bin/python3"
HEAD = 'accuracy = "fast"\n[inference]\nthreads = 1\n[telemetry]\ninterval_s = 1\n'
FILE = f'source = {{url = "{CLIP}", realtime = true, loop = true}}'
ABSENT = 'source = "http://127.0.0.1:9/stream"'


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def subscriber(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    found = Subscriber(mosquitto.port).ready()
    yield found
    found.close()


def write(folder: Path, broker: Mosquitto, **cameras: str) -> Path:
    tables = (f'[[camera]]\nname = "{name}"\n{text}\n' for name, text in cameras.items())
    path = folder / "house.toml"
    path.write_text(f'{HEAD}[mqtt]\nurl = "{broker.url}"\n' + "".join(tables))
    return path


def state_of(subscriber: Subscriber, name: str) -> str:
    payload = subscriber.last(f"edgecam/{name}/telemetry")
    return "" if payload is None else str(json.loads(payload)["source"]["state"])


def results_of(subscriber: Subscriber, name: str) -> int:
    return len(subscriber.of(f"edgecam/{name}/result"))


def wait_for_more(subscriber: Subscriber, name: str) -> None:
    wanted = results_of(subscriber, name) + 3
    assert wait_until(lambda: results_of(subscriber, name) >= wanted, 20.0), name


def rtsp() -> Server:
    probe = [SYSTEM_PYTHON, "-c", "import gi; gi.require_version('GstRtspServer', '1.0')"]
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("GStreamer's RTSP server is not installed (gir1.2-gst-rtsp-server-1.0)")
    return Server("rtsp.py", python=SYSTEM_PYTHON)


def test_four_cameras_of_real_servers_live_through_faults_of_one(
    tmp_path: Path, mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    with rtsp() as stream, Server("mjpeg.py") as camera:
        path = write(
            tmp_path,
            mosquitto,
            front=f'source = "rtsp://127.0.0.1:{stream.port}/h264"',
            hall=f'source = "http://127.0.0.1:{camera.port}/stream"',
            yard=FILE,
            attic=ABSENT,
        )
        daemon = Daemon(tmp_path, "--config", path)
        try:
            daemon.wait_ready()
            for name in ("front", "hall", "yard"):
                wait_for_more(subscriber, name)
            assert wait_until(lambda: state_of(subscriber, "attic") == "offline")
            for fault in ("stall", "garbage", "small"):
                camera.tell(fault)
                for name in ("front", "yard"):
                    wait_for_more(subscriber, name)
            camera.tell("mute")
            assert wait_until(lambda: state_of(subscriber, "hall") == "offline", 20.0)
            wait_for_more(subscriber, "front")
            camera.tell("good")
            wait_for_more(subscriber, "hall")
            answers = edgecam("status", "--json", XDG_RUNTIME_DIR=str(tmp_path))
            (status,) = json.loads(answers.stdout)
            assert status["name"] == "house"
            names = ["front", "hall", "yard", "attic"]
            assert [each["name"] for each in status["cameras"]] == names
            assert answers.returncode == 1
            assert any("attic: source offline" in fault for fault in status["faults"])
            assert edgecam("status", "yard", XDG_RUNTIME_DIR=str(tmp_path)).returncode == 0
            board = json.loads(subscriber.wait_for("edgecam/house/telemetry")[-1].payload)
            assert board["cameras"] == names
            assert daemon.stop()[0] == 0
        finally:
            daemon.close()
    assert subscriber.last("edgecam/house/availability") == b"offline"
    assert subscriber.last("edgecam/yard/availability") == b"offline"


def test_one_will_tells_of_all_and_home_assistant_watches_both(
    tmp_path: Path, mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    daemon = Daemon(tmp_path, "--config", write(tmp_path, mosquitto, front=FILE, hall=ABSENT))
    try:
        daemon.wait_ready()
        assert wait_until(lambda: subscriber.last("edgecam/house/availability") == b"online", 20.0)
        # One connection: one client that says online, of each camera and of the process.
        assert subscriber.last("edgecam/front/availability") == b"online"
        assert subscriber.last("edgecam/hall/availability") == b"online"
        wait_for_more(subscriber, "front")
        discovered = {
            topic: json.loads(payload)
            for topic, payload in retained(mosquitto.port, "homeassistant/#").items()
        }
        occupancy = discovered["homeassistant/binary_sensor/edgecam_front/person_occupancy/config"]
        assert [each["topic"] for each in occupancy["availability"]] == [
            "edgecam/house/availability",
            "edgecam/front/availability",
            "edgecam/front/source",
        ]
        assert occupancy["availability_mode"] == "all"
        assert occupancy["device"]["via_device"] == "edgecam_house"
        board = discovered["homeassistant/binary_sensor/edgecam_house/stream_problem/config"]
        assert board["device"]["identifiers"] == ["edgecam_house"]
        assert [each["topic"] for each in board["availability"]] == ["edgecam/house/availability"]
        daemon.process.kill()
        assert wait_until(lambda: subscriber.last("edgecam/house/availability") == b"offline", 30.0)
        assert subscriber.last("edgecam/front/availability") == b"online"
        found = edgecam("top", "--once", "--json", "--broker", mosquitto.url)
        rows = {row["name"]: row["state"] for row in json.loads(found.stdout)}
        assert (rows["house"], rows["front"], rows["hall"]) == ("offline",) * 3
    finally:
        daemon.close()


def test_a_reload_adds_a_camera_on_the_connection_that_there_is_and_a_taken_name_is_refused(
    tmp_path: Path, mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    daemon = Daemon(tmp_path, "--config", write(tmp_path, mosquitto, front=FILE, hall=ABSENT))
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    other = Daemon(
        elsewhere,
        *("--name", "cellar", "--source", "http://127.0.0.1:9/", "--wait-for-source"),
        *("--accuracy", "fast", "--broker", mosquitto.url),
    )
    try:
        daemon.wait_ready()
        other.wait_ready()
        assert wait_until(lambda: subscriber.last("edgecam/cellar/availability") == b"online", 20.0)
        wait_for_more(subscriber, "front")
        write(tmp_path, mosquitto, front=FILE, yard=FILE, cellar=ABSENT)
        daemon.send(signal.SIGHUP)
        daemon.wait_log("does not start camera cellar", 60.0)
        daemon.wait_log("another edgecam has the name cellar", 60.0)
        wait_for_more(subscriber, "yard")
        wait_for_more(subscriber, "front")
        assert subscriber.last("edgecam/hall/availability") == b"offline"
        # The camera that ran on was never away, and never began again.
        assert {each.payload for each in subscriber.of("edgecam/front/availability")} == {b"online"}
        boots = {
            json.loads(each.payload)["boot_id"] for each in subscriber.of("edgecam/front/telemetry")
        }
        assert len(boots) == 1
        assert daemon.stop()[0] == 0
    finally:
        daemon.close()
        other.close()


STAYS = """spool_after_s = 1
[[zone]]
name = "picture"
polygon = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
dwell_s = 0.7
"""


def test_killed_with_events_that_wait_each_cameras_arrive_once(tmp_path: Path) -> None:
    """One spool keeps the events of all; people stay in the picture of a looped clip."""
    broker, state = Mosquitto(tmp_path), tmp_path / "state"
    config = tmp_path / "house.toml"
    tables = (f'[[camera]]\nname = "{name}"\n{FILE}\n' for name in ("front", "hall"))
    config.write_text(f'{HEAD}[mqtt]\nurl = "{broker.url}"\n{STAYS}' + "".join(tables))
    spool = state / "edgecam" / "house" / "house.spool"
    daemons = []
    try:
        for folder in (tmp_path / "one", tmp_path / "two"):
            folder.mkdir()
        arguments = ("--config", config)
        daemons.append(Daemon(tmp_path / "one", *arguments, XDG_STATE_HOME=str(state)))

        def kept() -> list[tuple[str, str, int]]:
            found = map(json.loads, rows(spool))
            return [(each["name"], each["boot_id"], each["sequence"]) for each in found]

        assert wait_until(lambda: {name for name, *_ in kept()} == {"front", "hall"}, 120.0), (
            daemons[0].log
        )
        daemons[0].send(signal.SIGKILL)
        daemons[0].process.wait()
        left = kept()
        broker.start()
        subscriber = Subscriber(broker.port).ready()
        daemons.append(Daemon(tmp_path / "two", *arguments, XDG_STATE_HOME=str(state)))
        for name in ("front", "hall"):
            expected = [(boot, sequence) for owner, boot, sequence in left if owner == name]
            topic = f"edgecam/{name}/event"
            assert wait_until(lambda e=expected, t=topic: set(e) <= set(keys(subscriber.of(t))), 90)
            assert [key for key in keys(subscriber.of(topic)) if key in expected] == expected
        daemons[1].stop()
        # What went out once is not sent again at the end.
        for name in ("front", "hall"):
            found = keys(subscriber.of(f"edgecam/{name}/event"))
            assert len(set(found)) == len(found)
        subscriber.close()
    finally:
        for daemon in daemons:
            daemon.close()
        broker.kill()


def test_cameras_that_cannot_be_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "house.toml"
    path.write_text(
        '[[model]]\npath = "posenet"\n[[camera]]\nname = "front"\nsource = 0\n'
        '[[camera]]\nname = "hall"\nsource = 1\nmodels = ["nanodet"]\n'
    )
    done = edgecam("--config", path)
    assert done.returncode != 0
    assert "camera hall: models: expected those that a [[model]] defines" in error_line(done)
