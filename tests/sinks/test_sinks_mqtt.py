from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brokers import Mosquitto, Subscriber, free_port, retained, wait_until
from happened import wave

from edgecam.core.errors import SettingsError
from edgecam.core.frame import Frame
from edgecam.core.result import Decoded, Pose, Result
from edgecam.messages.telemetry import Rates, SourceReport, Telemetry
from edgecam.settings.schema import MqttSettings, Settings
from edgecam.sinks import open_sinks
from edgecam.sinks.mqtt.sink import MqttSink

POSE = Pose(0.9, np.full((17, 2), 100.0), np.full(17, 0.9))


def result(sequence: int = 0, people: int = 1) -> Result:
    frame = Frame(np.zeros((48, 64, 3), np.uint8), sequence, time.monotonic(), time.time())
    return Result(frame, {"posenet": Decoded(poses=(POSE,) * people)})


Opener = Callable[..., MqttSink]


@pytest.fixture
def open_sink() -> Iterator[Opener]:
    opened: list[MqttSink] = []

    def open_(url: str, **settings: Any) -> MqttSink:
        opened.append(MqttSink(MqttSettings(url=url, **settings), "front", "b00t"))
        return opened[-1]

    yield open_
    for sink in opened:
        sink.close(0.5)


def numbers(subscriber: Subscriber) -> Iterator[int]:
    for message in subscriber.of("edgecam/front/event"):
        yield json.loads(message.payload)["attributes"]["n"]


def test_everything_arrives_with_its_topic_and_flags(
    mosquitto: Mosquitto, subscriber: Subscriber, open_sink: Opener
) -> None:
    sink = open_sink(mosquitto.url)
    assert sink.wait_connected(60)
    subscriber.wait_for("edgecam/front/availability")
    sink.publish(result(7))
    sink.publish_event(wave())
    sink.publish_state("score_threshold", b"0.5")
    sink.publish_telemetry(
        Telemetry(
            name="front",
            boot_id="b00t",
            sequence=0,
            time_unix_s=1.0,
            uptime_s=1.0,
            fps=Rates(),
            source=SourceReport(state="online"),
        )
    )
    got = subscriber.wait_for("edgecam/front/result")[0]
    assert json.loads(got.payload)["sequence"] == 7
    assert got.qos == 0
    event = subscriber.wait_for("edgecam/front/event")[0]
    assert event.qos == 1
    assert json.loads(event.payload)["event_type"] == "wave"
    subscriber.wait_for("edgecam/front/telemetry")
    subscriber.wait_for("edgecam/front/count/person")
    kept = retained(mosquitto.port)
    assert set(kept) == {
        "edgecam/front/availability",
        "edgecam/front/count/person",
        "edgecam/front/state/score_threshold",
        "edgecam/front/telemetry",
    }
    assert kept["edgecam/front/availability"] == b"online"
    assert kept["edgecam/front/count/person"] == b"1"


