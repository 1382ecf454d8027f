"""Pictures by MQTT 5 from a real mosquitto: what comes, what is refused, and who holds how much."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import bombs
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber, free_port, wait_until
from daemons import Daemon
from programs import CLIP, ROOT, edgecam, error_line, start

from edgecam.core.errors import EdgecamError
from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.core.rate_limit import MAX_CAMERAS, CameraLimits
from edgecam.mqtt.address import parse_url
from edgecam.mqtt.embedded_broker import EmbeddedBroker
from edgecam.mqtt.frame_publisher import PicturePublisher
from edgecam.mqtt.login import login
from edgecam.settings.schema import MqttSettings, SourceSettings
from edgecam.sources import open_source
from edgecam.sources.worker_queue import MAX_IN_WORK, Held, Picture
from tests.servers.viewer import Viewer, wait_for

HOLD = 8


def jpeg(seed: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


class Camera:
    """Publishes numbered pictures as a thin camera does."""

    def __init__(self, broker: Mosquitto | EmbeddedBroker, topic: str) -> None:
        settings = MqttSettings(url=broker.url)
        name = "camera-" + topic.replace("/", "-")
        address = parse_url(broker.url)
        # A period so long that no picture expires on a busy machine.
        self._publisher = PicturePublisher(address, login(settings, name, None), None, topic, 300.0)
        self._publisher.start()
        assert self._publisher.connected.wait(60)
        self.sent = 0

    def send(self, data: bytes | None = None) -> None:
        """One picture, with the broker when this returns."""
        self._publisher.offer(jpeg(self.sent) if data is None else data, self.sent, time.time())
        self.sent += 1
        assert wait_until(lambda: self._publisher.counters().get("published") == self.sent)

    def counters(self) -> Mapping[str, int]:
        return self._publisher.counters()

    def close(self) -> None:
        self._publisher.stop()


@pytest.fixture
def camera(mosquitto: Mosquitto) -> Iterator[Callable[[str], Camera]]:
    opened: list[Camera] = []

    def make(topic: str) -> Camera:
        opened.append(Camera(mosquitto, topic))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


class Reader(Viewer):
    """A viewer that is done with every frame at once, and keeps them all."""

    def __init__(self, url: str, mqtt: MqttSettings | None = None, **settings: object) -> None:
        self.seen: list[Frame] = []
        super().__init__(open_source(SourceSettings(url=url, **settings), mqtt=mqtt))

    def _drain(self) -> None:
        for frame in self.source.frames():
            self.seen.append(frame)
            self.count += 1
            self.source.release(frame)

    def wait(self, number: int) -> None:
        assert wait_until(lambda: len(self.seen) >= number, 5), len(self.seen)


def test_a_cameras_pictures_come_in_order_with_its_own_time_and_number(
    mosquitto: Mosquitto, camera: Callable[[str], Camera]
) -> None:
    reader = Reader(f"{mosquitto.url}/yard/frame")
    yard = camera("yard/frame")
    begins_unix_s = time.time()
    for number in range(5):
        yard.send()
        reader.wait(number + 1)
    assert [frame.sequence for frame in reader.seen] == list(range(5))
    assert {frame.camera for frame in reader.seen} == {None}
    assert reader.seen[0].image.shape == (48, 64, 3)
    times = [frame.captured_unix_s for frame in reader.seen]
    # Milliseconds travel.
    assert begins_unix_s - 0.001 <= times[0] <= times[-1] <= time.time() + 0.001
    assert times == sorted(times)
    assert reader.source.description == f"{mosquitto.url}/yard/frame"
    reader.close()


@pytest.mark.parametrize(
    ("pattern", "topic", "name"),
    [
        ("edgecam/+/frame", "edgecam/front/frame", "front"),
        ("$share/night/edgecam/+/frame", "edgecam/Front Door/frame", "front_door"),
        ("cams/#", "cams/hall/left", "hall_left"),
        ("+/cams/+", "house/cams/2", "house_2"),
    ],
)
def test_the_wildcards_part_of_the_topic_names_the_camera(
    mosquitto: Mosquitto, camera: Callable[[str], Camera], pattern: str, topic: str, name: str
) -> None:
    reader = Reader(f"{mosquitto.url}/{pattern}")
    camera(topic).send()
    reader.wait(1)
    assert reader.seen[0].camera == name
    reader.close()


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("", "such as mqtt://broker/edgecam/+/frame"),
        ("/", "such as mqtt://broker/edgecam/+/frame"),
        ("/a/#/b", "such as mqtt://broker/edgecam/+/frame"),
        ("/a/b+", "such as mqtt://broker/edgecam/+/frame"),
        ("/$SYS/#", "such as mqtt://broker/edgecam/+/frame"),
        ("/$share/g/a/b", "which says which camera it is"),
        ("/$share//a/+", "which says which camera it is"),
        (":0/a/+", "expected mqtt://HOST"),
    ],
)
def test_what_is_no_topic_filter_is_refused_in_one_line(rest: str, says: str) -> None:
    with pytest.raises(EdgecamError) as caught:
        open_source(SourceSettings(url=f"mqtt://127.0.0.1{rest}"))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_in_the_url_is_refused_unseen() -> None:
    done = edgecam("-m", "posenet", "-s", "mqtt://eva:s3cret@127.0.0.1/a/+/frame")
    assert "use mqtt.username and mqtt.password_file" in error_line(done)
    assert "s3cret" not in done.stdout + done.stderr


def test_rubbish_is_counted_and_passed_over(
    mosquitto: Mosquitto, camera: Callable[[str], Camera]
) -> None:
    limit = 20_000
    mqtt = MqttSettings(max_payload_bytes=limit)
    reader = Reader(f"{mosquitto.url}/cams/+", mqtt)
    one = camera("cams/one")
    whole = jpeg()
    one.send(whole)
    reader.wait(1)
    scan = whole.index(b"\xff\xda") + 14
    undecodable = whole[:2] + b"\xff\xda" + b"\0" * 20 + b"\xff\xd9"
    for data in (b"", b"hello", whole[: len(whole) // 2], b"\x89PNG\r\n\x1a\nIEND", undecodable):
        one.send(data)
    one.send(whole[:scan] + b"\x55" * 200 + b"\xff\xd9")  # decodes, to grey noise
    reader.wait(2)
    assert wait_until(lambda: reader.source.status().faults.get("damaged_pictures") == 5)
    one.send(b"\xff\xd8" + bytes(limit))
    assert wait_until(lambda: reader.source.status().faults.get("too_large") == 1)
    one.send(b"\xff\xd8" + bytes(10 * limit))  # the broker itself keeps this one back
    one.send(whole)
    reader.wait(3)
    status = reader.source.status()
    assert status.state == "online"
    assert status.reconnects == 0
    assert status.faults["too_large"] == 1
    reader.close()


def test_a_picture_that_would_fill_the_memory_is_refused(
    mosquitto: Mosquitto, camera: Callable[[str], Camera]
) -> None:
    whole = bytearray(jpeg())
    frame_header = whole.index(b"\xff\xc0")
    whole[frame_header + 5 : frame_header + 9] = b"\x7d\x00\x7d\x00"
    reader = Reader(f"{mosquitto.url}/cams/+")
    camera("cams/one").send(bytes(whole))
    assert wait_until(lambda: reader.source.status().faults.get("damaged_pictures") == 1)
    camera("cams/one").send(bombs.jpeg(6000, 6000))
    assert wait_until(lambda: reader.source.status().faults.get("too_large") == 1)
    reader.close()


def test_retained_pictures_are_old_news(mosquitto: Mosquitto) -> None:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    client.publish("yard/frame", jpeg(), 1, retain=True).wait_for_publish(60)
    reader = Reader(f"{mosquitto.url}/yard/frame")
    time.sleep(0.5)
    assert not reader.seen
    client.publish("yard/frame", jpeg(), 0).wait_for_publish(60)
    reader.wait(1)
    assert reader.seen[0].sequence == 0
    client.disconnect()
    client.loop_stop()
    reader.close()


def test_broker_gone_and_back(make_mosquitto: Callable[..., Mosquitto]) -> None:
    broker = make_mosquitto()
    broker.start()
    reader = Reader(f"{broker.url}/cams/+")
    one = Camera(broker, "cams/one")
    one.send()
    reader.wait(1)
    broker.kill()
    reader.wait_for_state("offline")
    assert wait_until(lambda: "refuses connections" in (reader.source.status().reason or ""), 3)
    wait_for(lambda: not one._publisher.connected.is_set())
    broker.start()
    assert one._publisher.connected.wait(60)

    def comes() -> bool:
        one.send()
        return len(reader.seen) >= 2

    wait_for(comes)
    status = reader.source.status()
    assert status.state == "online"
    assert status.reconnects == 1
    assert status.faults["unreachable"] == 1
    one.close()
    reader.close()


def test_silent_cameras_are_reported_without_a_new_connection(
    mosquitto: Mosquitto, camera: Callable[[str], Camera]
) -> None:
    reader = Reader(f"{mosquitto.url}/cams/+", read_timeout_s=0.5)
    one = camera("cams/one")
    one.send()
    reader.wait(1)
    reader.wait_for_state("offline")
    assert reader.source.status().reason == "no picture for 0.5 s"
    one.send()
    reader.wait_for_state("online")
    reader.close()


def test_an_absent_broker_is_named_or_waited_for() -> None:
    port = free_port()
    with pytest.raises(EdgecamError, match=f"127.0.0.1:{port} refuses connections"):
        open_source(SourceSettings(url=f"mqtt://127.0.0.1:{port}/a/+"))
    source = open_source(SourceSettings(url=f"mqtt://127.0.0.1:{port}/a/+", wait=True))
    wait_for(lambda: source.status().reason != "not open yet")
    source.close()


def test_pictures_go_and_come_by_a_broker_of_mqtt_3() -> None:
    """rumqttd, which closes without a word on MQTT 5; number and time are not known there."""
    with EmbeddedBroker() as broker:
        reader = Reader(f"{broker.url}/yard/frame")
        yard = Camera(broker, "yard/frame")
        for number in range(3):
            yard.send()
            reader.wait(number + 1)
        assert [frame.sequence for frame in reader.seen] == [0, 1, 2]
        assert yard.counters()["connects"] == 1
        yard.close()
        reader.close()


def test_a_broker_that_talks_nonsense_is_left_and_tried_again() -> None:
    """A well-formed CONNACK and SUBACK, then a PUBLISH whose properties end too soon."""
    server = socket.create_server(("127.0.0.1", 0))
    served: list[int] = []

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                if not client.recv(4096).startswith(b"\x10"):
                    continue
                client.sendall(b"\x20\x03\x00\x00\x00")
                number = client.recv(4096)[2:4]
                client.sendall(b"\x90\x04" + number + b"\x00\x01")
                client.sendall(b"\x32\x08\x00\x01a\x00\x01\x7f\x26\x00")
                served.append(1)
                time.sleep(0.3)

    threading.Thread(target=serve, daemon=True).start()
    port = server.getsockname()[1]
    source = open_source(SourceSettings(url=f"mqtt://127.0.0.1:{port}/a/+", backoff_min_s=0.2))
    assert wait_until(lambda: len(served) >= 2, 10)
    assert source.status().state == "offline"
    source.close()
    server.close()


def test_a_message_that_cannot_be_taken_is_let_go(
    mosquitto: Mosquitto, camera: Callable[[str], Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than may be held: the window stays open."""
    reader = Reader(f"{mosquitto.url}/cams/+", hold_frames=5)
    one = camera("cams/one")
    with monkeypatch.context() as broken:
        broken.setattr("edgecam.sources.mqtt.slug", lambda _: 1 / 0)
        for _ in range(12):
            one.send()
        assert wait_until(lambda: reader.source.status().faults.get("internal_errors") == 12)
    one.send()
    reader.wait(1)
    reader.close()


