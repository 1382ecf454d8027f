"""The socket that keeps large packets from paho: what it hands on, byte by byte or at once."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, listener
from brokers import Mosquitto, Subscriber, free_port, is_listening, wait_until
from happened import wave
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from scripted_broker import ScriptedBroker, packet

from edgecam.mqtt.bounded_socket import BoundedSocket
from edgecam.mqtt.terms import MQTT_3, BrokerMemory, Offer
from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt.sink import MqttSink

BOUND = 1000


def publish(
    topic: str, payload: bytes, qos: int = 0, retain: bool = False, is_5: bool = False
) -> bytes:
    body = struct.pack("!H", len(topic)) + topic.encode()
    body += struct.pack("!H", 7) if qos else b""
    return packet(3 << 4 | qos << 1 | retain, body + (b"\0" if is_5 else b"") + payload)


def handed_on(
    data: bytes, pieces: Callable[[], int], is_5: bool = False
) -> tuple[bytes, list[int]]:
    """All that comes out when ``data`` goes in, and which packets' sizes were cut."""
    near, far = socket.socketpair()
    bounded = BoundedSocket(near, BOUND, has_properties=is_5)
    out, cut = bytearray(), []

    def feed() -> None:
        at = 0
        while at < len(data):
            number = pieces()
            far.sendall(data[at : at + number])
            at += number
        far.close()

    with near:
        thread = threading.Thread(target=feed, daemon=True)
        thread.start()
        while True:
            try:
                got = bounded.recv(random.choice((1, 1, 3, 500, 100_000)))
            except BlockingIOError:
                continue
            if not got:
                break
            out += got
            if bounded.cut_bytes and (not cut or cut[-1] != bounded.cut_bytes):
                cut.append(bounded.cut_bytes)
        thread.join(5)
    return bytes(out), cut


PINGRESP = packet(13 << 4, b"")


@pytest.mark.parametrize("pieces", [lambda: 1, lambda: random.randint(1, 700)])
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("is_5", [False, True])
def test_small_packets_pass_and_large_messages_lose_their_payload(
    pieces: Callable[[], int], qos: int, is_5: bool
) -> None:
    small = publish("a/b", b"x" * 500, qos, is_5=is_5)
    large = publish("a/b", b"y" * 5000, qos, retain=True, is_5=is_5)
    empty = publish("a/b", b"", qos, retain=True, is_5=is_5)
    out, cut = handed_on(small + large + PINGRESP + large + small, pieces, is_5)
    assert out == small + empty + PINGRESP + empty + small
    assert cut == [len(large)] or cut == [len(large)] * 2


def test_the_bound_is_that_of_the_whole_packet() -> None:
    at_bound = publish("t", b"x" * (BOUND - 6))
    assert len(at_bound) == BOUND
    assert handed_on(at_bound, lambda: 10_000) == (at_bound, [])
    above = publish("t", b"x" * (BOUND - 5))
    assert handed_on(above, lambda: 10_000) == (publish("t", b""), [BOUND + 1])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x30\xff\xff\xff\xff\x01", "more than four bytes"),
        (b"\x90\xff\xff\xff\x7f", "no message"),
        (b"\x30\xff\xff\xff\x7f", None),
        (b"\x30\xe8\x10\xff\xff", "longer than the message"),
    ],
)
def test_what_cannot_be_passed_over_ends_the_connection(data: bytes, words: str | None) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        bounded = BoundedSocket(near, BOUND, has_properties=False)
        far.sendall(data)
        with pytest.raises(OSError, match=words):
            bounded.recv(1)
        assert (bounded.refused is None) == (words is None)


def test_random_bytes_raise_nothing_but_what_paho_expects() -> None:
    for seed in range(300):
        noise = random.Random(seed).randbytes(3000)
        try:
            out, _ = handed_on(noise, lambda: 3000, is_5=bool(seed % 2))
        except ConnectionAbortedError:
            continue
        assert len(out) <= len(noise) + 1


def test_a_code_that_paho_does_not_know_is_handed_on_as_one_it_knows() -> None:
    near, far = socket.socketpair()
    with near, far:
        bounded = BoundedSocket(near, BOUND, has_properties=True)
        far.sendall(packet(4 << 4, b"\0\x05\x95") + packet(4 << 4, b"\0\x06\x87\0"))
        out = b""
        while len(out) < 11:
            out += bounded.recv(100)
        assert out == packet(4 << 4, b"\0\x05\x83") + packet(4 << 4, b"\0\x06\x87\0")
        assert bounded.codes == {5: 0x95}


def test_why_a_broker_closes_is_handed_on_so_that_every_paho_reads_it() -> None:
    near, far = socket.socketpair()
    with near, far:
        bounded = BoundedSocket(near, BOUND, has_properties=True)
        said = packet(14 << 4, b"\x95\5\x1f\0\2ab") + packet(14 << 4, b"")
        far.sendall(packet(14 << 4, b"\x95") + packet(14 << 4, b"\x87\0") + said)
        wanted = b"".join(packet(14 << 4, bytes((code, 3, 0x1F, 0, 0))) for code in (0x95, 0x87))
        out = b""
        while len(out) < len(wanted + said):
            out += bounded.recv(100)
        assert out == wanted + said


