"""Pictures over MQTT: what is in them, what is not, how many, and that they can be read."""

from __future__ import annotations

import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber, retained, wait_until
from daemons import LOOPED, MODEL
from numpy.typing import NDArray
from programs import edgecam

from edgecam.core import keypoints
from edgecam.core.frame import Frame
from edgecam.core.result import Box, Decoded, Detection, Pose, Result
from edgecam.settings.schema import SnapshotSettings
from edgecam.sinks.mqtt.sink import MqttSink
from edgecam.sinks.render.snapshot import Snapshots, picture

WIDTH, HEIGHT = 640, 360
TOPIC = "edgecam/front/snapshot"


def pose() -> Pose:
    """A person who stands in the middle, all keypoints sure."""
    xy = np.array([[300 + 4 * n, 60 + 14 * n] for n in range(keypoints.COUNT)], np.float64)
    return Pose(0.9, xy, np.full(keypoints.COUNT, 0.9))


def result(image: NDArray[np.uint8] | None = None, *, empty: bool = False) -> Result:
    if image is None:
        image = np.full((HEIGHT, WIDTH, 3), 127, np.uint8)
    box = Detection("person", 0, 0.9, Box(100, 50, 300, 350))
    found = Decoded() if empty else Decoded(poses=(pose(),), detections=(box,))
    return Result(Frame(image, 0, time.monotonic(), time.time()), {"posenet": found})


def noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def over_the_wire(sink: MqttSink, subscriber: Subscriber, mode: str, shown: Result) -> bytes:
    """The payload that a subscriber gets of this result in this mode."""
    number = len(subscriber.of(TOPIC))
    settings = SnapshotSettings(mode=mode)
    snapshots = Snapshots(settings, lambda data: sink.publish_snapshot(data, settings.retain))
    snapshots.publish(shown)
    payload = subscriber.wait_for(TOPIC, number + 1)[number].payload
    snapshots.close()
    return payload