def test_mosquitto_sub_sees_the_same(mosquitto: Mosquitto, open_sink: Opener) -> None:
    sink = open_sink(mosquitto.url)
    assert sink.wait_connected(60)
    command = ["mosquitto_sub", "-p", str(mosquitto.port), "-t", "edgecam/#", "-v", "-C", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        time.sleep(0.5)
        sink.publish(result())
        lines, _ = listener.communicate(timeout=120)
    topics = [line.split(" ", 1)[0] for line in lines.splitlines()]
    assert sorted(topics) == [
        "edgecam/front/availability",
        "edgecam/front/count/person",
        "edgecam/front/result",
    ]


def test_counts_are_published_on_change_only(
    mosquitto: Mosquitto, subscriber: Subscriber, open_sink: Opener
) -> None:
    sink = open_sink(mosquitto.url)
    assert sink.wait_connected(60)
    for number in (0, 2, 2, 2, 1, 0, 0):
        sink.publish(result(people=number))
        time.sleep(0.03)
    subscriber.wait_for("edgecam/front/result", 7)
    got = [m.payload for m in subscriber.of("edgecam/front/count/person")]
    assert got == [b"0", b"2", b"1", b"0"]


def test_a_clean_stop_delivers_all_events_then_says_offline(
    mosquitto: Mosquitto, subscriber: Subscriber, open_sink: Opener
) -> None:
    sink = open_sink(mosquitto.url)
    assert sink.wait_connected(60)
    for i in range(500):
        sink.publish_event(wave(n=i))
    sink.close()
    subscriber.wait_for("edgecam/front/event", 500)
    assert [*numbers(subscriber)] == [*range(500)]
    subscriber.wait_for("edgecam/front/availability", 2)
    offline = subscriber.of("edgecam/front/availability")[-1]
    assert offline.payload == b"offline"
    assert offline.received_s >= subscriber.of("edgecam/front/event")[-1].received_s
    assert retained(mosquitto.port)["edgecam/front/availability"] == b"offline"
    assert sink.counters()["mqtt_events_sent"] == 500


def test_results_are_dropped_and_counted_while_there_is_no_broker(
    make_mosquitto: Callable[..., Mosquitto], open_sink: Opener
) -> None:
    broker = make_mosquitto()
    sink = open_sink(broker.url)
    for i in range(50):
        sink.publish(result(i))
    sink.publish_event(wave(n=0))
    assert sink.counters()["mqtt_results_dropped"] == 50
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    assert sink.wait_connected(60)
    subscriber.wait_for("edgecam/front/event")
    sink.publish(result(99))
    first = subscriber.wait_for("edgecam/front/result")[0]
    assert json.loads(first.payload)["sequence"] == 99
    assert retained(broker.port)["edgecam/front/count/person"] == b"1"
    subscriber.close()


def test_states_and_availability_return_with_an_empty_broker(
    mosquitto: Mosquitto, open_sink: Opener
) -> None:
    sink = open_sink(mosquitto.url)
    assert sink.wait_connected(60)
    sink.publish_retained("homeassistant/sensor/edgecam_front/fps/config", b"{}")
    sink.publish_retained("homeassistant/sensor/edgecam_front/gone/config", b"{}")
    sink.publish_retained("homeassistant/sensor/edgecam_front/gone/config", b"")
    sink.publish_state("paused", b"0")
    sink.publish_state("paused", b"1")
    assert wait_until(lambda: len(retained(mosquitto.port, wait_s=0.2)) == 3)
    mosquitto.kill()
    mosquitto.start()
    everything = Subscriber(mosquitto.port).ready()
    everything.wait_for("edgecam/front/availability")
    kept = {m.topic: m.payload for m in everything.messages}
    kept.pop("edgecam/front/claim")
    assert kept == {
        "edgecam/front/availability": b"online",
        "edgecam/front/state/paused": b"1",
        "homeassistant/sensor/edgecam_front/fps/config": b"{}",
    }
    assert everything.messages[-1].topic == "edgecam/front/availability"
    everything.close()


def test_the_will_says_offline_when_the_process_dies(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    script = (
        "import sys, time\n"
        "from edgecam.settings.schema import MqttSettings\n"
        "from edgecam.sinks.mqtt.sink import MqttSink\n"
        "sink = MqttSink(MqttSettings(url=sys.argv[1]), 'front', 'b')\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", script, mosquitto.url], cwd=root)
    subscriber.wait_for("edgecam/front/availability")
    process.kill()
    process.wait()
    subscriber.wait_for("edgecam/front/availability", 2)
    assert retained(mosquitto.port)["edgecam/front/availability"] == b"offline"


def test_commands_reach_their_callback_and_its_exception_harms_nothing(
    mosquitto: Mosquitto, subscriber: Subscriber, open_sink: Opener
) -> None:
    sink = open_sink(mosquitto.url)
    got: list[tuple[str, bytes, bool]] = []

    def command(topic: str, payload: bytes, is_retained: bool) -> None:
        got.append((topic, payload, is_retained))
        if payload == b"bad":
            raise ValueError("what is this")

    sink.subscribe("edgecam/front/set/+", command)
    assert sink.wait_connected(60)
    publish = ["mosquitto_pub", "-p", str(mosquitto.port), "-q", "1", "-t"]
    assert wait_until(
        lambda: (
            subprocess.run([*publish, "edgecam/front/set/a", "-m", "bad"], check=True) and bool(got)
        )
    )
    subprocess.run([*publish, "edgecam/front/set/b", "-m", "good"], check=True)
    assert wait_until(lambda: ("edgecam/front/set/b", b"good", False) in got)
    assert sink.counters()["mqtt_callback_errors"] >= 1
    sink.publish_event(wave(n=1))
    subscriber.wait_for("edgecam/front/event")
    mosquitto.kill()
    mosquitto.start()
    assert wait_until(
        lambda: (
            subprocess.run([*publish, "edgecam/front/set/c", "-m", "again"], check=True)
            and any(m[0].endswith("/c") for m in got)
        )
    )


def test_what_a_broker_would_refuse_never_leaves(
    mosquitto: Mosquitto, subscriber: Subscriber, open_sink: Opener
) -> None:
    sink = open_sink(mosquitto.url, max_payload_bytes=2000)
    sink.publish_event(wave(text="x" * 3000))
    for topic in ("a/\x00b", "a/+", "#", "", "a//b", "$SYS/x", "a/" + "b" * 65, "a/é"):
        sink.publish_retained(topic, b"x")
    sink.publish_event(wave(n=1))
    subscriber.wait_for("edgecam/front/event")
    assert [*numbers(subscriber)] == [1]
    assert sink.counters()["mqtt_too_large"] == 1
    assert sink.counters()["mqtt_bad_topic"] == 8


def test_a_message_above_the_brokers_limit_is_given_up_and_the_rest_delivered(
    make_mosquitto: Callable[..., Mosquitto], open_sink: Opener
) -> None:
    broker = make_mosquitto("allow_anonymous true\nmax_packet_size 5000")
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    sink = open_sink(broker.url)
    for i in range(5):
        sink.publish_event(wave(n=i, text="x" * (9000 if i == 2 else 1)))
    assert wait_until(lambda: sink.status().outbox_messages == 0, timeout_s=30)
    subscriber.wait_for("edgecam/front/event", 4)
    assert {*numbers(subscriber)} == {
        0,
        1,
        3,
        4,
    }
    assert sink.counters()["mqtt_refused_by_broker"] == 1
    subscriber.close()


def test_status_says_why_there_is_no_connection(open_sink: Opener) -> None:
    port = free_port()
    sink = open_sink(f"mqtt://127.0.0.1:{port}")
    assert wait_until(lambda: "refused" in (sink.status().reason or ""))
    assert sink.status().state == "disconnected"
    nameless = open_sink("mqtt://no-such-host.invalid")
    assert wait_until(lambda: "cannot resolve" in (nameless.status().reason or ""))


def test_a_stop_without_a_broker_leaves_no_thread() -> None:
    sink = MqttSink(MqttSettings(url=f"mqtt://127.0.0.1:{free_port()}"), "front", "b")
    sink.publish_event(wave(n=1))
    time.sleep(0.2)
    sink.close()
    assert "edgecam-mqtt" not in [thread.name for thread in threading.enumerate()]
    sink.close()


def test_an_idle_sink_sleeps(mosquitto: Mosquitto, open_sink: Opener) -> None:
    sink = open_sink(mosquitto.url)
    assert sink.wait_connected(60)
    (network,) = [each for each in threading.enumerate() if each.name == "edgecam-mqtt"]
    status = Path(f"/proc/self/task/{network.native_id}/status")

    def wakeups() -> int:
        lines = status.read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    time.sleep(0.5)
    before = wakeups()
    time.sleep(2)
    # It looks around once a second; one that turns in a loop has thousands.
    assert wakeups() - before < 40


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://h", "expected mqtt://HOST"),
        ("mqtt://", "expected mqtt://HOST"),
        ("mqtt://h:99999", "expected mqtt://HOST"),
        ("mqtt://h/path", "expected mqtt://HOST"),
        ("mqtt://user:canary@h", "mqtt.password_file"),
        ("mqtts://canary@h:8883", "mqtt.username"),
    ],
)
def test_a_bad_url_is_refused_without_its_secrets(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refusal:
        MqttSink(MqttSettings(url=url), "front", "b")
    assert "canary" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_password_without_a_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("canary")
    settings = MqttSettings(url="mqtt://h", password_file=str(tmp_path / "password"))
    with pytest.raises(SettingsError, match=r"mqtt\.username"):
        MqttSink(settings, "front", "b")


def test_the_registry_opens_what_the_settings_ask_for(
    mosquitto: Mosquitto,
) -> None:
    assert open_sinks(Settings(), "b") == {}
    settings = Settings(mqtt=MqttSettings(url=mosquitto.url))
    sinks = open_sinks(settings, "b")
    assert list(sinks) == ["mqtt"]
    sinks["mqtt"].close()
