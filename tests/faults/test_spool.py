"""Events outlast the process: killed, stopped, with and without a broker and a disk."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from brokers import Mosquitto, Received, Subscriber, free_port, wait_until
from daemons import LOOPED, MODEL, Daemon
from programs import environment
from test_recorder_disk import mounted

ZONE = """
name = "front"
[mqtt]
spool_after_s = 1
[[zone]]
name = "picture"
polygon = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
dwell_s = 0.7
"""
PUBLISHER = Path(__file__).with_name("spool_publisher.py")
EVENT = "edgecam/front/event"


class Publisher:
    """The process, and what it has printed."""

    def __init__(
        self, url: str, number: int, after_s: float, state: Path, prefix: Sequence[str] = ()
    ) -> None:
        command = [sys.executable, str(PUBLISHER), url, str(number), str(after_s)]
        self.process = subprocess.Popen(
            [*prefix, *command],
            env=environment(XDG_STATE_HOME=str(state)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self.logged: list[str] = []
        for stream, lines in ((self.process.stdout, self.said), (self.process.stderr, self.logged)):
            threading.Thread(target=lambda s=stream, n=lines: n.extend(s), daemon=True).start()

    def last(self, word: str) -> str:
        found = [line.split()[1] for line in list(self.said) if line.startswith(f"{word} ")]
        return found[-1] if found else ""

    def wait(self, line: str, timeout_s: float = 60.0) -> None:
        assert wait_until(lambda: f"{line}\n" in list(self.said), timeout_s), (
            line,
            self.said[-3:],
            self.logged,
        )

    def end(self, what: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(what)
        self.process.wait(30)


Starter = Callable[..., Publisher]


@pytest.fixture
def publish(tmp_path: Path) -> Iterator[Starter]:
    """Starts publishers on one state directory; they are killed with the test."""
    made: list[Publisher] = []

    def start(
        url: str, number: int = 0, after_s: float = 0.1, prefix: Sequence[str] = ()
    ) -> Publisher:
        made.append(Publisher(url, number, after_s, tmp_path / "state", prefix))
        return made[-1]

    yield start
    for each in made:
        each.end(signal.SIGKILL)


@pytest.fixture
def spool_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "edgecam" / "front" / "front.spool"


def keys(messages: Sequence[Received]) -> list[tuple[str, int]]:
    found = [json.loads(message.payload) for message in messages]
    return [(each["boot_id"], each["sequence"]) for each in found]


def test_500_that_wait_when_it_is_killed_arrive_once_each(
    make_mosquitto: Callable[..., Mosquitto], publish: Starter
) -> None:
    broker = make_mosquitto()
    first = publish(broker.url, 500)
    first.wait("kept 500")
    first.end(signal.SIGKILL)
    boot_id = first.last("boot")
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    second = publish(broker.url)
    found = subscriber.wait_for(EVENT, 500, 60)
    second.wait("kept -500")
    second.end(signal.SIGTERM)
    assert keys(found) == [(boot_id, number) for number in range(500)]
    assert keys(subscriber.of(EVENT)) == keys(found)
    for message in found:
        event = json.loads(message.payload)
        assert event["attributes"]["n"] == event["sequence"]
        assert event["delayed_s"] >= 1.0
    # The next one has nothing to send.
    third = publish(broker.url)
    third.wait("waits 0")
    subscriber.close()


@pytest.mark.parametrize("rounds", [3, pytest.param(40, marks=pytest.mark.long)])
def test_killed_at_any_moment_it_keeps_what_was_on_the_disk(
    make_mosquitto: Callable[..., Mosquitto], publish: Starter, rounds: int
) -> None:
    broker, chance = make_mosquitto(), random.Random(rounds)
    kept: set[tuple[str, int]] = set()
    for _ in range(rounds):
        process = publish(broker.url, 100_000)
        wanted = chance.randint(1, 120)
        assert wait_until(lambda p=process, w=wanted: int(p.last("kept") or 0) >= w, 60)
        process.end(signal.SIGKILL)
        boot_id, number = process.last("boot"), int(process.last("kept"))
        kept |= {(boot_id, sequence) for sequence in range(number)}
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    last = publish(broker.url)
    assert wait_until(lambda: kept <= set(keys(subscriber.of(EVENT))), 120)
    last.wait("waits 0")
    found = keys(subscriber.of(EVENT))
    assert len(found) == len(set(found))
    # Of each run in its order, and one run after the other.
    runs = list(dict.fromkeys(boot_id for boot_id, _ in found))
    assert found == sorted(found, key=lambda key: (runs.index(key[0]), key[1]))
    subscriber.close()


@pytest.mark.parametrize("rounds", [3, pytest.param(40, marks=pytest.mark.long)])
def test_killed_while_it_delivers_no_event_is_missing(
    make_mosquitto: Callable[..., Mosquitto], publish: Starter, rounds: int
) -> None:
    broker, chance = make_mosquitto(), random.Random(rounds)
    number = max(1500, 200 * rounds)
    first = publish(broker.url, number)
    first.wait(f"kept {number}", 120)
    first.end(signal.SIGKILL)
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    for _ in range(rounds):
        process = publish(broker.url)
        wanted = len(subscriber.of(EVENT)) + chance.randint(1, number // rounds - 50)
        wait_until(lambda w=wanted: len(subscriber.of(EVENT)) >= w, 30)
        process.end(signal.SIGKILL)
    last = publish(broker.url)
    last.wait("waits 0")
    boot_id = first.last("boot")
    expected = [(boot_id, sequence) for sequence in range(number)]
    assert wait_until(lambda: set(keys(subscriber.of(EVENT))) == set(expected), 60)
    # MQTT says at least once; by boot_id and sequence it is once, and the older one first.
    assert list(dict.fromkeys(keys(subscriber.of(EVENT)))) == expected
    subscriber.close()


def test_what_waits_at_a_stop_is_sent_by_the_next_start(
    make_mosquitto: Callable[..., Mosquitto], publish: Starter
) -> None:
    broker = make_mosquitto()
    first = publish(broker.url, 30, after_s=600.0)
    first.wait("waits 30")
    first.end(signal.SIGTERM)
    first.wait("closed")
    assert "mqtt: stopped with 30 events undelivered; the next start sends them\n" in first.logged
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    publish(broker.url)
    assert keys(subscriber.wait_for(EVENT, 30)) == [(first.last("boot"), n) for n in range(30)]
    subscriber.close()


def test_nothing_is_written_while_the_broker_answers(
    mosquitto: Mosquitto, publish: Starter, spool_path: Path
) -> None:
    subscriber = Subscriber(mosquitto.port).ready()
    first = publish(mosquitto.url, 300, after_s=5.0)
    assert keys(subscriber.wait_for(EVENT, 300))[-1] == (first.last("boot"), 299)
    first.end(signal.SIGTERM)
    assert not spool_path.parent.exists()
    subscriber.close()


def test_a_file_that_is_there_is_read_and_left_alone_while_the_broker_answers(
    make_mosquitto: Callable[..., Mosquitto], publish: Starter, spool_path: Path
) -> None:
    broker = make_mosquitto()
    first = publish(broker.url, 3)
    first.wait("kept 3")
    first.end(signal.SIGTERM)
    broker.start()
    second = publish(broker.url)
    second.wait("kept -3")
    second.end(signal.SIGTERM)
    before = (spool_path.read_bytes(), spool_path.stat().st_mtime_ns)
    subscriber = Subscriber(broker.port).ready()
    third = publish(broker.url, 300, after_s=5.0)
    assert keys(subscriber.wait_for(EVENT, 300))[-1] == (third.last("boot"), 299)
    third.end(signal.SIGTERM)
    assert (spool_path.read_bytes(), spool_path.stat().st_mtime_ns) == before
    subscriber.close()


def test_a_full_disk_costs_one_line_and_no_event_of_a_process_that_lives(
    make_mosquitto: Callable[..., Mosquitto], publish: Starter, tmp_path: Path
) -> None:
    broker = make_mosquitto()
    (tmp_path / "state").mkdir()
    process = publish(broker.url, 2000, prefix=mounted(tmp_path / "state", "size=64k"))
    process.wait("waits 2000")
    assert wait_until(lambda: any("database or disk is full" in x for x in process.logged))
    broker.start()
    subscriber = Subscriber(broker.port).ready()
    found = keys(subscriber.wait_for(EVENT, 2000, 60))
    assert list(dict.fromkeys(found)) == [(process.last("boot"), n) for n in range(2000)]
    process.end(signal.SIGTERM)
    assert len([line for line in process.logged if "lost with the process" in line]) == 1
    subscriber.close()


def test_a_read_only_disk_is_no_spool_and_said_once(publish: Starter, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    url = f"mqtt://127.0.0.1:{free_port()}"
    process = publish(url, 10, prefix=mounted(tmp_path / "state", "ro"))
    process.wait("waits 10")
    process.end(signal.SIGTERM)
    lines = [line for line in process.logged if "spool" in line]
    assert len(lines) == 1
    assert lines[0].startswith("no spool: ")
    assert "Read-only file system" in lines[0]
    assert "mqtt: stopped with 10 events undelivered; they are lost\n" in process.logged


def test_edgecam_itself_killed_with_events_that_wait(
    make_mosquitto: Callable[..., Mosquitto], tmp_path: Path, spool_path: Path
) -> None:
    """A person stays in the picture of a looped clip: events without end."""
    config = tmp_path / "settings.toml"
    config.write_text(ZONE)
    broker = make_mosquitto()
    folders = tmp_path / "one", tmp_path / "two"
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    daemons = []
    try:
        for folder in folders:
            folder.mkdir()
        arguments = (*MODEL, *LOOPED, "--config", config, "--broker", broker.url)
        daemons.append(Daemon(folders[0], *arguments, **state))
        assert wait_until(lambda: len(rows(spool_path)) >= 2, 90), daemons[0].log
        daemons[0].send(signal.SIGKILL)
        daemons[0].process.wait()
        left = [json.loads(payload) for payload in rows(spool_path)]
        broker.start()
        subscriber = Subscriber(broker.port).ready()
        daemons.append(Daemon(folders[1], *arguments, **state))
        expected = [(event["boot_id"], event["sequence"]) for event in left]
        # New events may go out before the old ones are read from the disk.
        assert wait_until(lambda: set(expected) <= set(keys(subscriber.of(EVENT))), 90)
        messages = subscriber.of(EVENT)
        found = [m for m, key in zip(messages, keys(messages), strict=True) if key in expected]
        assert keys(found) == expected
        assert all(json.loads(message.payload)["delayed_s"] >= 1.0 for message in found)
        assert daemons[1].stop(30)[0] == 0
        subscriber.close()
    finally:
        for daemon in daemons:
            daemon.close()


def rows(path: Path) -> list[bytes]:
    """What is in the file, read beside the process that has it."""
    if not path.exists():
        return []
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    try:
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            return [payload for (payload,) in connection.execute("SELECT payload FROM event")]
    except sqlite3.DatabaseError:
        # It was being written.
        return []