def test_no_source_pixel_reaches_the_wire_in_skeleton_mode(
    sink: MqttSink, subscriber: Subscriber
) -> None:
    # Whatever the camera sees, the same keypoints give the same bytes: nothing else is in them.
    images = [noise(1), noise(2), np.zeros((HEIGHT, WIDTH, 3), np.uint8)]
    payloads = {over_the_wire(sink, subscriber, "skeleton", result(image)) for image in images}
    assert len(payloads) == 1
    shown = cv2.imdecode(np.frombuffer(payloads.pop(), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (HEIGHT, WIDTH, 3)
    near = np.zeros((HEIGHT, WIDTH), np.uint8)
    points = [tuple(map(int, point)) for point in pose().xy]
    for first, second in keypoints.BONES:
        cv2.line(near, points[first], points[second], 255, 24)
    # JPEG rings within its 16 px blocks; beyond the limbs it is black.
    assert shown[near == 0].max() < 24
    assert shown[near > 0].max() > 200
    # The other modes do depend on what the camera sees: the comparison can fail.
    assert len({over_the_wire(sink, subscriber, "image", result(image)) for image in images}) == 3


def test_a_blurred_picture_holds_nothing_finer_than_its_cells() -> None:
    # 32 cells across are 20 px wide: a pattern that is finer leaves no trace at all.
    fine = np.indices((HEIGHT, WIDTH)).sum(axis=0) % 2 * 200
    coarse = np.full((HEIGHT, WIDTH), 100)
    one, other = (
        picture(result(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)), "blurred", WIDTH)
        for grey in (fine, coarse)
    )
    assert np.abs(one.astype(int) - other).max() <= 1
    halves = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    halves[:, WIDTH // 2 :] = 200
    seen = picture(result(halves, empty=True), "blurred", WIDTH)
    assert (seen[:, 40].max(), seen[:, -40].min()) == (0, 200)


def test_a_picture_is_a_jpeg_of_the_width_and_quality_asked_for() -> None:
    got: list[bytes] = []
    for quality in (20, 90):
        settings = SnapshotSettings(mode="image", width_px=320, quality=quality)
        snapshots = Snapshots(settings, got.append)
        snapshots.publish(result(noise(3)))
        assert wait_until(lambda: len(got) > (quality == 90))  # noqa: B023
        snapshots.close()
    assert all(data.startswith(b"\xff\xd8\xff") for data in got)
    shown = cv2.imdecode(np.frombuffer(got[0], np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (180, 320, 3)
    assert len(got[1]) > 2 * len(got[0])


def test_what_was_found_is_drawn_where_it_is() -> None:
    image = np.zeros((720, 1280, 3), np.uint8)
    box = Detection("person", 0, 0.9, Box(200, 100, 600, 700))
    shown = picture(
        Result(Frame(image, 0, 0.0, 0.0), {"ssd": Decoded(detections=(box,))}), "image", 640
    )
    rows, columns = np.nonzero(shown[60:].max(axis=2))
    assert abs(columns.min() - 100) <= 2
    assert abs(rows.max() + 60 - 350) <= 2


def test_there_is_one_at_most_in_each_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[bytes] = []
    now_s = 100.0
    monkeypatch.setattr(
        "edgecam.sinks.render.snapshot.time", SimpleNamespace(monotonic=lambda: now_s)
    )
    snapshots = Snapshots(SnapshotSettings(mode="skeleton", interval_s=0.5), got.append)
    sent = []
    for tick in range(13):
        now_s = 100.0 + tick / 8
        before = len(got)
        snapshots.publish(result())
        snapshots.ask()
        due = tick % 4 == 0
        assert wait_until(lambda before=before, due=due: len(got) == before + due)
        sent.append(len(got))
    snapshots.close()
    assert sent == [1 + tick // 4 for tick in range(13)]


@pytest.mark.parametrize(("when", "pictures"), [("found", 0), ("always", 1), ("asked", 0)])
def test_an_empty_room_is_shown_only_if_asked_for(when: str, pictures: int) -> None:
    got: list[bytes] = []
    snapshots = Snapshots(SnapshotSettings(mode="image", when=when, interval_s=0.1), got.append)
    snapshots.publish(result(empty=True))
    time.sleep(0.2)
    assert len(got) == pictures
    snapshots.ask()
    snapshots.publish(result(empty=True))
    assert wait_until(lambda: len(got) == pictures + 1)
    snapshots.close()


def test_a_retained_picture_goes_when_it_is_no_longer_asked_for(
    mosquitto: Mosquitto, sink: MqttSink
) -> None:
    sink.publish_snapshot(b"one", retain=True)
    assert wait_until(lambda: TOPIC in retained(mosquitto.port, wait_s=0.2))
    sink.forget_snapshots()
    sink.publish_snapshot(b"two", retain=False)
    assert wait_until(lambda: TOPIC not in retained(mosquitto.port, wait_s=0.2))


def test_the_last_picture_comes_again_with_the_states(
    sink: MqttSink, subscriber: Subscriber
) -> None:
    sink.publish_snapshot(b"picture", retain=False)
    subscriber.wait_for(TOPIC)
    sink.resend_states()
    assert subscriber.wait_for(TOPIC, 2)[1].payload == b"picture"


def daemon(mosquitto: Mosquitto, *arguments: str, **variables: str) -> None:
    done = edgecam(
        *MODEL,
        *LOOPED,
        *("--name", "front", "--broker", mosquitto.url, "--max-frames", "60", *arguments),
        **variables,
    )
    assert done.returncode == 0, done.stderr


def test_a_run_sends_none_unless_a_mode_is_chosen(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    daemon(mosquitto)
    # The one message clears what an earlier run may have left.
    assert [m.payload for m in subscriber.of(TOPIC)] == [b""]


def test_a_run_sends_stick_figures(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    variables = {"EDGECAM_SNAPSHOT_MODE": "skeleton", "EDGECAM_SNAPSHOT_INTERVAL_S": "2"}
    daemon(mosquitto, **variables)
    pictures = [m for m in subscriber.of(TOPIC) if m.payload]
    # How many depends on how fast the 60 frames go; every frame would be the mistake.
    assert 1 <= len(pictures) < 30
    assert not any(m.retained for m in pictures)
    for message in pictures:
        shown = cv2.imdecode(np.frombuffer(message.payload, np.uint8), cv2.IMREAD_COLOR)
        assert np.median(shown) == 0
        assert 0.001 < (shown.max(axis=2) > 64).mean() < 0.2