def test_made_up_cameras_do_not_fill_the_memory() -> None:
    limits = CameraLimits(1.0)
    for number in range(3 * MAX_CAMERAS):
        limits.of(f"camera{number}").holds(0.0)
    assert len(limits._limits) == MAX_CAMERAS
    assert limits.of(f"camera{number}").holds(0.1)


def test_the_login_is_that_of_the_mqtt_settings(
    make_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("needs mosquitto_passwd (Debian: apt install mosquitto)")
    users, ours, wrong = tmp_path / "users", tmp_path / "ours", tmp_path / "wrong"
    command = ["mosquitto_passwd", "-b", "-c", str(users), "eva", "s3cret"]
    subprocess.run(command, check=True, capture_output=True)
    users.chmod(0o644)
    for file, secret in ((ours, "s3cret"), (wrong, "no-s3cret")):
        file.write_text(secret)
        file.chmod(0o600)
    broker = make_mosquitto(f"allow_anonymous false\npassword_file {users}")
    broker.start()
    settings = SourceSettings(url=f"{broker.url}/a/+")
    source = open_source(settings, mqtt=MqttSettings(username="eva", password_file=str(ours)))
    source.close()
    with pytest.raises(EdgecamError, match="not authorized") as caught:
        open_source(settings, mqtt=MqttSettings(username="eva", password_file=str(wrong)))
    assert "s3cret" not in str(caught.value)


def test_a_picture_whose_expiry_has_passed_is_dropped_and_counted(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    (tmp_path / "jpeg").write_bytes(jpeg())
    source = open_source(SourceSettings(url=f"{mosquitto.url}/cams/+", hold_frames=HOLD))
    pub = ["mosquitto_pub", "-p", str(mosquitto.port), "-f", str(tmp_path / "jpeg")]
    pub += ["-q", "1", "-V", "5"]
    expiry = ["-D", "publish", "message-expiry-interval"]
    for camera, more in (("short", ["1"]), ("long", ["100"]), ("any", [])):
        command = [*pub, "-t", f"cams/{camera}", *(expiry if more else []), *more]
        subprocess.run(command, check=True)
    time.sleep(2.1)
    frames = source.frames()
    assert [next(frames).camera for _ in range(2)] == ["long", "any"]
    assert source.status().faults["expired"] == 1
    source.close()


def picture(camera: str | None, number: int) -> Picture:
    return Picture(camera, b"", number, 0.0, 0.0, None, number)


def test_the_newest_of_each_camera_is_held_in_turn() -> None:
    held = Held(4)
    frames = {}

    def begin() -> int | None:
        taken = held.take()
        if taken is None:
            return None
        frames[taken.number] = Frame(np.zeros((1, 1, 3), np.uint8), taken.number, 0.0, 0.0)
        held.begin(frames[taken.number], taken)
        return taken.number

    def numbers(gone: list[Picture]) -> list[int]:
        return [each.number for each in gone]

    assert not held.put(picture("a", 1))
    assert not held.put(picture("b", 2))
    assert numbers(held.put(picture("a", 3))) == [1]
    assert not held.put(picture("c", 4))
    assert begin() == 3  # a keeps its place
    assert begin() == 2
    assert begin() is None  # enough in work
    assert len(frames) == MAX_IN_WORK
    assert not held.put(picture("d", 5))
    assert numbers(held.put(picture("e", 6))) == [4]  # all full: the oldest goes
    assert numbers(held.end(frames[2])) == [2]
    assert not held.end(frames[2])
    assert begin() == 5
    assert begin() is None
    assert numbers(held.end(frames[3])) == [3]
    assert begin() == 6


def test_nothing_piles_up_at_the_broker_behind_a_worker_that_stands_still(
    mosquitto: Mosquitto, camera: Callable[[str], Camera]
) -> None:
    """Its frames are never done with, and yet the newest picture of each camera is here."""
    url = f"{mosquitto.url}/cams/+"
    source = open_source(SourceSettings(url=url, hold_frames=HOLD))
    cameras = [camera(f"cams/{number}") for number in range(3)]
    frames = source.frames()
    for _ in range(10):
        for each in cameras:
            each.send()
    first = [next(frames) for _ in range(MAX_IN_WORK)]
    assert wait_until(lambda: source.status().faults.get("overrun", 0) == 30 - 3)
    source.release(first[-1])
    assert next(frames).sequence == 9
    source.close()


def worker(folder: Path, broker: Mosquitto, name: str) -> Daemon:
    folder.mkdir()
    return Daemon(
        folder,
        *("--model", "posenet", "--input-size", "129x161", "--threads", "1"),
        *("--source", f"{broker.url}/edgecam/+/frame", "--wait-for-source"),
        *("--broker", broker.url, "--name", name),
        EDGECAM_SOURCE_HOLD_FRAMES=str(HOLD),
    )


def results(subscriber: Subscriber) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for message in list(subscriber.messages):
        if message.topic.endswith("/result"):
            found.setdefault(message.topic.split("/")[1], []).append(json.loads(message.payload))
    return found


def test_a_killed_worker_loses_no_more_than_it_held(
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    camera: Callable[[str], Camera],
    tmp_path: Path,
) -> None:
    """Two workers and four cameras; one worker is killed with pictures in its hands."""
    workers = [worker(tmp_path / name, mosquitto, name) for name in ("one", "two")]
    names = ("front", "back", "yard", "hall")
    picture_of = cv2.imencode(".jpg", cv2.VideoCapture(str(CLIP)).read()[1])[1].tobytes()

    def overtaken(name: str) -> int:
        report = subscriber.last(f"edgecam/{name}/telemetry")
        return int(json.loads(report or b"{}")["source"]["faults"].get("overrun", 0))

    def seen() -> int:
        return sum(map(len, results(subscriber).values()))

    try:
        for each, name in zip(workers, ("one", "two"), strict=True):
            each.wait_ready()
            # Before that no subscriber hears of a result.
            subscriber.wait_for(f"edgecam/{name}/availability")
        cameras = {name: camera(f"edgecam/{name}/frame") for name in names}
        for _ in range(8):
            for each in cameras.values():
                each.send(picture_of)
                time.sleep(0.05)
        assert wait_until(lambda: seen() >= 32 - overtaken("one") - overtaken("two"), 20)
        both = {str(found["worker"]) for name in names for found in results(subscriber)[name]}
        assert both == {"one", "two"}
        held_before = overtaken("one")
        # It stands still with the pictures that it then gets, and dies.
        workers[0].send(signal.SIGSTOP)
        for each in cameras.values():
            each.send(picture_of)
            each.send(picture_of)
        workers[0].process.kill()
        workers[0].process.wait()
        time.sleep(0.5)
        for _ in range(8):
            for each in cameras.values():
                each.send(picture_of)
                time.sleep(0.1)
        sent = sum(each.sent for each in cameras.values())
        wait_until(lambda: seen() >= sent - overtaken("two") - held_before - HOLD, 20)
        time.sleep(2.5)  # a report on what was overtaken, and what comes late
        found = results(subscriber)
        numbers = {name: [each["sequence"] for each in found[name]] for name in names}
        assert all(len(set(each)) == len(each) for each in numbers.values())  # none twice
        missing = sent - seen() - overtaken("two") - held_before
        assert 1 <= missing <= HOLD, (missing, numbers)
        after = [each["worker"] for name in names for each in found[name][-3:]]
        assert set(after) == {"two"}
        assert {each["name"] for name in names for each in found[name]} == set(names)
        assert not subscriber.of("edgecam/front/count/person")
        report = json.loads(subscriber.last("edgecam/two/telemetry") or b"")
        assert report["source"]["state"] in ("online", "offline")
    finally:
        for each in workers:
            each.close()


@pytest.mark.parametrize("asked", ["snapshot.mode", "zone"])
def test_what_belongs_to_one_camera_is_refused_for_several(tmp_path: Path, asked: str) -> None:
    config = tmp_path / "worker.toml"
    text = {
        "snapshot.mode": '[snapshot]\nmode = "image"\n',
        "zone": '[[zone]]\nname = "a"\npolygon = [[0, 0], [1, 0], [1, 1]]\n',
    }[asked]
    config.write_text(text)
    url = f"mqtt://127.0.0.1:{free_port()}/a/+"
    done = edgecam("-m", "posenet", "--config", config, "-s", url, "--wait-for-source")
    assert error_line(done).startswith(f"edgecam: error: {asked}: expected one camera")


def test_the_recipe_for_a_camera_without_edgecam(mosquitto: Mosquitto, tmp_path: Path) -> None:
    for program in ("ffmpeg", "mosquitto_pub"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (Debian: apt install ffmpeg mosquitto-clients)")
    page = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    (recipe,) = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    clip = recipe.replace("-f v4l2 -i /dev/video0", f"-re -stream_loop -1 -i {CLIP}")
    script = clip.replace("-h broker", f"-h 127.0.0.1 -p {mosquitto.port}")
    assert script.count(str(mosquitto.port)) == 1
    assert str(CLIP) in script
    reader = Reader(f"{mosquitto.url}/edgecam/+/frame")
    # A group of its own, so that ffmpeg ends with it.
    process = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, start_new_session=True)
    try:
        assert wait_until(lambda: len(reader.seen) > 5, 20)
        assert {(frame.camera, frame.width_px) for frame in reader.seen} == {("front", 640)}
        assert len({frame.image.tobytes() for frame in reader.seen}) > 1
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.close()


def test_the_frames_command_says_why_nothing_was_published() -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    done = edgecam("frames", "-s", CLIP, "-b", url, "--rate-hz", "20", "--max-frames", "2")
    assert f"no picture was published: {url}: connection refused" in error_line(done)
    assert "--broker" in error_line(edgecam("frames", "-s", CLIP))


def test_the_frames_command_is_a_thin_camera(mosquitto: Mosquitto) -> None:
    reader = Reader(f"{mosquitto.url}/edgecam/+/frame")
    size = ("--rate-hz", "20", "--width", "320", "--max-frames", "4")
    done = edgecam("frames", "-s", CLIP, "-b", mosquitto.url, "-n", "front", *size)
    assert done.returncode == 0, done.stderr
    assert "4 pictures published" in done.stderr
    reader.wait(3)
    assert {(frame.camera, frame.width_px) for frame in reader.seen} == {("front", 320)}
    process = start("frames", "-s", CLIP, "--loop", "--realtime", "-b", mosquitto.url)
    before = len(reader.seen)
    assert wait_until(lambda: len(reader.seen) > before + 3, 15)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    process.communicate()
    reader.close()
