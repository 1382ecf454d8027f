"""A real mosquitto and a real subscriber for the tests, each a process or thread of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from paho.mqtt import publish
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

# A slow or busy machine takes so many times as long; what holds sooner ends the wait.
PATIENCE = 6.0
# Below those that the system gives out by itself, and each of pytest's processes begins elsewhere:
# no process takes one between here and the broker's start, or while a broker is gone.
_ports = itertools.cycle(range(12000, 28000))
for _ in range(os.getpid() * 97 % 16000):
    next(_ports)


def free_port() -> int:
    for port in _ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def wait_until(what: Callable[[], object], timeout_s: float = 10.0) -> bool:
    """Whether ``what`` holds in time; ``timeout_s`` is for a quiet machine, see ``PATIENCE``."""
    end_s = time.monotonic() + PATIENCE * timeout_s
    while time.monotonic() < end_s:
        if what():
            return True
        time.sleep(0.02)
    return bool(what())


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def mosquitto_command() -> str:
    found = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if found is None:
        pytest.skip("mosquitto is not installed (Debian: apt install mosquitto mosquitto-clients)")
    return found


class Mosquitto:
    """A mosquitto of our own on a loopback port; it can be killed, stopped and started again."""

    def __init__(self, folder: Path, lines: str = "allow_anonymous true", port: int = 0) -> None:
        self.port = port or free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        # As root it would change to a user who cannot read the test's keys.
        user = "user root\n" if os.geteuid() == 0 else ""
        self._config.write_text(f"{user}listener {self.port} 127.0.0.1\n{lines}\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [mosquitto_command(), "-c", str(self._config)], stderr=subprocess.DEVNULL
        )
        assert wait_until(lambda: is_listening(self.port)), "mosquitto does not listen"

    def tell(self, topic: str, text: str) -> None:
        """Publish as another client, QoS 1."""
        publish.single(topic, text, qos=1, hostname="127.0.0.1", port=self.port)

    def send(self, what: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(what)

    def kill(self) -> None:
        """SIGKILL, or nothing if it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGTERM, so that it writes what it retains to its database if it has one."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)
        self._process = None


@dataclass(frozen=True)
class Received:
    topic: str
    payload: bytes
    qos: int
    retained: bool
    received_s: float


@dataclass
class Subscriber:
    """Collects everything on a broker, and comes back within a second when it was gone."""

    port: int
    topic_filter: str = "#"
    messages: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._received
        self._client.connect_async("127.0.0.1", self.port, keepalive=600)
        self._client.loop_start()

    def _connected(self, client: Client, *_: object) -> None:
        client.subscribe(self.topic_filter, qos=1)

    def _received(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.messages.append(
            Received(message.topic, message.payload, message.qos, message.retain, time.monotonic())
        )

    def ready(self) -> Subscriber:
        assert self._subscribed.wait(60), "the subscriber cannot subscribe"
        return self

    def of(self, topic: str) -> list[Received]:
        return [m for m in list(self.messages) if m.topic == topic]

    def last(self, topic: str) -> bytes | None:
        found = self.of(topic)
        return found[-1].payload if found else None

    def wait_for(self, topic: str, number: int = 1, timeout_s: float = 10.0) -> list[Received]:
        assert wait_until(lambda: len(self.of(topic)) >= number, timeout_s), (
            f"{len(self.of(topic))} of {number} messages on {topic}"
        )
        return self.of(topic)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def retained(port: int, topic_filter: str = "#", wait_s: float = 0.5) -> dict[str, bytes]:
    """What the broker retains, by a subscriber that is new to it."""
    subscriber = Subscriber(port, topic_filter).ready()
    time.sleep(wait_s)
    subscriber.close()
    return {m.topic: m.payload for m in subscriber.messages if m.retained}
