"""One name, one instance: on a real broker, between real processes."""

from __future__ import annotations

import json
import secrets
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber, retained, wait_until
from daemons import LOOPED, Daemon
from happened import wave
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from programs import CLIP, edgecam, error_line

from edgecam.core.errors import SinkError
from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt.sink import MqttSink

SMALL = ("--model", "posenet", "--input-size", "129x161", "--threads", "1")
AVAILABILITY = "edgecam/front/availability"


def sink(broker: Mosquitto, name: str = "front", boot_id: str = "b00t") -> MqttSink:
    return MqttSink(MqttSettings(url=broker.url), name, boot_id)


def say(broker: Mosquitto, topic: str, payload: bytes, retain: bool) -> None:
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.publish(topic, payload, 1, retain).wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def turned_away(opened: MqttSink) -> str:
    def is_refused() -> bool:
        try:
            opened.check()
        except SinkError:
            return True
        return False

    assert wait_until(is_refused, 5)
    with pytest.raises(SinkError) as caught:
        opened.check()
    return str(caught.value)


def test_the_second_process_ends_with_one_line_and_the_first_goes_on(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path
) -> None:
    first = Daemon(tmp_path, *SMALL, *LOOPED, "--broker", mosquitto.url, "--name", "front")
    try:
        first.wait_ready()
        subscriber.wait_for("edgecam/front/result", 2, 20)
        done = edgecam(*SMALL, *LOOPED, "--broker", mosquitto.url, "--name", "front")
        assert done.returncode == 1
        assert "another edgecam has this name, on " in error_line(done)
        assert "another --name" in error_line(done)
        # Nothing of the second one is on the broker: no offline, no telemetry, no result.
        assert [each.payload for each in subscriber.of(AVAILABILITY)] == [b"online"]
        boots = {
            json.loads(each.payload)["boot_id"]
            for topic in ("edgecam/front/telemetry", "edgecam/front/result")
            for each in subscriber.of(topic)
        }
        assert len(boots) == 1
        before = len(subscriber.of("edgecam/front/result"))
        assert wait_until(lambda: len(subscriber.of("edgecam/front/result")) > before + 2)
    finally:
        first.close()


def test_a_recording_is_refused_as_well(mosquitto: Mosquitto) -> None:
    first = sink(mosquitto, "camera")
    assert first.wait_connected(60)
    done = edgecam(*SMALL, "--source", CLIP, "--broker", mosquitto.url, "--max-frames", 3)
    assert "another edgecam has this name" in error_line(done)
    first.close()


def test_an_online_that_was_left_behind_delays_no_start(mosquitto: Mosquitto) -> None:
    say(mosquitto, AVAILABILITY, b"online", retain=True)
    opened = sink(mosquitto)
    assert opened.wait_connected(60)
    opened.check()
    opened.close()


def test_a_killed_instance_starts_again_at_once(mosquitto: Mosquitto, tmp_path: Path) -> None:
    arguments = (*SMALL, *LOOPED, "--broker", mosquitto.url, "--name", "front")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = Daemon(tmp_path / "one", *arguments)
    second = None
    try:
        first.wait_ready()
        assert wait_until(lambda: retained(mosquitto.port).get(AVAILABILITY) == b"online", 10)
        first.send(signal.SIGKILL)
        first.process.wait()
        second = Daemon(tmp_path / "two", *arguments)
        second.wait_ready()
        assert wait_until(lambda: retained(mosquitto.port).get(AVAILABILITY) == b"online", 10)
        assert second.process.poll() is None
    finally:
        first.close()
        if second is not None:
            second.close()


