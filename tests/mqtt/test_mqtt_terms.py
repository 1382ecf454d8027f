"""What brokers of all kinds ask of the sink, and what it makes of it."""

from __future__ import annotations

import gc
import json
import logging
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from brokers import Mosquitto, Subscriber, retained, wait_until
from happened import wave
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from scripted_broker import CLOSE, PUBLISH, Published, ScriptedBroker, Verdict, packet

from edgecam.mqtt import terms
from edgecam.mqtt.address import parse_url
from edgecam.mqtt.embedded_broker import EmbeddedBroker
from edgecam.mqtt.frame_publisher import PicturePublisher
from edgecam.mqtt.login import login
from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt.sink import MqttSink

EVENT = "edgecam/front/event"
SNAPSHOT = "edgecam/front/snapshot"
Opener = Callable[..., MqttSink]
Make = Callable[..., Mosquitto]


@pytest.fixture
def open_sink() -> Iterator[Opener]:
    opened: list[MqttSink] = []

    def open_(url: str, **settings: Any) -> MqttSink:
        opened.append(MqttSink(MqttSettings(url=url, **settings), "front", "b00t"))
        return opened[-1]

    yield open_
    for sink in opened:
        sink.close(0.5)


def numbers(messages: list[Any]) -> list[int]:
    return [json.loads(message.payload)["attributes"]["n"] for message in messages]