@pytest.fixture
def open_sink() -> Iterator[Callable[..., MqttSink]]:
    opened: list[MqttSink] = []

    def open_(url: str, **settings: Any) -> MqttSink:
        opened.append(MqttSink(MqttSettings(url=url, **settings), "front", "b00t"))
        return opened[-1]

    yield open_
    for sink in opened:
        sink.close(0.5)


def test_a_large_message_on_3_1_1_is_skipped_and_said_and_what_follows_arrives(
    open_sink: Callable[..., MqttSink], caplog: pytest.LogCaptureFixture
) -> None:
    topic = "edgecam/front/set/pause"
    with ScriptedBroker(refusals={5: b""}) as broker:
        sink = open_sink(broker.url)
        heard: list[tuple[str, bytes]] = []
        sink.subscribe("edgecam/front/set/+", lambda t, payload, _: heard.append((t, payload)))
        assert sink.wait_connected(10)
        broker.send(publish(topic, bytes(1_500_000), qos=1, retain=True))
        broker.send(publish(topic, b"1", qos=1))
        assert wait_until(lambda: heard == [(topic, b"1")])
        assert sink.counters()["mqtt_received_too_large"] == 1
        assert sink.counters()["mqtt_connects"] == 1
        said = [r.getMessage() for r in caplog.records if "bytes that are taken" in r.getMessage()]
        assert len(said) == 1
        assert f"mosquitto_pub -r -n -t '{topic}'" in said[0]
        assert "262144" in said[0]


def test_a_large_retained_message_never_leaves_a_broker_of_mqtt_5(
    mosquitto: Mosquitto, open_sink: Callable[..., MqttSink]
) -> None:
    leave_retained(mosquitto.port, "edgecam/front/set/pause", bytes(1_000_000))
    leave_retained(mosquitto.port, "edgecam/front/set/rate", b"5")
    sink = open_sink(mosquitto.url)
    heard: list[str] = []
    sink.subscribe("edgecam/front/set/+", lambda t, *_: heard.append(t))
    assert wait_until(lambda: heard)
    assert heard == ["edgecam/front/set/rate"]
    assert "mqtt_received_too_large" not in sink.counters()


def leave_retained(port: int, topic: str, payload: bytes) -> None:
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish(topic, payload, 1, True).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def test_a_message_above_mosquittos_message_size_limit_is_dropped_for_its_reason_code(
    make_mosquitto: Callable[..., Mosquitto], open_sink: Callable[..., MqttSink]
) -> None:
    """mosquitto answers 0x95, which the standard does not list for a PUBACK."""
    broker = make_mosquitto("allow_anonymous true\nmessage_size_limit 1000")
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    sink = open_sink(broker.url)
    for n in range(3):
        sink.publish_event(wave(n=n, text="x" * (2000 if n == 1 else 1)))
    subscriber.wait_for("edgecam/front/event", 2)
    assert wait_until(lambda: sink.status().outbox_messages == 0)
    assert sink.counters()["mqtt_events_dropped"] == 1
    assert sink.counters()["mqtt_connects"] == 1
    assert [(r.topic, r.reason) for r in sink.status().refused] == [
        ("edgecam/front/event", "refused by the broker: packet too large")
    ] or sink.status().refused == []
    subscriber.close()


@pytest.mark.parametrize("has_tls", [False, True])
def test_what_mosquitto_retains_is_skipped_on_3_1_1(
    has_tls: bool,
    tmp_path: Path,
    make_mosquitto: Callable[..., Mosquitto],
    open_sink: Callable[..., MqttSink],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By TLS too, where what is decrypted already does not make the socket readable."""
    monkeypatch.setattr(BrokerMemory, "offer", lambda _: Offer(version=MQTT_3))
    authority = Authority(tmp_path, "ca")
    plain = free_port()
    tls = listener(
        *authority.issue("localhost"), f"listener {plain} 127.0.0.1\nallow_anonymous true"
    )
    broker = make_mosquitto(tls if has_tls else "allow_anonymous true")
    broker.start()
    assert wait_until(lambda: not has_tls or is_listening(plain))
    for topic, payload in (("pause", bytes(1_000_000)), ("rate", b"5"), ("zone", bytes(300_000))):
        leave_retained(plain if has_tls else broker.port, f"edgecam/front/set/{topic}", payload)
    url = f"mqtts://localhost:{broker.port}" if has_tls else broker.url
    sink = open_sink(url, ca_file=str(authority.certificate) if has_tls else None)
    heard: list[str] = []
    sink.subscribe("edgecam/front/set/+", lambda topic, *_: heard.append(topic))
    assert wait_until(lambda: sink.counters().get("mqtt_received_too_large") == 2)
    assert wait_until(lambda: heard)
    assert heard == ["edgecam/front/set/rate"]
    assert sink.status().protocol == "3.1.1"
    sink.publish_event(wave(n=1))
    assert wait_until(lambda: sink.status().outbox_messages == 0)
    assert sink.counters()["mqtt_connects"] == 1