def test_a_will_that_comes_late_is_put_right(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    opened = sink(mosquitto)
    assert opened.wait_connected(60)
    assert wait_until(lambda: subscriber.last(AVAILABILITY) == b"online")
    before = len(subscriber.of(AVAILABILITY))
    say(mosquitto, AVAILABILITY, b"offline", retain=True)
    found = subscriber.wait_for(AVAILABILITY, before + 2, 5.0)
    assert [each.payload for each in found[before:]] == [b"offline", b"online"]
    assert retained(mosquitto.port)[AVAILABILITY] == b"online"
    assert opened.counters()["mqtt_offline_corrected"] == 1
    opened.close()
    assert retained(mosquitto.port)[AVAILABILITY] == b"offline"


def outcome(opened: MqttSink) -> str:
    if opened.link.turned_away is not None:
        return "goes"
    return "stays" if opened.wait_connected(0) else "asks"


@pytest.mark.parametrize("number", [2, 3, 4, 5])
@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.long)])
def test_of_several_at_the_same_time_one_stays(
    mosquitto: Mosquitto, number: int, rounds: int
) -> None:
    for _ in range(rounds):
        opened: list[MqttSink] = []
        together = threading.Barrier(number)

        def start(together: threading.Barrier, opened: list[MqttSink]) -> None:
            together.wait()
            opened.append(sink(mosquitto, boot_id=secrets.token_hex(4)))

        threads = [threading.Thread(target=start, args=(together, opened)) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = ["goes"] * (number - 1) + ["stays"]
        assert wait_until(
            lambda opened=opened, expected=expected: sorted(map(outcome, opened)) == expected, 30
        ), list(map(outcome, opened))
        for each in opened:
            each.close()


def test_a_retained_claim_keeps_no_process_out_and_is_cleared(mosquitto: Mosquitto) -> None:
    ghost = b'{"kind":"here","token":"x","host":"ghost"}'
    say(mosquitto, "edgecam/front/claim", ghost, retain=True)
    opened = sink(mosquitto)
    assert opened.wait_connected(10)
    assert wait_until(lambda: opened.counters().get("mqtt_claims_cleared") == 1)
    opened.check()
    assert "edgecam/front/claim" not in retained(mosquitto.port)
    opened.close()


def test_a_flood_of_asks_holds_up_no_event(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    opened = sink(mosquitto)
    assert opened.wait_connected(10)
    flood = Client(CallbackAPIVersion.VERSION2)
    flood.connect("127.0.0.1", mosquitto.port)
    flood.loop_start()
    for number in range(20_000):
        ask = json.dumps({"kind": "ask", "token": f"{number:x}", "host": "flood"})
        flood.publish("edgecam/front/claim", ask, 0)
        if number % 1000 == 0:
            opened.publish_event(wave(n=number))
    events = subscriber.wait_for("edgecam/front/event", 20, 60)
    assert [json.loads(each.payload)["attributes"]["n"] for each in events] == [
        *range(0, 20_000, 1000)
    ]
    assert opened.wait_connected(0)
    answers = [each for each in subscriber.of("edgecam/front/claim") if b'"here"' in each.payload]
    assert 1 <= len(answers) < 100
    assert all(each.qos == 0 for each in answers)
    flood.disconnect()
    flood.loop_stop()
    opened.close()


def test_one_that_ran_already_stays_and_waits(
    make_mosquitto: Callable[..., Mosquitto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker was away, and another one took the name before this one came back."""
    broker = make_mosquitto(
        f"allow_anonymous true\npersistence true\npersistence_location {tmp_path}/"
    )
    broker.start()
    # The first one comes back when the second one has the name.
    monkeypatch.setattr("edgecam.mqtt.opening.BACKOFF_S", (6.0,))
    first = sink(broker)
    assert first.wait_connected(60)
    broker.stop()
    assert wait_until(lambda: not first.wait_connected(0), 5)
    broker.start()
    second = sink(broker, boot_id="0the")
    assert second.wait_connected(5)
    assert wait_until(lambda: "another edgecam" in (first.status().reason or ""), 20)
    first.check()
    assert second.wait_connected(0)
    assert not first.wait_connected(0)
    first.close()
    second.close()


@pytest.mark.parametrize("rubbish", [b"", b"{}", b"\xff\xfe", b'{"kind":"maybe"}'])
def test_rubbish_on_the_topic_changes_nothing(mosquitto: Mosquitto, rubbish: bytes) -> None:
    opened = sink(mosquitto)
    assert opened.wait_connected(60)
    say(mosquitto, "edgecam/front/claim", rubbish, retain=False)
    time.sleep(0.2)
    assert opened.wait_connected(0)
    assert not opened.counters().get("mqtt_callback_errors")
    opened.close()
    other = sink(mosquitto, "other")
    assert other.wait_connected(60)
    other.close()


def test_a_broker_that_lets_no_process_ask_is_used(
    make_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    rules = tmp_path / "acl"
    rules.write_text(
        "topic write edgecam/front/availability\ntopic write edgecam/front/telemetry\n"
    )
    broker = make_mosquitto(f"allow_anonymous true\nacl_file {rules}")
    broker.start()
    opened = sink(broker)
    assert opened.wait_connected(60)
    opened.close()