@pytest.mark.parametrize(
    "answer",
    [
        b"\x20\x02\x00\x01",
        b"\x20\x03\x00\x84\x00",
        b"\x20\x03\x00\x82\x00",
        b"\x20\x02\x00\x00",
        b"\x20\x02\x00\x05\x20",
        b"",
        None,
    ],
    ids=["v3 refusal", "0x84", "protocol error", "CONNACK of 3.1.1", "nonsense", "closes", "mute"],
)
def test_an_old_broker_is_spoken_to_in_3_1_1_at_once(
    answer: bytes | None, open_sink: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecam.mqtt.opening.CONNACK_TIMEOUT_S", 2.0)
    with ScriptedBroker(refusals={5: answer}) as broker:
        sink = open_sink(broker.url)
        sink.publish_event(wave(n=1))
        assert wait_until(lambda: broker.of(EVENT), 20)
        assert broker.levels == [5, 4]
        assert sink.status().protocol == "3.1.1"
        assert "mqtt_connection_faults" not in sink.counters()
        broker.cut()
        assert wait_until(lambda: len(broker.levels) == 3)
        assert broker.levels[2] == 4


def test_mqtt_5_is_asked_for_again_when_the_time_has_come(
    open_sink: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedBroker(refusals={5: b"\x20\x02\x00\x01"}) as broker:
        sink = open_sink(broker.url)
        assert sink.wait_connected(5)
        monkeypatch.setattr(terms, "DAY_S", 0.0)
        broker.cut()
        assert wait_until(lambda: broker.levels[:3] == [5, 4, 4])
        monkeypatch.undo()


def test_a_broker_that_restarts_is_not_taken_for_an_old_one() -> None:
    class Attempt:
        offer = terms.Offer()
        established = malformed = unanswered = False
        code = None
        closed_by_broker = True

    memory = terms.BrokerMemory()
    assert memory.learn(Attempt())
    assert memory.offer().version == terms.MQTT_3
    old = Attempt()
    old.offer = memory.offer()
    assert memory.learn(old)
    assert memory.offer() == terms.Offer(version=terms.MQTT_3, will_retain=False)
    old.offer = memory.offer()
    assert not memory.learn(old)
    assert memory.offer() == terms.Offer()


def test_rumqttd_which_closes_on_mqtt_5_gets_every_event(open_sink: Opener) -> None:
    with EmbeddedBroker() as broker:
        sink = open_sink(broker.url)
        for n in range(30):
            sink.publish_event(wave(n=n))
        assert wait_until(lambda: sink.status().outbox_messages == 0)
        assert sink.status().protocol == "3.1.1"


def test_mosquitto_speaks_mqtt_5_and_its_limits_are_in_telemetry(
    make_mosquitto: Make, open_sink: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker = make_mosquitto(
        "allow_anonymous true\nmax_packet_size 1000\nmax_inflight_messages 1\n"
        "retain_available false\nmax_keepalive 10"
    )
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    sink = open_sink(broker.url)
    for n in range(30):
        sink.publish_event(wave(n=n))
    sink.publish_state("paused", b"0")
    assert numbers(subscriber.wait_for(EVENT, 30)) == [*range(30)]
    status = sink.status()
    assert status.protocol == "5"
    assert list(status.limits) == [
        "packets of at most 1000 bytes",
        "nothing retained",
        "1 unacknowledged at a time",
        "keep-alive of 10 s",
    ]
    said = [r.getMessage() for r in caplog.records if "at most 1000 bytes" in r.getMessage()]
    assert len(said) == 1
    subscriber.wait_for("edgecam/front/state/paused")
    assert retained(broker.port, wait_s=0.2) == {}
    assert "mqtt_connection_faults" not in sink.counters()
    subscriber.close()


ALIAS, EXPIRY = 0x23, 0x02


def by_alias(topic: str, payload: bytes) -> bytes:
    """A message whose topic may be an alias alone."""
    properties = bytes([3, ALIAS, 0, 1])
    named = len(topic).to_bytes(2, "big") + topic.encode()
    return packet(PUBLISH << 4, named + properties + payload)


def test_a_topic_alias_is_neither_used_nor_taken(
    open_sink: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker offers ten, is offered none, and sends one all the same."""
    heard: list[tuple[str, bytes]] = []
    with ScriptedBroker(properties=bytes([0x22, 0, 10])) as broker:
        sink = open_sink(broker.url)
        sink.subscribe("edgecam/front/set/+", lambda *found: heard.append(found[:2]))
        for n in range(3):
            sink.publish_event(wave(n=n))
        assert wait_until(lambda: len(broker.of(EVENT)) == 3)
        assert {message.properties for message in broker.messages} == {b""}
        # Maximum Packet Size, 4 bytes long, is all that CONNECT asks for.
        assert [(asked[0], len(asked)) for asked in broker.asked] == [(0x27, 5)]
        topic = "edgecam/front/set/paused"
        broker.send(by_alias(topic, b"1") + by_alias("", b"0") + by_alias(topic, b"2"))
        assert wait_until(lambda: len(heard) == 2)
        assert heard == [(topic, b"1"), (topic, b"2")]
        assert sink.counters()["mqtt_callback_errors"] == 1
        assert "mqtt_connection_faults" not in sink.counters()
    assert caplog.text.count("a topic alias, which was not agreed on") == 1


def test_message_expiry_is_asked_for_pictures_and_for_nothing_that_a_log_wants(
    open_sink: Opener,
) -> None:
    with ScriptedBroker() as broker:
        sink = open_sink(broker.url)
        sink.publish_event(wave(n=0))
        sink.publish_state("paused", b"0")
        assert wait_until(lambda: broker.of(EVENT) and broker.of("edgecam/front/state/paused"))
        assert {message.properties for message in broker.messages} == {b""}
        for period_s, expiry_s in ((0.1, 2), (30.0, 60)):
            address = parse_url(broker.url)
            who = login(MqttSettings(url=broker.url), "camera", None)
            pictures = PicturePublisher(address, who, None, f"yard/{expiry_s}", period_s)
            pictures.start()
            pictures.offer(b"\xff\xd8\xff", 7, 1.0)
            assert wait_until(lambda: broker.of(f"yard/{expiry_s}"))  # noqa: B023
            pictures.stop()
            properties = broker.of(f"yard/{expiry_s}")[0].properties
            assert properties[:5] == bytes([EXPIRY, *expiry_s.to_bytes(4, "big")])


def test_a_broker_of_qos_0_alone_gets_every_event(make_mosquitto: Make, open_sink: Opener) -> None:
    broker = make_mosquitto("allow_anonymous true\nmax_qos 0")
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    sink = open_sink(broker.url)
    for n in range(30):
        sink.publish_event(wave(n=n))
    assert numbers(subscriber.wait_for(EVENT, 30)) == [*range(30)]
    assert wait_until(lambda: sink.status().outbox_messages == 0)
    assert "QoS 0 only" in sink.status().limits
    broker.kill()
    sink.publish_event(wave(n=30))
    broker.start()
    assert wait_until(lambda: sink.status().outbox_messages == 0)
    assert sink.counters()["mqtt_events_sent"] == 31
    subscriber.close()


def test_snapshots_above_the_brokers_limit_are_skipped_and_said_once(
    make_mosquitto: Make, open_sink: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_mosquitto("allow_anonymous true\nmax_packet_size 20000")
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    sink = open_sink(broker.url)
    assert sink.wait_connected(5)
    for n in range(5):
        sink.publish_snapshot(b"\xff\xd8" + bytes(30_000), retain=n % 2 == 0)
        sink.publish_event(wave(n=n))
    subscriber.wait_for(EVENT, 5)
    sink.publish_snapshot(b"\xff\xd8small", retain=False)
    subscriber.wait_for(SNAPSHOT)
    assert [len(m.payload) for m in subscriber.of(SNAPSHOT)] == [7]
    said = [r.getMessage() for r in caplog.records if "snapshot" in r.getMessage()]
    assert said == [
        f"{SNAPSHOT}: above the broker's limit of 20000 bytes; a message of 30002 bytes on "
        f"{SNAPSHOT} was not sent"
    ]
    assert sink.counters()["mqtt_connects"] == 1
    subscriber.close()


def test_an_old_brokers_limit_is_found_out_and_costs_no_event(
    open_sink: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    """MQTT 3.1.1: it closes for what is above 20 kB, and says nothing."""

    def verdict(message: Published) -> Verdict:
        return CLOSE if len(message.payload) > 20_000 else 0

    with ScriptedBroker(refusals={5: b""}, verdict=verdict) as broker:
        sink = open_sink(broker.url)
        assert sink.wait_connected(5)
        for n in range(4):
            sink.publish_event(wave(n=n))
            sink.publish_snapshot(b"\xff\xd8" + bytes(30_000), retain=n < 2)
            assert wait_until(lambda n=n: n in numbers(broker.of(EVENT)), 20)
        assert wait_until(lambda: sink.status().outbox_messages == 0, 20)
        assert wait_until(lambda: sink.counters().get("mqtt_ended_connection"), 20)
        connects = sink.counters()["mqtt_connects"]
        for _ in range(5):
            sink.publish_snapshot(b"\xff\xd8" + bytes(30_000), retain=False)
            sink.publish_snapshot(b"\xff\xd8" + bytes(30_000), retain=True)
        sink.publish_event(wave(n=4))
        assert wait_until(lambda: 4 in numbers(broker.of(EVENT)))
        assert sink.counters()["mqtt_connects"] == connects == 3
    assert len(broker.of(SNAPSHOT)) == 2
    said = [r.getMessage() for r in caplog.records if SNAPSHOT in r.getMessage()]
    assert len(said) == 1
    assert f"30002 bytes on {SNAPSHOT}" in said[0]
    assert {refusal.topic for refusal in sink.status().refused} == {SNAPSHOT}


def test_after_a_connection_events_go_before_states(open_sink: Opener) -> None:
    with ScriptedBroker() as broker:
        sink = open_sink(broker.url)
        sink.publish_state("paused", b"0")
        assert wait_until(lambda: broker.of("edgecam/front/state/paused"))
        broker.verdict = lambda _: CLOSE
        for n in range(25):
            sink.publish_event(wave(n=n))
        assert wait_until(lambda: len(broker.levels) >= 2, 20)
        broker.messages.clear()
        broker.verdict = lambda _: 0
        assert wait_until(lambda: broker.of("edgecam/front/availability"), 30)
        sent = [m.topic for m in broker.messages if m.topic != "edgecam/front/claim"]
        assert sent[:25] == [EVENT] * 25
        assert sent[25:] == ["edgecam/front/state/paused", "edgecam/front/availability"]


def test_an_acl_that_denies_events_holds_them_until_it_is_put_right(
    tmp_path: Any,
    make_mosquitto: Make,
    open_sink: Opener,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgecam.sinks.mqtt.delivery.DENIED_S", 0.5)
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite edgecam/front/availability\ntopic read #\n")
    broker = make_mosquitto(f"allow_anonymous true\nacl_file {rules}")
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    sink = open_sink(broker.url)
    sink.publish_retained("homeassistant/sensor/edgecam_front/fps/config", b"{}")
    sink.publish_retained("homeassistant/sensor/edgecam_front/pps/config", b"{}")
    for n in range(5):
        sink.publish_event(wave(n=n))
    assert wait_until(lambda: len(sink.status().refused) == 2)
    found = {refusal.topic: refusal.reason for refusal in sink.status().refused}
    assert found == {
        EVENT: "refused by the broker: not authorized",
        "homeassistant/#": "refused by the broker: not authorized",
    }
    assert wait_until(lambda: sink.counters().get("mqtt_events_refused", 0) >= 3)
    assert sink.status().outbox_messages == 5
    assert sink.counters()["mqtt_events_dropped"] == 0
    assert [r.getMessage().split(":")[0] for r in caplog.records] == [EVENT, "homeassistant/#"]
    rules.write_text("topic readwrite #\n")
    broker.send(signal.SIGHUP)
    assert numbers(subscriber.wait_for(EVENT, 5)) == [*range(5)]
    assert wait_until(lambda: EVENT not in {r.topic for r in sink.status().refused})
    subscriber.close()


@pytest.mark.parametrize("code", [0x90, 0x99])
def test_an_event_that_is_refused_for_good_is_dropped_counted_and_said(
    code: int, open_sink: Opener
) -> None:
    def verdict(message: Published) -> Verdict:
        return code if message.topic == EVENT and numbers([message]) == [1] else 0

    with ScriptedBroker(verdict=verdict) as broker:
        sink = open_sink(broker.url)
        for n in range(3):
            sink.publish_event(wave(n=n))
        assert wait_until(lambda: sink.status().outbox_messages == 0)
        assert sorted(numbers(broker.of(EVENT))) == [0, 1, 2]
        assert sink.counters()["mqtt_events_dropped"] == 1
        assert sink.counters()["mqtt_refused_by_broker"] == 1


def test_an_event_refused_without_a_clear_reason_has_three_tries(
    open_sink: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecam.sinks.mqtt.delivery.UNCLEAR_S", 0.1)

    def verdict(message: Published) -> Verdict:
        return 0x83 if message.topic == EVENT and numbers([message]) == [0] else 0

    with ScriptedBroker(verdict=verdict) as broker:
        sink = open_sink(broker.url)
        sink.publish_event(wave(n=0))
        assert wait_until(lambda: sink.status().outbox_messages == 0)
        sink.publish_event(wave(n=1))
        assert wait_until(lambda: 1 in numbers(broker.of(EVENT)))
        assert numbers(broker.of(EVENT)) == [0, 0, 0, 1]
        assert sink.counters()["mqtt_events_dropped"] == 1


def test_a_broker_that_crashes_over_an_event_loses_none(open_sink: Opener) -> None:
    """Five times in a row, on the very same event; what it closes for goes behind the others."""
    crashes = iter(range(5))

    def verdict(message: Published) -> Verdict:
        is_suspect = message.topic == EVENT and numbers([message]) == [1]
        return CLOSE if is_suspect and next(crashes, None) is not None else 0

    with ScriptedBroker(verdict=verdict) as broker:
        sink = open_sink(broker.url, keepalive_s=2)
        for n in range(4):
            sink.publish_event(wave(n=n))
        assert wait_until(lambda: {0, 2, 3} <= set(numbers(broker.of(EVENT))), 30)
        assert wait_until(lambda: numbers(broker.of(EVENT)).count(1) >= 3, 30)
        assert sink.counters()["mqtt_events_dropped"] == 0
        assert sink.status().outbox_messages == 1


def test_a_connection_without_acknowledgements_is_given_up_and_said(
    open_sink: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    """It answers pings; the event is acknowledged on the next connection."""

    def verdict(message: Published) -> Verdict:
        return None if message.topic == EVENT and message.connection == 1 else 0

    with ScriptedBroker(verdict=verdict) as broker:
        sink = open_sink(broker.url, keepalive_s=2)
        assert sink.wait_connected(5)
        sink.publish_event(wave(n=0))
        assert wait_until(lambda: sink.status().outbox_messages == 0, 30)
        assert numbers(broker.of(EVENT)) == [0, 0]
        assert sink.counters()["mqtt_ack_timeouts"] == 1
        assert any("no acknowledgement for 4 s" in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize("refusal", [{}, {5: b""}], ids=["MQTT 5", "MQTT 3.1.1"])
def test_an_event_alone_unacknowledged_among_others_is_dropped_the_second_time(
    refusal: dict[int, bytes], open_sink: Opener
) -> None:
    def verdict(message: Published) -> Verdict:
        return None if message.topic == EVENT and numbers([message]) == [0] else 0

    with ScriptedBroker(refusals=refusal, verdict=verdict) as broker:
        sink = open_sink(broker.url, keepalive_s=2)
        assert sink.wait_connected(5)
        for n in range(3):
            sink.publish_event(wave(n=n))
        assert wait_until(lambda: sink.counters().get("mqtt_ack_timeouts", 0) >= 1, 30)
        assert sink.counters()["mqtt_events_dropped"] == 0
        sink.publish_event(wave(n=3))
        assert wait_until(lambda: 3 in numbers(broker.of(EVENT)), 30)
        assert wait_until(lambda: sink.status().outbox_messages == 0, 30)
        assert sink.counters()["mqtt_events_dropped"] == 1


def test_a_broker_that_never_acknowledges_is_spoken_to_with_qos_0(open_sink: Opener) -> None:
    """uMQTTBroker and PicoMQTT know no QoS 1; a SUBSCRIBE they answer."""
    with ScriptedBroker(refusals={5: b""}, verdict=lambda _: None) as broker:
        sink = open_sink(broker.url, keepalive_s=2)
        sink.publish_event(wave(n=0))
        assert wait_until(lambda: sink.status().outbox_messages == 0, 40)
        assert sink.counters()["mqtt_ack_timeouts"] == 2
        assert broker.of(EVENT)[-1].qos == 0
        assert "QoS 0 only" in sink.status().limits


def test_a_result_never_acknowledges_an_event(open_sink: Opener) -> None:
    """paho numbers all messages alike, and calls back for each; the numbers come round."""
    with ScriptedBroker(verdict=lambda m: None if m.topic == EVENT else 0) as broker:
        sink = open_sink(broker.url, keepalive_s=600)
        assert sink.wait_connected(5)
        sink.publish_event(wave(n=0))
        assert wait_until(lambda: broker.of(EVENT))
        number = broker.of(EVENT)[0].number
        # Where the next number would be that of the event in flight.
        for client in gc.get_objects():
            if isinstance(client, Client):
                client._last_mid = number - 1 if number > 1 else 65_535
        sink.link.delivery.results.put("edgecam/front/result", b"r", 1e12)
        sink.link.wake()
        assert wait_until(lambda: broker.of("edgecam/front/result"))
        sink.publish_state("paused", b"1")
        assert wait_until(lambda: broker.of("edgecam/front/state/paused"))
        assert sink.status().outbox_messages == 1
        assert "mqtt_events_sent" not in sink.counters()


@pytest.mark.parametrize(
    ("code", "will", "client_id"),
    [
        (0x9A, (1, False), "edgecam-front-b00t"),
        (0x9B, (0, True), "edgecam-front-b00t"),
        (0x85, (1, True), ""),
    ],
    ids=["no retain", "no QoS 1", "no such client id"],
)
def test_a_connect_that_is_refused_for_its_will_or_id_is_put_right(
    code: int, will: tuple[int, bool], client_id: str, open_sink: Opener
) -> None:
    with ScriptedBroker(first_refusal=bytes([0x20, 3, 0, code, 0])) as broker:
        sink = open_sink(broker.url)
        assert sink.wait_connected(5)
        assert broker.wills == [will]
        assert broker.client_ids == [client_id]


def test_a_broker_of_3_1_1_that_hangs_up_on_a_retained_will_gets_a_plain_one(
    open_sink: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    """AWS IoT before it spoke MQTT 5: whatever is retained ends the connection."""
    with ScriptedBroker(
        refusals={5: b""},
        dislikes=lambda _qos, retained, _number: retained,
        verdict=lambda message: CLOSE if message.retain else 0,
    ) as broker:
        sink = open_sink(broker.url)
        sink.publish_event(wave(n=0))
        assert wait_until(lambda: sink.status().outbox_messages == 0, 20)
        sink.publish_state("paused", b"1")
        assert wait_until(lambda: broker.of("edgecam/front/availability"))
        assert not any(message.retain for message in broker.messages)
        assert broker.wills == [(1, True), (1, False), (1, True), (1, False)]
        assert list(sink.status().limits) == ["nothing retained"]
        assert sink.counters()["mqtt_connects"] == 1
        assert "nothing retained" in caplog.text


def test_a_broker_of_3_1_1_on_its_way_up_is_not_taken_for_one_that_retains_nothing(
    open_sink: Opener,
) -> None:
    with ScriptedBroker(refusals={5: b""}, dislikes=lambda *words: words[-1] < 3) as broker:
        sink = open_sink(broker.url)
        assert wait_until(lambda: broker.of("edgecam/front/availability"))
        assert broker.of("edgecam/front/availability")[-1].retain
        assert not sink.status().limits
        assert broker.wills[-1] == (1, True)


def test_a_broker_of_3_1_1_that_ends_at_retained_messages_alone_still_gets_events(
    open_sink: Opener,
) -> None:
    """It takes the retained will: what ends the connection is found out by what does not."""
    with ScriptedBroker(
        refusals={5: b""}, verdict=lambda message: CLOSE if message.retain else 0
    ) as broker:
        sink = open_sink(broker.url)
        for n in range(5):
            sink.publish_event(wave(n=n))
        assert wait_until(lambda: sink.status().outbox_messages == 0, 30)
        assert set(numbers(broker.of(EVENT))) == {*range(5)}


def test_the_brokers_client_id_and_reason_are_said(open_sink: Opener) -> None:
    with ScriptedBroker(properties=b"\x12\x00\x03abc") as broker:
        sink = open_sink(broker.url)
        assert sink.wait_connected(5)
        assert list(sink.status().limits) == ["client id 'abc'"]
        assert broker.max_packet_bytes == [262_144]


def test_a_flood_of_commands_keeps_no_event_from_going_out(
    mosquitto: Mosquitto, subscriber: Subscriber, open_sink: Opener
) -> None:
    sink = open_sink(mosquitto.url)
    heard: list[bytes] = []
    sink.subscribe("edgecam/front/set/+", lambda _topic, payload, _retained: heard.append(payload))
    assert sink.wait_connected(5)
    flooder = Client(CallbackAPIVersion.VERSION2)
    flooder.connect("127.0.0.1", mosquitto.port)
    flooder.loop_start()
    for n in range(20_000):
        flooder.publish("edgecam/front/set/pause", b"1", 0)
        if n % 1000 == 0:
            sink.publish_event(wave(n=n))
    assert numbers(subscriber.wait_for(EVENT, 20, 30)) == [*range(0, 20_000, 1000)]
    assert wait_until(lambda: sink.counters().get("mqtt_received_too_many", 0) > 10_000, 30)
    flooder.loop_stop()
    assert len(heard) + sink.counters()["mqtt_received_too_many"] <= 20_000
    assert sink.counters()["mqtt_connects"] == 1


def test_a_broker_that_disconnects_for_its_acl_gets_the_events_once_it_is_put_right(
    open_sink: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HiveMQ, and EMQX with deny_action = disconnect: DISCONNECT with 0x87."""
    monkeypatch.setattr("edgecam.sinks.mqtt.delivery.DENIED_S", 0.5)
    monkeypatch.setattr("edgecam.sinks.mqtt.delivery.LONGEST_DENIED_S", 1.0)
    with ScriptedBroker(verdict=lambda m: "87" if m.topic == EVENT else 0) as broker:
        sink = open_sink(broker.url)
        for n in range(5):
            sink.publish_event(wave(n=n))
        assert wait_until(lambda: sink.counters().get("mqtt_events_held", 0) >= 2, 30)
        assert [r.topic for r in sink.status().refused] == [EVENT]
        assert sink.counters()["mqtt_events_dropped"] == 0
        broker.messages.clear()
        broker.verdict = lambda _: 0
        assert wait_until(lambda: sink.status().outbox_messages == 0, 30)
        assert numbers(broker.of(EVENT))[-5:] == [*range(5)]
        assert wait_until(lambda: not sink.status().refused)


def test_a_snapshot_that_a_broker_disconnects_for_is_not_sent_again(open_sink: Opener) -> None:
    """EMQX: DISCONNECT with 0x95, packet too large, though its CONNACK stated no limit."""
    with ScriptedBroker(verdict=lambda m: "95" if len(m.payload) > 20_000 else 0) as broker:
        sink = open_sink(broker.url)
        assert sink.wait_connected(5)
        sink.publish_snapshot(b"\xff\xd8" + bytes(30_000), retain=False)
        assert wait_until(lambda: len(broker.levels) == 2, 20)
        assert wait_until(lambda: sink.status().state == "connected")
        for n in range(5):
            sink.publish_snapshot(b"\xff\xd8" + bytes(30_000), retain=n % 2 == 0)
            sink.publish_event(wave(n=n))
        assert wait_until(lambda: sink.status().outbox_messages == 0, 20)
        assert len(broker.of(SNAPSHOT)) == 1
        assert sink.counters()["mqtt_connects"] == 2


def test_zigbee2mqtts_two_limits_of_mosquitto(make_mosquitto: Make, open_sink: Opener) -> None:
    """Zigbee2MQTT issue 13030: with these two lines it connected and was cut off without end."""
    broker = make_mosquitto("allow_anonymous true\nmax_packet_size 2048\nmessage_size_limit 2048")
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    sink = open_sink(broker.url)
    for n in range(5):
        sink.publish_retained("homeassistant/sensor/edgecam_front/large/config", b"x" * (3000 + n))
        sink.publish_snapshot(bytes(60_000), retain=False)
        sink.publish_event(wave(n=n))
    assert numbers(subscriber.wait_for(EVENT, 5)) == [*range(5)]
    assert sink.counters()["mqtt_connects"] == 1
    subscriber.close()
