"""Events on the disk: what is written, when, and what a new start makes of what it finds."""

from __future__ import annotations

import json
import logging
import math
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from brokers import wait_until

from edgecam.core import board
from edgecam.messages.event import delayed
from edgecam.messages.health import faults
from edgecam.messages.telemetry import MqttReport, Rates, SourceReport, SpoolReport, Telemetry
from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt import spool as spooling
from edgecam.sinks.mqtt.outbox import Outbox
from edgecam.sinks.mqtt.spool import Spool, open_spool
from edgecam.sinks.mqtt.spool_file import Row, SpoolDamagedError, SpoolError, SpoolFile
from edgecam.sinks.web.metrics import Seen, exposition

TOPIC = "edgecam/front/event"


def event(number: int, boot_id: str = "b00t", text: str = "") -> bytes:
    return json.dumps({"boot_id": boot_id, "sequence": number, "text": text}).encode()


def row(number: int, **changes: object) -> Row:
    made = Row(event(number), 1e9, 10.0, "start", True)
    return msgspec.structs.replace(made, **changes)


def numbers(outbox: Outbox) -> list[int]:
    taken = []
    while (message := outbox.take()) is not None:
        taken.append(json.loads(message.payload)["sequence"])
    return taken


class Run:
    """One run of an instance: an outbox and its spool."""

    def __init__(self, path: Path, after_s: float = 0.0, **bounds: int) -> None:
        self.outbox = Outbox(bounds.get("events", 1000), bounds.get("size_bytes", 1_000_000))
        self.spool = Spool(path, TOPIC, self.outbox, after_s)

    def put(self, *which: int) -> None:
        for number in which:
            self.outbox.put(TOPIC, event(number))

    def spooled(self, number: int) -> bool:
        return wait_until(lambda: self.spool.report().events == number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "front.spool"


@pytest.fixture
def run(path: Path) -> Iterator[type[Run]]:
    """Runs on the same file; all of them end with the test."""
    made: list[Run] = []

    class Ended(Run):
        def __init__(self, after_s: float = 0.0, **bounds: int) -> None:
            super().__init__(path, after_s, **bounds)
            made.append(self)

    yield Ended
    for each in made:
        each.spool.close(keep=False)


def killed(run: Run) -> None:
    """As SIGKILL leaves it: nothing more is written, and the file is free."""
    run.spool.close(keep=False)


def test_events_come_back_in_their_order_before_new_ones(run: type[Run]) -> None:
    first = run()
    first.put(0, 1, 2)
    assert first.spooled(3)
    killed(first)
    second = run()
    second.put(3)
    assert numbers(second.outbox) == [0, 1, 2, 3]
    assert second.spool.report().events == 3


def test_nothing_is_written_that_has_not_waited(run: type[Run], path: Path) -> None:
    first = run(after_s=60.0)
    first.put(*range(50))
    while (message := first.outbox.take()) is not None:
        first.outbox.acknowledge(message)
    assert first.spool.close()
    assert not path.parent.exists()


def test_what_was_acknowledged_is_gone_from_the_file(run: type[Run]) -> None:
    first = run()
    first.put(0, 1, 2)
    assert first.spooled(3)
    message = first.outbox.take()
    assert message is not None
    first.outbox.acknowledge(message)
    assert first.spooled(2)
    killed(first)
    assert numbers(run().outbox) == [1, 2]


def test_a_stop_writes_what_still_waits_at_once(run: type[Run]) -> None:
    first = run(after_s=60.0)
    first.put(0, 1)
    assert first.outbox.take() is not None
    assert first.spool.close()
    assert numbers(run().outbox) == [0, 1]


def test_the_bounds_of_the_outbox_are_those_of_the_file(run: type[Run]) -> None:
    first = run(events=4)
    first.put(*range(4))
    assert first.spooled(4)
    first.put(4, 5)
    assert wait_until(lambda: set(first.spool._rows) == {2, 3, 4, 5})
    assert first.outbox.dropped == 2
    killed(first)
    second = run(events=3)
    assert second.outbox.dropped == 1
    assert second.spooled(3)
    killed(second)
    small = run(size_bytes=2 * (len(TOPIC) + len(event(0))))
    assert small.outbox.dropped == 1
    assert numbers(small.outbox) == [4, 5]


def test_one_line_says_that_events_came_back(
    run: type[Run], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = run()
    first.put(0, 1)
    assert first.spooled(2)
    killed(first)
    run()
    assert [record.getMessage() for record in caplog.records] == [
        "spool: 2 events of an earlier run are sent now"
    ]


def damage_head(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0:100] = b"x" * 100
    path.write_bytes(data)


def damage_tree(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:4200] = b"\xff" * 104
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def noise(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def other_version(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")


def other_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
        connection.execute("PRAGMA user_version = 1")


@pytest.mark.parametrize(
    "damage", [damage_head, damage_tree, cut, noise, other_version, other_tables]
)
def test_a_damaged_file_is_set_aside_once_and_said(
    run: type[Run], path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    first = run()
    first.put(*range(100))
    assert first.spooled(100)
    killed(first)
    damage(path)  # type: ignore[operator]
    found = path.read_bytes()
    second = run()
    (line,) = [r.getMessage() for r in caplog.records if "damaged" in r.getMessage()]
    assert str(path) in line
    assert "front.spool.damaged" in line
    aside = path.with_name("front.spool.damaged")
    assert aside.read_bytes() == found
    second.put(100)
    assert wait_until(lambda: path.exists())
    killed(second)
    third = run()
    assert numbers(third.outbox)[-1:] == [100]
    assert list(path.parent.glob("*.damaged")) == [aside]
    assert len([r for r in caplog.records if "damaged" in r.getMessage()]) == 1


def test_a_journal_does_not_outlive_the_file_that_it_belongs_to(path: Path) -> None:
    file = SpoolFile(path)
    file.change([row(0)], [])
    file.close()
    path.with_name("front.spool-journal").write_bytes(b"of a transaction that was cut")
    assert file.set_aside().read_bytes()[:6] == b"SQLite"
    assert [each.name for each in path.parent.iterdir()] == ["front.spool.damaged"]


def test_a_file_damaged_while_it_is_used_is_written_again(
    run: type[Run], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "RETRY_S", 0.0)
    first = run()
    first.put(*range(20))
    assert first.spooled(20)
    real, failed = SpoolFile.change, []

    def change(self: SpoolFile, *arguments: object) -> list[int]:
        if not failed:
            failed.append(True)
            raise SpoolDamagedError("database disk image is malformed")
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SpoolFile, "change", change)
    first.put(20)
    assert first.spooled(21)
    assert path.with_name("front.spool.damaged").exists()
    killed(first)
    assert numbers(run().outbox) == [*range(21)]


@pytest.mark.parametrize(
    "values",
    [
        (b"no JSON", 1.0, 1.0, "", None),
        (b'{"boot_id":"b"}', 1.0, 1.0, "", None),
        ("text", 1.0, 1.0, "", None),
        (event(9), "when", 1.0, "", None),
        (event(9), 1.0, b"bytes", 7, None),
        (event(9) + b" ", 1.0, 1.0, "", None),
    ],
)
def test_a_row_that_is_no_event_is_dropped_and_counted(
    run: type[Run], path: Path, values: tuple[object, ...]
) -> None:
    first = run()
    first.put(0, 1)
    assert first.spooled(2)
    killed(first)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO event VALUES (77, ?, ?, ?, ?, ?)", values)
    second = run()
    assert second.outbox.dropped == 1
    assert [m.number for m in second.outbox.held()] == [-2, -1]
    assert wait_until(lambda: not second.spool._waste)
    killed(second)
    third = run()
    assert third.outbox.dropped == 0
    assert numbers(third.outbox) == [0, 1]


def test_two_of_one_name_do_not_write_into_one_file(
    run: type[Run], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "RETRY_S", 0.2)
    first = run()
    first.put(0)
    assert first.spooled(1)
    second = run()
    second.put(1)
    assert second.spool.report().state == "failing"
    assert "another process has it" in (second.spool.report().reason or "")
    killed(first)
    # As soon as the first one is gone the second has what it left, and writes its own.
    assert second.spooled(2)
    assert second.spool.report().state == "ready"
    assert numbers(second.outbox) == [0, 1]
    assert len([r for r in caplog.records if "another process" in r.getMessage()]) == 1


def test_the_file_is_locked_between_processes_and_freed_by_a_kill(path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from edgecam.sinks.mqtt.spool_file import Row, SpoolFile\n"
        "file = SpoolFile(Path(sys.argv[1]))\n"
        "file.change([Row(b'{}', 1.0, 1.0, '', None)], [])\n"
        "print('has it', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"has it\n"
        file = SpoolFile(path)
        with pytest.raises(SpoolError, match="another process has it"):
            file.load()
        with pytest.raises(SpoolError, match="another process has it"):
            file.change([row(1)], [])
        other.kill()
    assert len(file.load()) == 1
    file.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_no_spool(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    outbox = Outbox(10, 1000)
    found = open_spool(MqttSettings(spool_directory=str(tmp_path)), "front", TOPIC, outbox, {})
    assert not isinstance(found, Spool)
    assert "Permission denied" in (found.reason or "")


def test_without_a_directory_one_line_says_that_there_is_no_spool(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    (tmp_path / "file").touch()
    for settings in (MqttSettings(), MqttSettings(spool_directory=str(tmp_path / "file" / "x"))):
        caplog.clear()
        found = open_spool(settings, "front", TOPIC, Outbox(10, 1000), {})
        assert not isinstance(found, Spool)
        assert found.state == "none"
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith("no spool: ")
    off = open_spool(MqttSettings(spool=False), "front", TOPIC, Outbox(10, 1000), {})
    assert not isinstance(off, Spool)
    assert off.state == "off"


def test_each_instance_has_its_file_in_the_state_directory(tmp_path: Path) -> None:
    for name in ("front", "back"):
        opened = open_spool(
            MqttSettings(), name, TOPIC, Outbox(10, 1000), {"STATE_DIRECTORY": f"{tmp_path}:/x"}
        )
        assert isinstance(opened, Spool)
        opened._outbox.put(TOPIC, event(0))
        opened.close()
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix == ".spool") == [
        "back.spool",
        "front.spool",
    ]


def test_a_card_that_takes_nothing_costs_one_line_and_is_tried_again(
    run: type[Run], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "RETRY_S", 0.0)
    real, tries = SpoolFile.change, []

    def change(self: SpoolFile, *arguments: object) -> list[int]:
        tries.append(1)
        if len(tries) < 4:
            raise SpoolError("database or disk is full")
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SpoolFile, "change", change)
    caplog.set_level(logging.INFO)
    first = run()
    first.put(0, 1)
    assert first.spooled(2)
    said = [record.getMessage() for record in caplog.records]
    assert ["disk is full" in line for line in said] == [True, False]
    assert said[1].endswith("takes events again")


def test_a_slow_card_delays_no_frame(run: type[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()
    real = SpoolFile.change

    def change(self: SpoolFile, *arguments: object) -> list[int]:
        entered.set()
        go_on.wait(60)
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SpoolFile, "change", change)
    first = run()
    first.put(0)
    assert entered.wait(10)
    first.put(*range(1, 100))
    assert numbers(first.outbox) == [*range(100)]
    for message in first.outbox.held():
        first.outbox.acknowledge(message)
    assert len(first.outbox) == 0
    assert not go_on.is_set()
    go_on.set()
    assert wait_until(lambda: first.spool._rows == {})


def test_the_file_is_for_its_user_alone_and_no_link_is_followed(run: type[Run], path: Path) -> None:
    first = run()
    first.put(0)
    assert first.spooled(1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    killed(first)
    path.unlink()
    target = path.parent.parent / "target"
    target.write_bytes(b"")
    path.symlink_to(target)
    file = SpoolFile(path)
    with pytest.raises(SpoolError):
        file.load()
    with pytest.raises(SpoolError):
        file.change([row(0)], [])
    assert target.read_bytes() == b""


def test_a_cut_in_the_middle_of_a_change_leaves_what_was_before(path: Path) -> None:
    """The process ends between two statements of a transaction."""
    file = SpoolFile(path)
    file.change([row(n) for n in range(10)], [])
    file.close()
    code = (
        "import os, sys; from pathlib import Path\n"
        "from edgecam.sinks.mqtt.spool_file import Row, SpoolFile\n"
        "class Cut(SpoolFile):\n"
        "    def _insert(self, connection, row):\n"
        "        if row.payload == b'{}': connection.execute('PRAGMA cache_spill=1'); os._exit(9)\n"
        "        return super()._insert(connection, row)\n"
        "rows = [Row(b'x' * 5000, 1.0, 1.0, '', None)] * 2000 + [Row(b'{}', 1.0, 1.0, '', None)]\n"
        "Cut(Path(sys.argv[1])).change(rows, range(1, 6))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == 9
    file = SpoolFile(path)
    found = [each for each in file.load().values() if each is not None]
    assert [each.payload for each in found] == [event(n) for n in range(10)]
    file.close()


NOW = Row(b"", 2_000_000.0, 500.0, "this", True)


@pytest.mark.parametrize(
    ("made", "since_s"),
    [
        # Of this start of the system: whatever became of the clock.
        (row(0, start_id="this", made_uptime_s=300.0, made_unix_s=9e9), 300.0),
        (row(0, start_id="this", made_uptime_s=600.0), 500.0),
        # Of another one: by the clock, where it was kept both times.
        (row(0, made_unix_s=2_000_000.0 - 86_400.0), 500.0 - 86_400.0),
        (row(0, made_unix_s=2_000_000.0 - 86_400.0, clock_synced=None), 500.0 - 86_400.0),
        (row(0, made_unix_s=2_000_000.0 - 86_400.0, clock_synced=False), -math.inf),
        (row(0, made_unix_s=2_000_100.0), -math.inf),
        (row(0, made_uptime_s=None), -math.inf),
        # A system that does not tell one start from another.
        (row(0, start_id="", made_unix_s=2_000_000.0 - 60.0), 440.0),
    ],
)
def test_how_long_an_event_has_waited_is_known_or_said_to_be_unknown(
    made: Row, since_s: float
) -> None:
    now = NOW if made.start_id else msgspec.structs.replace(NOW, start_id="")
    assert spooling._since_s(made, now) == since_s
    board_in_1970 = msgspec.structs.replace(now, made_unix_s=60.0, clock_synced=False)
    if made.start_id != "this":
        assert spooling._since_s(made, board_in_1970) == -math.inf


def test_an_event_of_another_start_says_how_late_it_is(
    run: type[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "clock_synced", lambda: True)
    first = run()
    first.put(0)
    assert first.spooled(1)
    killed(first)
    monkeypatch.setattr(spooling, "start_id", lambda: "another")
    now_s = spooling.time.time()
    monkeypatch.setattr(spooling.time, "time", lambda: now_s + 3600.0)
    second = run()
    message = second.outbox.take()
    assert message is not None
    reported = json.loads(message.payload)
    assert 3600.0 <= reported.pop("delayed_s") < 3700.0
    assert reported == json.loads(event(0))
    # It goes out again with what was kept, not with what was sent.
    second.outbox.rewind()
    again = second.outbox.take()
    assert again is not None
    assert again.payload.count(b"delayed_s") == 1
    second.outbox.give_back(again)
    assert second.outbox.held()[0].payload == event(0)


def test_an_event_says_that_it_is_late_from_a_second_on() -> None:
    assert delayed(b'{"a":1}', 0.99) == b'{"a":1}'
    assert delayed(b'{"a":1}', 1.04) == b'{"a":1,"delayed_s":1.0}'
    assert delayed(b'{"a":1}', math.inf) == b'{"a":1,"delayed_s":null}'


def test_uptime_goes_on_and_names_its_start() -> None:
    assert board.uptime_s() > 0.0
    assert board.start_id() == board.start_id()


def test_health_and_metrics_tell_of_a_spool_that_fails() -> None:
    spool = SpoolReport(state="failing", reason="/x/front.spool: disk is full", events=3)
    report = MqttReport(state="connected", oldest_waiting_s=7.5, spool=spool)
    telemetry = Telemetry(
        name="front",
        boot_id="b00t",
        sequence=0,
        time_unix_s=1.0,
        uptime_s=1.0,
        fps=Rates(),
        source=SourceReport(state="online"),
        mqtt=report,
    )
    assert faults(telemetry) == ("spool failing: /x/front.spool: disk is full",)
    text = exposition([(telemetry, Seen({}, {}, {}))], "")[0].decode()
    for line in (
        'edgecam_mqtt_spool_state{name="front",state="failing"} 1.0',
        'edgecam_mqtt_spool_events{name="front"} 3.0',
        'edgecam_mqtt_oldest_waiting_s{name="front"} 7.5',
    ):
        assert line in text.splitlines(), text
