"""Commands from the network against a real daemon: good ones, bad ones, a thousand of them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber, wait_until
from daemons import LOOPED, Daemon
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

BASE = "edgecam/front"
ALLOWED = ("pause", "decode.score_threshold", "decode.max_poses")
CONFIGURATION = """name = "front"
model = [{{path = "posenet"}}]
[source]
url = "{source}"
loop = true
realtime = true
[inference]
threads = 1
[mqtt]
url = "{broker}"
[remote]
allow = {allow}
"""


class Commander:
    """Another client of the same broker."""

    def __init__(self, port: int) -> None:
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(100)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def set(self, setting: str, payload: bytes | str, retain: bool = False) -> None:
        message = self._client.publish(f"{BASE}/set/{setting}", payload, qos=1, retain=retain)
        message.wait_for_publish(60)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def commander(mosquitto: Mosquitto) -> Iterator[Commander]:
    made = Commander(mosquitto.port)
    yield made
    made.close()


def start(folder: Path, broker: Mosquitto, allow: tuple[str, ...]) -> Daemon:
    config = folder / "front.toml"
    text = CONFIGURATION.format(source=LOOPED[1], broker=broker.url, allow=json.dumps(allow))
    config.write_text(text)
    daemon = Daemon(folder, "--config", config, WATCHDOG_USEC="4000000")
    daemon.wait_ready()
    return daemon


def asks_and_hears(commander: Commander, subscriber: Subscriber, wanted: int) -> bool:
    commander.set("decode_max_poses", str(wanted))
    time.sleep(0.5)
    return subscriber.last(f"{BASE}/state/decode_max_poses") == str(wanted).encode()


def answered(subscriber: Subscriber, setting: str, payload: bytes) -> None:
    """Wait until ``state/<setting>`` says so."""
    topic = f"{BASE}/state/{setting}"
    assert wait_until(lambda: subscriber.last(topic) == payload, 60), subscriber.of(topic)[-3:]


def newest(subscriber: Subscriber, topic: str) -> dict[str, object]:
    seen = len(subscriber.of(f"{BASE}/{topic}"))
    found = subscriber.wait_for(f"{BASE}/{topic}", seen + 4)
    return json.loads(found[-1].payload)


def test_settings_change_while_it_runs(
    mosquitto: Mosquitto, subscriber: Subscriber, commander: Commander, tmp_path: Path
) -> None:
    # Retained before the daemon is there: it would be obeyed at every start.
    commander.set("decode_score_threshold", "1.0", retain=True)
    daemon = start(tmp_path, mosquitto, ALLOWED)
    try:
        answered(subscriber, "decode_score_threshold", b"0.5")
        answered(subscriber, "decode_max_poses", b"5")
        answered(subscriber, "pause", b"OFF")
        assert newest(subscriber, "result")["poses"]
        commander.set("decode_score_threshold", "1.0")
        answered(subscriber, "decode_score_threshold", b"1.0")
        assert newest(subscriber, "result")["poses"] == []
        for setting, payload in (
            ("decode_score_threshold", "1.5"),
            ("decode_max_poses", "0"),
            ("decode_max_poses", "many"),
            ("decode_top_k", "3"),
            ("mqtt_url", "mqtt://elsewhere"),
            ("pause", "maybe"),
        ):
            commander.set(setting, payload)
        commander.set("pause", "ON")
        answered(subscriber, "pause", b"ON")
        time.sleep(2.0)  # what was on its way
        seen = len(subscriber.of(f"{BASE}/result"))
        time.sleep(3.0)
        assert len(subscriber.of(f"{BASE}/result")) == seen
        report = json.loads(subscriber.last(f"{BASE}/telemetry") or b"")
        assert report["paused"] is True
        counters = report["counters"]
        assert counters["remote_refused"] == 6
        assert counters["remote_retained_ignored"] == 1
        fed = len(daemon.supervisor.of("WATCHDOG=1"))
        assert wait_until(lambda: len(daemon.supervisor.of("WATCHDOG=1")) > fed)
        commander.set("pause", "OFF")
        subscriber.wait_for(f"{BASE}/result", seen + 5)
        states = {m.topic for m in subscriber.messages if "/state/" in m.topic and m.payload}
        assert states == {f"{BASE}/state/{key.replace('.', '_')}" for key in ALLOWED}
    finally:
        daemon.close()


def test_nothing_may_be_set_unless_the_configuration_says_so(
    mosquitto: Mosquitto, subscriber: Subscriber, commander: Commander, tmp_path: Path
) -> None:
    daemon = start(tmp_path, mosquitto, ())
    try:
        subscriber.wait_for(f"{BASE}/result", 5)
        commander.set("pause", "ON")
        commander.set("decode_score_threshold", "1.0")
        assert newest(subscriber, "result")["poses"]
        assert not [m for m in subscriber.messages if "/state/" in m.topic]
    finally:
        daemon.close()


def fuzz(number: int, noise: random.Random) -> tuple[str, bytes, bool]:
    """A command that no sane program sends: setting, payload, retained."""
    setting = noise.choice(
        ["decode_score_threshold", "decode_max_poses", "pause", "mqtt_url", "x" * 300, "~", "%n%s"]
    )
    payload = noise.choice(
        [
            lambda: b"\xff\xfe\xc3\x28" * noise.randrange(1, 100),
            lambda: b"[" * noise.randrange(1, 100_000),
            lambda: b'{"a":' * 50_000,
            lambda: bytes(1_000_000) if number % 20 == 0 else b"\0",
            lambda: noise.randbytes(noise.randrange(200)),
            lambda: noise.choice([b"nan", b"inf", b"-1", b"1e999", b"9" * 60, b"null", b"", b" "]),
            lambda: "٣".encode() * noise.randrange(1, 9),
        ]
    )()
    return setting, payload, noise.random() < 0.2


@pytest.mark.parametrize("commands", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_the_network_thread_outlives_whatever_comes(
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    commander: Commander,
    tmp_path: Path,
    commands: int,
) -> None:
    daemon = start(tmp_path, mosquitto, ALLOWED)
    noise = random.Random(7)
    try:
        answered(subscriber, "decode_max_poses", b"5")
        for number in range(commands):
            commander.set(*fuzz(number, noise))
            if number % 50 == 49:
                wanted = 1 + number // 50 % 90
                # What comes faster than 50 a second is left out: ask until it is answered.
                assert wait_until(partial(asks_and_hears, commander, subscriber, wanted), 120)
        time.sleep(1.5)
        report = json.loads(subscriber.last(f"{BASE}/telemetry") or b"")
        counters = report["counters"]
        ours = {k: v for k, v in counters.items() if k.startswith("remote_")}
        print(f"\n{commands} commands: {ours}")
        assert counters["remote_accepted"] >= commands // 50
        assert counters["remote_refused"] > commands // 2
        assert counters["mqtt_connects"] == 1
        assert "mqtt_internal_errors" not in counters
        assert len(daemon.log.splitlines()) < 60
        assert daemon.process.poll() is None
    finally:
        daemon.close()
