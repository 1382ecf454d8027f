"""``edgecam top`` in a real terminal: real instances, fifty of them, and hostile ones."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, wait_until
from daemons import LOOPED, MODEL, Daemon
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from programs import edgecam, error_line
from terminals import Terminal

from edgecam.tools.fleet.screen import View
from edgecam.tools.fleet.state import MAX_INSTANCES, MAX_LABELS, Fleet, Row

TOP = (sys.executable, "-m", "edgecam", "top")
# Sets the title, clears the screen, colours (C1 too), a bell, reversed text and rich's own markup.
EVIL = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202eabc[bold red]x[/]\r\n"


def report(name: str, **changes: Any) -> bytes:
    about: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "boot_id": "b00t",
        "sequence": 1,
        "time_unix_s": time.time(),
        "uptime_s": 5.0,
        "fps": {"published": 29.0},
        "capture_to_publish_ms": {"p50": 31.0, "p95": 40.0},
        "temperature_c": 61.2,
        "source": {"state": "online"},
        "mqtt": {"state": "connected"},
    }
    return json.dumps({**about, **changes}).encode()


def event(name: str, **changes: Any) -> bytes:
    about: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "boot_id": "b00t",
        "sequence": 1,
        "event_type": "fall",
        "id": "b00t-1",
        "track": 1,
        "label": "person",
        "zone": None,
        "dwell_s": 1.0,
        "score": 0.5,
        "attributes": {},
    }
    return json.dumps({**about, **changes}).encode()


class Publisher:
    """A client with access to the broker."""

    def __init__(self, port: int) -> None:
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(self, topic: str, payload: bytes | str, retain: bool = True) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(5.0)

    def instance(self, name: str, **changes: Any) -> None:
        self.send(f"edgecam/{name}/availability", "online")
        self.send(f"edgecam/{name}/telemetry", report(name, **changes))
        self.send(f"edgecam/{name}/count/person", "2")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def publisher(mosquitto: Mosquitto) -> Iterator[Publisher]:
    made = Publisher(mosquitto.port)
    yield made
    made.close()


@pytest.fixture
def open_top(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def start(broker: Mosquitto, *options: object, width: int = 100, height: int = 24) -> Terminal:
        command = (*TOP, "--broker", broker.url, *options)
        made.append(Terminal(tmp_path, command, width, height))
        return made[-1]

    yield start
    for terminal in made:
        terminal.close()


def once(broker: Mosquitto) -> dict[str, dict[str, Any]]:
    done = edgecam("top", "--broker", broker.url, "--json")
    return {row["name"]: row for row in json.loads(done.stdout)}


def line_of(terminal: Terminal, name: str) -> str:
    return next((line for line in terminal.lines if line.startswith(f"{name} ")), "")


def test_real_instances_come_work_and_go(
    mosquitto: Mosquitto, open_top: Callable[..., Terminal], tmp_path: Path
) -> None:
    top = open_top(mosquitto)
    assert top.shows("no camera")
    daemons = {}
    for name in ("front", "yard"):
        (tmp_path / name).mkdir()
        arguments = (*MODEL, "--input-size", "257x257", *LOOPED, "--name", name)
        daemons[name] = Daemon(tmp_path / name, *arguments, "--broker", mosquitto.url)
    try:
        assert top.shows("2 cameras: 2 ok", 40.0), top.text
        assert wait_until(lambda: re.search(r"^front +ok +[0-9.]+ +\d+", top.text, re.M), 15.0)
        assert wait_until(lambda: "person " in line_of(top, "yard"), 15.0)
        # People come and go in the clip all the time.
        assert wait_until(lambda: re.search(r"(left|appeared) \d+ s ago", line_of(top, "front")))
        rows = once(mosquitto)
        assert rows["front"]["fps"] > 0.0
        assert rows["front"]["latency_ms"] > 1.0
        assert rows["front"]["delegate"] == "xnnpack"
        assert daemons["front"].stop()[0] == 0
        assert wait_until(lambda: "offline: stopped or lost" in line_of(top, "front"), 10.0)
        assert "1 offline, 1 ok" in top.lines[0]
        # The worst comes first.
        assert top.lines[2].startswith("front")
        done = edgecam("top", "--broker", mosquitto.url, "--once")
        assert done.returncode == 1
        assert "offline: stopped or lost" in done.stdout
    finally:
        for daemon in daemons.values():
            daemon.close()


def test_nothing_hostile_reaches_the_terminal(
    mosquitto: Mosquitto, publisher: Publisher, open_top: Callable[..., Terminal]
) -> None:
    publisher.instance("honest")
    publisher.instance("evil", source={"state": "offline", "reason": EVIL}, delegate=EVIL)
    publisher.send("edgecam/evil/availability", EVIL)
    publisher.send("edgecam/evil/count/\u202etxt", "7")
    publisher.send("edgecam/junk/telemetry", b"\xff\xfe{")
    publisher.send("edgecam/junk/count/person", b"many")
    publisher.send("edgecam/b\u202ed name/availability", "online")
    top = open_top(mosquitto)
    title = top.title
    assert top.shows("junk"), top.text
    publisher.send("edgecam/evil/event", event("evil", zone=EVIL, label=EVIL), retain=False)
    assert wait_until(lambda: "fall ?]0;PWNED" in line_of(top, "evil")), top.text
    assert "unknown: unreadable reports" in line_of(top, "junk")
    assert "honest   ok" in top.text
    assert "3 cameras" in top.lines[0]
    for harm in ("\x1b]0;PWNED", "\x07", "\x9b31m", "\u202e"):
        assert harm.encode() not in top.raw
    assert top.title == title
    top.press("q")
    assert top.exit_code() == 0
    done = edgecam("top", "--broker", mosquitto.url, "--once")
    for shown in (done.stdout, json.dumps(once(mosquitto), ensure_ascii=False)):
        assert "PWNED" in shown
        assert not set(shown) & set("\x1b\x07\x9b\u202e\r")


def test_fifty_instances_fit_sort_scroll_and_resize(
    mosquitto: Mosquitto, publisher: Publisher, open_top: Callable[..., Terminal]
) -> None:
    for number in range(50):
        publisher.instance(f"cam-{number:02d}", temperature_c=30.0 + number)
    top = open_top(mosquitto, width=80, height=24)
    assert top.shows("50 cameras: 50 ok"), top.text
    assert all(len(line) <= 80 for line in top.lines)
    assert "1-21 of 50" in top.lines[-1]
    assert line_of(top, "cam-20")
    assert not line_of(top, "cam-21")
    top.press("PageDown")
    assert top.shows("22-42 of 50")
    top.press("t")
    assert wait_until(lambda: top.lines[2].startswith("cam-49")), top.text
    top.press("t")
    assert wait_until(lambda: top.lines[2].startswith("cam-00")), top.text
    top.resize(120, 60)
    assert wait_until(lambda: line_of(top, "cam-00") and line_of(top, "cam-49")), top.text
    top.resize(60, 10)
    assert top.shows("1-7 of 50"), top.text
    top.press("End")
    assert top.shows("44-50 of 50"), top.text
    top.press("C-c")
    assert top.exit_code() == 0
    assert b"\x1b[?1049l" in top.raw, "the screen from before is not put back"


def test_a_broker_that_goes_and_comes_back(
    make_mosquitto: Callable[..., Mosquitto], open_top: Callable[..., Terminal]
) -> None:
    broker = make_mosquitto()
    broker.start()
    first = Publisher(broker.port)
    first.instance("front")
    top = open_top(broker)
    assert top.shows("front    ok"), top.text
    first.close()
    broker.kill()
    assert top.shows("trying again"), top.text
    assert str(broker.port) in top.lines[0]
    assert line_of(top, "front")
    broker.start()
    second = Publisher(broker.port)
    second.instance("back")
    assert top.shows("back     ok"), top.text
    assert top.shows("2 cameras")
    second.close()
    top.press("q")
    assert top.exit_code() == 0


def test_the_login_is_that_of_edgecam(
    make_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("needs mosquitto_passwd (Debian: apt install mosquitto)")
    users = tmp_path / "users"
    command = ["mosquitto_passwd", "-b", "-c", users, "eva", "s3cret"]
    subprocess.run(command, check=True, capture_output=True)
    users.chmod(0o644)
    broker = make_mosquitto(f"allow_anonymous false\npassword_file {users}")
    broker.start()
    line = error_line(edgecam("top", "--broker", broker.url, "--once"))
    assert "login refused (no user name)" in line
    (tmp_path / "password").touch(0o600)
    (tmp_path / "password").write_text("c4nary\n")
    login = ("--username", "eva", "--password-file", tmp_path / "password")
    line = error_line(edgecam("top", "--broker", broker.url, "--once", *login))
    assert "login refused (user 'eva')" in line
    assert "c4nary" not in line
    (tmp_path / "password").write_text("s3cret\n")
    done = edgecam("top", "--broker", broker.url, "--once", *login)
    assert (done.returncode, done.stderr) == (3, "no camera\n")


def test_what_it_needs_is_said(mosquitto: Mosquitto) -> None:
    assert "--broker mqtt://HOST" in error_line(edgecam("top", "--once"))
    assert "--once" in error_line(edgecam("top", "--broker", mosquitto.url))
    done = edgecam("top", "--broker", mosquitto.url, "--once")
    assert (done.returncode, done.stdout) == (3, "")


def taken(*messages: tuple[str, bytes, bool, float], now_s: float) -> Row:
    """What is known of ``front``; each message with whether it was retained and when it came."""
    fleet = Fleet()
    for topic, payload, is_retained, at_s in messages:
        fleet.take(f"edgecam/front/{topic}", payload, is_retained, at_s, 1e9 + at_s)
    (row,) = fleet.rows(now_s)
    return row


def test_states_and_their_reasons() -> None:
    online = ("availability", b"online", True, 0.0)

    def reported(
        at_s: float, retained: bool = False, **changes: Any
    ) -> tuple[str, bytes, bool, float]:
        return "telemetry", report("front", time_unix_s=1e9 + at_s, **changes), retained, at_s

    assert taken(online, now_s=1.0).why == "no report yet"
    fresh = taken(online, reported(0.0), now_s=20.0)
    assert (fresh.state, fresh.why, fresh.fps, fresh.latency_ms) == ("ok", None, 29.0, 31.0)
    stale = taken(online, reported(0.0), now_s=40.0)
    assert (stale.state, stale.why, stale.fps) == ("stale", "no report for 40 s", None)
    # Three beats: every second here, every minute there.
    each_s = [reported(float(second)) for second in range(5)]
    assert taken(online, *each_s, now_s=10.0).state == "stale"
    each_min = [reported(60.0 * minute) for minute in range(4)]
    assert taken(online, *each_min, now_s=330.0).state == "ok"
    # A retained report may be old already.
    old = ("telemetry", report("front", time_unix_s=1e9 - 7200.0), True, 0.0)
    assert taken(online, old, now_s=1.0).why == "no report for 2 h"
    assert taken(online, reported(0.0, paused=True), now_s=1.0).state == "paused"
    hot = {"step": 2, "max_hz": 5.0, "reason": "82 °C"}
    assert "hot: 82 °C" in (taken(online, reported(0.0, thermal=hot), now_s=1.0).why or "")
    gone = taken(online, reported(0.0), ("availability", b"offline", False, 5.0), now_s=6.0)
    assert gone.state == "offline"
    fleet = Fleet()
    fleet.take("edgecam/front/availability", b"online", True, 0.0, 0.0)
    fleet.take("edgecam/front/availability", b"", False, 0.0, 0.0)
    assert fleet.rows(0.0) == []


def test_a_flood_of_names_is_bounded() -> None:
    fleet = Fleet()
    for number in range(3 * MAX_INSTANCES):
        fleet.take(f"edgecam/n{number}/availability", b"online", True, 0.0, 0.0)
        fleet.take(f"edgecam/n0/count/l{number}", b"1", True, 0.0, 0.0)
    assert len(fleet.rows(0.0)) == MAX_INSTANCES
    assert len(fleet.rows(0.0)[0].counts) == MAX_LABELS
    assert fleet.ignored == 2 * MAX_INSTANCES


def test_what_is_unknown_is_sorted_last_both_ways() -> None:
    fleet = Fleet()
    for name, heat in (("a", 50.0), ("b", None), ("c", 70.0)):
        fleet.take(f"edgecam/{name}/telemetry", report(name, temperature_c=heat), False, 0.0, 0.0)
    view = View(sort="t")
    assert [row.name for row in view.order(fleet.rows(0.0))] == ["c", "a", "b"]
    view.press("t", 3, 10)
    assert [row.name for row in view.order(fleet.rows(0.0))] == ["a", "c", "b"]
