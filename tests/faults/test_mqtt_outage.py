"""A broker that is killed, stopped, or not there yet: every event arrives, once and in order."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, Received, Subscriber, free_port, wait_until
from happened import wave

from edgecam.mqtt import opening
from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt.sink import MqttSink

PUBLISHER = Path(__file__).with_name("mqtt_publisher.py")
ROOT = Path(__file__).parents[2]
EVENT = "edgecam/front/event"
RESULT = "edgecam/front/result"
MIB = 1 << 20
EVENTS_HZ = 20


@pytest.fixture
def publish() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the publisher process; it is killed with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(
        url: str, seconds: float, results_hz: float = 0, keepalive_s: int = 15
    ) -> subprocess.Popen[str]:
        numbers = [seconds, EVENTS_HZ, results_hz, 56, keepalive_s]
        started.append(
            subprocess.Popen(
                [sys.executable, str(PUBLISHER), url, *map(str, numbers)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> Any:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return json.loads(out)


def numbers(messages: list[Received]) -> list[int]:
    return [json.loads(m.payload)["sequence"] for m in messages]


def without_duplicates(sequence: list[int]) -> list[int]:
    return list(dict.fromkeys(sequence))


@pytest.mark.parametrize("outage_s", [5.0, pytest.param(60.0, marks=pytest.mark.long)])
def test_broker_killed_under_events(
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    publish: Callable[..., subprocess.Popen[str]],
    outage_s: float,
) -> None:
    process = publish(mosquitto.url, 4 + outage_s + 2)
    subscriber.wait_for(EVENT, 3 * EVENTS_HZ)
    mosquitto.kill()
    time.sleep(outage_s)
    mosquitto.start()
    report = finish(process)
    got = numbers(subscriber.wait_for(EVENT, report["events"]))
    duplicates = len(got) - len(set(got))
    growth = report["rss_growth_bytes"]
    print(f"\n{outage_s:.0f} s killed: {report['events']} events, {duplicates} duplicates")
    print(f"RSS +{growth / MIB:.2f} MiB, {report['counters']}")
    assert without_duplicates(got) == [*range(report["events"])]
    assert duplicates <= 20
    assert growth < 5 * MIB
    assert report["counters"]["mqtt_events_dropped"] == 0
    assert "mqtt_internal_errors" not in report["counters"]


@pytest.mark.parametrize(
    ("outage_s", "keepalive_s"),
    [(7.0, 2), pytest.param(60.0, 15, marks=pytest.mark.long)],
)
def test_broker_stopped_under_events_and_large_results(
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    publish: Callable[..., subprocess.Popen[str]],
    outage_s: float,
    keepalive_s: int,
) -> None:
    process = publish(mosquitto.url, 4 + outage_s + 3, results_hz=10, keepalive_s=keepalive_s)
    subscriber.wait_for(EVENT, 3 * EVENTS_HZ)
    assert 40_000 < len(subscriber.wait_for(RESULT)[0].payload) < 60_000
    mosquitto.send(signal.SIGSTOP)
    time.sleep(outage_s)
    mosquitto.send(signal.SIGCONT)
    report = finish(process)
    assert wait_until(
        lambda: len(without_duplicates(numbers(subscriber.of(EVENT)))) == report["events"]
    )
    got = numbers(subscriber.of(EVENT))
    results = numbers(subscriber.of(RESULT))
    growth = report["rss_growth_bytes"]
    print(
        f"\n{outage_s:.0f} s stopped: {len(got)} events for {report['events']}, {len(results)} of"
    )
    print(f"{report['results']} results, RSS +{growth / MIB:.2f} MiB, {report['counters']}")
    assert without_duplicates(got) == [*range(report["events"])]
    assert len(got) - len(set(got)) <= 20
    assert growth < 20 * MIB
    assert results == sorted(results)
    assert "mqtt_internal_errors" not in report["counters"]
    dropped = report["counters"]["mqtt_results_dropped"]
    assert dropped > 0
    # What was written into a socket that then broke is on neither side.
    assert report["results"] - len(results) >= dropped


def test_broker_and_its_name_absent_at_start_are_used_when_they_appear(
    make_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """The name appears in an /etc/hosts that only the publisher sees (a mount namespace)."""
    probe = ["unshare", "-m", "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("a mount namespace of our own needs root and unshare")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    port = free_port()
    url = f"mqtt://broker-of-the-test.invalid:{port}"
    script = f'mount --bind "{hosts}" /etc/hosts && exec "$@"'
    command = [sys.executable, str(PUBLISHER), url, "12", "20", "0", "1", "15"]
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script, "sh", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(2.5)
        with hosts.open("a") as stream:
            stream.write("127.0.0.1 broker-of-the-test.invalid\n")
        time.sleep(1.0)
        broker = make_mosquitto(port=port)
        broker.start()
        subscriber = Subscriber(port).ready()
        subscriber.wait_for(EVENT)
        report = finish(process)
        assert wait_until(lambda: len(subscriber.of(EVENT)) >= report["events"])
        assert numbers(subscriber.of(EVENT)) == [*range(report["events"])]
        subscriber.close()
    finally:
        process.kill()
        process.communicate()


class CuttingProxy:
    """Lets a client connect to a broker and cuts the line at its first message."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                with client, socket.create_connection(("127.0.0.1", self._broker_port)) as server:
                    server.sendall(client.recv(4096))
                    client.sendall(server.recv(4096))
                    client.recv(10)

    def close(self) -> None:
        self._server.close()


def test_100_lost_connections_leak_no_descriptor_thread_or_memory(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BACKOFF_S", (0.01,))
    proxy = CuttingProxy(mosquitto.port)
    sink = MqttSink(MqttSettings(url=f"mqtt://127.0.0.1:{proxy.port}"), "front", "b00t")
    sink.publish_event(wave(n=1))

    def after(connects: int) -> tuple[int, int, int]:
        assert wait_until(lambda: sink.counters().get("mqtt_connects", 0) >= connects, 60)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return len(os.listdir("/proc/self/fd")), threading.active_count(), pages * 4096

    early, late = after(20), after(120)
    # A leak leaves one of each behind a connection; a connection that is just opening has a few.
    assert late[0] < early[0] + 20
    assert late[1] < early[1] + 10
    assert late[2] < early[2] + 5 * MIB
    assert sink.status().outbox_messages == 1
    sink.close(0.5)
    proxy.close()


def test_a_stop_while_the_broker_hangs_ends(mosquitto: Mosquitto) -> None:
    sink = MqttSink(MqttSettings(url=mosquitto.url), "front", "b00t")
    assert sink.wait_connected(60)
    mosquitto.send(signal.SIGSTOP)
    for i in range(500):
        sink.publish_event(wave(n=i))
    sink.close()  # the broker does not answer all the while
    assert sink.status().outbox_messages == 500
    mosquitto.send(signal.SIGCONT)


def test_a_port_that_never_answers_connect_is_left_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "CONNACK_TIMEOUT_S", 0.3)
    monkeypatch.setattr(opening, "BACKOFF_S", (0.01,))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        sink = MqttSink(MqttSettings(url=f"mqtt://127.0.0.1:{mute.getsockname()[1]}"), "front", "b")
        assert wait_until(lambda: sink.counters().get("mqtt_connection_faults", 0) >= 3)
        assert "no answer to CONNECT" in (sink.status().reason or "")
        sink.close()
    assert "mqtt_internal_errors" not in sink.counters()
