"""The spool's file, words and thread, each alone."""

from __future__ import annotations

import json
import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from brokers import wait_until

from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt import spool as spooling
from edgecam.sinks.mqtt import spool_file
from edgecam.sinks.mqtt.outbox import Message, Outbox
from edgecam.sinks.mqtt.spool import Spool, open_spool
from edgecam.sinks.mqtt.spool_file import Row, SpoolDamagedError, SpoolError, SpoolFile

TOPIC = "edgecam/front/event"


def event(number: int, text: str = "") -> bytes:
    return json.dumps({"boot_id": "b00t", "sequence": number, "text": text}).encode()


def row(number: int, text: str = "") -> Row:
    return Row(event(number, text), 1e9, 10.0, "start", True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "edgecam" / "front.spool"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    """One that writes nothing yet: nothing waits for a thousand seconds."""
    made = Spool(path, TOPIC, Outbox(1000, 1_000_000), 1000.0)
    yield made
    made.close(keep=False)


def test_a_file_of_other_bytes_is_damaged_in_sqlites_words(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(SpoolDamagedError, match=r"^file is not a database$") as failure:
        SpoolFile(path).load()
    assert failure.value.found == []


def test_what_lies_before_the_damage_is_found(path: Path) -> None:
    file = SpoolFile(path)
    file.change([row(number, "x" * 200) for number in range(1000)], [])
    file.close()
    content = bytearray(path.read_bytes())
    # A leaf in the middle of the table; SQLite's pages have 4,096 bytes.
    middle = len(content) // 8192 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(SpoolDamagedError, match="malformed") as failure:
        SpoolFile(path).load()
    found = [json.loads(each.payload)["sequence"] for each in failure.value.found]
    assert 100 < len(found) < 1000
    assert found == list(range(len(found)))


def test_a_file_below_a_file_is_refused_in_the_systems_words(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(SpoolError, match=r"^Not a directory$"):
        SpoolFile(tmp_path / "state" / "front.spool").load()


def test_the_names_of_new_directories_reach_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(
        spool_file.os, "fsync", lambda fd: synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")))
    )
    file = SpoolFile(path)
    file.change([row(1)], [])
    file.close()
    assert synced == [path.parent, path.parent.parent, path.parent.parent.parent]


def test_the_thread_has_a_name_and_keeps_no_process_alive(spool: Spool) -> None:
    (thread,) = [each for each in threading.enumerate() if each.name == "edgecam-spool"]
    assert thread.daemon
    assert spool.report().state == "ready"


def test_a_stop_that_has_begun_writes_what_waits(spool: Spool) -> None:
    spool._outbox.put(TOPIC, event(1))
    spool.hurry()
    assert wait_until(lambda: spool.report().events == 1)


def test_a_stop_that_has_begun_waits_no_longer_than_before(path: Path) -> None:
    spool = Spool(path, TOPIC, Outbox(10, 1000), 0.0)
    spool.hurry()
    assert spool._after_s == 0.0
    spool.close(keep=False)


def test_a_file_that_takes_events_again_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def failing(_: SpoolFile) -> dict[int, Row | None]:
        raise SpoolError("Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "load", failing)
        spool = Spool(path, TOPIC, Outbox(10, 1000), 1000.0)
    assert spool.report().reason == f"{path}: Input/output error"
    spool._load()
    assert f"spool: {path} takes events again" in caplog.messages
    assert spool.report().reason is None
    spool.close(keep=False)


def test_why_there_is_no_spool_is_in_its_report(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = MqttSettings(spool_directory=str(tmp_path / "file" / "x"))
    found = open_spool(settings, "front", TOPIC, Outbox(10, 1000), {})
    assert not isinstance(found, Spool)
    assert "file" in (found.reason or "")


def test_an_event_that_waits_since_an_unknown_time_is_kept_so() -> None:
    (kept,) = spooling._rows([Message(TOPIC, event(1), 1, -math.inf)])
    assert kept.payload == event(1)
    assert kept.made_uptime_s is None
    assert kept.start_id == spooling._now().start_id


def test_an_event_of_a_moment_ago_has_waited_a_moment() -> None:
    now = Row(b"", 2_000_000.0, 500.0, "this", True)
    made = msgspec.structs.replace(row(0), made_unix_s=2_000_000.0 - 0.5)
    assert spooling._since_s(made, now) == 499.5


def test_a_file_that_another_process_has_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[object] = []
    connect = sqlite3.connect

    def noted(*arguments: Any, **named: Any) -> sqlite3.Connection:
        waits.append(named.get("timeout"))
        return connect(*arguments, **named)

    monkeypatch.setattr(sqlite3, "connect", noted)
    first = SpoolFile(path)
    first.change([row(1)], [])
    with pytest.raises(SpoolError, match=r"^another process has it$"):
        SpoolFile(path).load()
    first.close()
    assert waits == [0.0, 0.0]


def test_other_faults_are_said_in_sqlites_words() -> None:
    found = spool_file._reported(sqlite3.OperationalError("disk I/O error"), [])
    assert type(found) is SpoolError
    assert str(found) == "disk I/O error"


def test_a_file_that_fails_is_tried_again_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "RETRY_S", 3600.0)
    path.mkdir(parents=True)
    made = Spool(path, TOPIC, Outbox(1000, 1_000_000), 1000.0)
    assert made._retry_s > time.monotonic()
    made.close(keep=False)


def test_a_file_damaged_while_it_is_used_is_tried_again_later(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> list[int]:
        raise SpoolDamagedError("malformed")

    monkeypatch.setattr(spooling, "RETRY_S", 3600.0)
    monkeypatch.setattr(spool._file, "change", damaged)
    monkeypatch.setattr(spool._file, "set_aside", lambda: Path("front.spool.damaged"))
    spool._outbox.put(TOPIC, event(1))
    spool._step(-1.0)
    assert spool._retry_s > time.monotonic()


def test_a_stop_waits_for_no_card_that_hangs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(spooling, "CLOSE_S", 0.1)
    outbox = Outbox(1000, 1_000_000)
    made = Spool(path, TOPIC, outbox, 1000.0)
    monkeypatch.setattr(made._file, "change", lambda *_: goes_on.wait(60) and [1])
    outbox.put(TOPIC, event(1))
    assert made.close(keep=True) is False
    goes_on.set()


def test_who_has_no_home_reads_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "state_directory", lambda *_: None)
    found = open_spool(MqttSettings(), "front", TOPIC, Outbox(10, 1000), {})
    assert found.reason == "this user has no home directory, so name mqtt.spool_directory"
