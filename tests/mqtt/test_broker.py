from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Subscriber, is_listening, retained, wait_until
from happened import wave

from edgecam.core.errors import EdgecamError
from edgecam.mqtt.embedded_broker import EmbeddedBroker
from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt.sink import MqttSink


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as embedded:
        yield embedded


def test_listens_on_loopback_only(broker: EmbeddedBroker) -> None:
    tables = [Path("/proc/net/tcp").read_text(), Path("/proc/net/tcp6").read_text()]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    ours = f":{broker.port:04X}"
    listening = [row[1] for row in rows if row[1].endswith(ours) and row[3] == "0A"]
    assert listening == [f"0100007F{ours}"]


def test_the_sink_and_a_paho_subscriber_meet_there(broker: EmbeddedBroker) -> None:
    subscriber = Subscriber(broker.port).ready()
    sink = MqttSink(MqttSettings(url=broker.url), "demo", "b")
    assert sink.wait_connected(60)
    for i in range(300):
        sink.publish_event(wave(n=i, text="x" * (50_000 if i == 7 else 10)))
    sink.publish_state("paused", b"0")
    sink.close()
    events = subscriber.wait_for("edgecam/demo/event", 300)
    assert [json.loads(m.payload)["attributes"]["n"] for m in events] == [*range(300)]
    kept = retained(broker.port)
    assert kept["edgecam/demo/availability"] == b"offline"
    assert kept["edgecam/demo/state/paused"] == b"0"
    subscriber.close()


def test_mosquitto_sub_gets_what_is_retained_and_the_will(broker: EmbeddedBroker) -> None:
    port = ["-p", str(broker.port)]
    listener = subprocess.Popen(
        ["mosquitto_sub", *port, "-t", "edgecam/#", "-v", "-C", "5"],
        stdout=subprocess.PIPE,
        text=True,
    )
    script = (
        "import sys, time\n"
        "from edgecam.settings.schema import MqttSettings\n"
        "from edgecam.sinks.mqtt.sink import MqttSink\n"
        "sink = MqttSink(MqttSettings(url=sys.argv[1]), 'demo', 'b')\n"
        "sink.publish_state('paused', b'1')\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    dying = subprocess.Popen([sys.executable, "-c", script, broker.url], cwd=root)
    kept = {"edgecam/demo/state/paused": b"1", "edgecam/demo/availability": b"online"}
    assert wait_until(lambda: retained(broker.port, wait_s=0.2) == kept)
    dying.kill()
    dying.wait()
    out, _ = listener.communicate(timeout=120)
    asked, took, *first, last = out.splitlines()
    assert asked.startswith('edgecam/demo/claim {"kind":"ask"')
    assert took.startswith('edgecam/demo/claim {"kind":"take"')
    # What is retained comes in any order.
    assert sorted(first) == ["edgecam/demo/availability online", "edgecam/demo/state/paused 1"]
    assert last == "edgecam/demo/availability offline"
    assert retained(broker.port)["edgecam/demo/availability"] == b"offline"


def children() -> set[str]:
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


def test_close_frees_the_port_and_ends_the_child() -> None:
    before = children()
    broker = EmbeddedBroker()
    assert is_listening(broker.port)
    broker.close()
    assert not is_listening(broker.port)
    assert children() == before


def test_the_broker_dies_with_a_process_that_is_killed() -> None:
    script = (
        "import time\n"
        "from edgecam.mqtt.embedded_broker import EmbeddedBroker\n"
        "print(EmbeddedBroker().port, flush=True)\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert is_listening(port)
        parent.kill()
    assert wait_until(lambda: not is_listening(port), 5)


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EdgecamError, match="does not start on port") as refusal:
            EmbeddedBroker(taken.getsockname()[1])
    assert "\n" not in str(refusal.value)
