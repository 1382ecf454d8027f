"""``edgecam demo``: three real processes, piped, in a terminal, and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Subscriber, free_port, wait_until

DEMO = [sys.executable, "-m", "edgecam", "demo"]
SUMMARY = re.compile(
    r"(\d+) results published and received over MQTT in ([\d.]+) s, (\d+) to (\d+) people, "
    r"capture to publish \d+ ms \(median\)"
)


def test_counts_people_and_ends_by_itself() -> None:
    done = subprocess.run(
        [*DEMO, "--max-frames", "25"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "clip people-walking.mp4; models posenet, ssdlite"
    found = SUMMARY.fullmatch(lines[-1])
    assert found, done.stdout
    # Live results may be overtaken, never invented.
    assert 20 <= int(found[1]) <= 25
    assert 1 <= int(found[4]) <= 9
    assert any(re.match(r"demo: \d+ results, [\d.]+ fps, \d+ people", line) for line in lines)


def test_others_see_it_too_and_ctrl_c_ends_it_in_order() -> None:
    port = free_port()
    process = subprocess.Popen(
        [*DEMO, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        # paho's own client, which comes as soon as the broker is there.
        assert wait_until(lambda: process.poll() is None and _listens(port))
        subscriber = Subscriber(port).ready()
        results = subscriber.wait_for("edgecam/demo/result", 5, timeout_s=30)
        assert subscriber.wait_for("edgecam/demo/telemetry")
        assert subscriber.last("edgecam/demo/availability") == b"online"
        assert subscriber.wait_for("edgecam/demo/count/person")
        first = json.loads(results[0].payload)
        assert first["name"] == "demo"
        assert first["frame"] == {"width": 768, "height": 576}
        assert process.stdout is not None
        reported = "".join(process.stdout.readline() for _ in range(2))
        page = re.search(r"^live page: (http://127\.0\.0\.1:\d+/)$", reported, re.MULTILINE)
        assert page, reported
        with urllib.request.urlopen(page[1], timeout=60) as answer:
            assert b"<html" in answer.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert SUMMARY.fullmatch(out.splitlines()[-1]), out
        assert subscriber.wait_for("edgecam/demo/availability", 2)[-1].payload == b"offline"
        subscriber.close()
    finally:
        process.kill()
        process.wait()
    assert wait_until(lambda: not _listens(port)), "the broker is left behind"


def test_a_killed_demo_leaves_nothing_running() -> None:
    port = free_port()
    process = subprocess.Popen([*DEMO, "--port", str(port)], stdout=subprocess.DEVNULL)
    broker = f"mqtt://127.0.0.1:{port}".encode()

    def publishers() -> int:
        found = 0
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found += broker in path.read_bytes().split(b"\0")
        return found

    try:
        assert wait_until(lambda: publishers() == 1, timeout_s=30)
    finally:
        process.kill()
        process.wait()
    assert wait_until(lambda: publishers() == 0, timeout_s=10), "edgecam is left behind"


def _listens(port: int) -> bool:
    from brokers import is_listening

    return is_listening(port)


def test_a_fault_of_the_daemon_is_the_demos_fault() -> None:
    done = subprocess.run(
        [*DEMO, "--model", "nonexistent"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "no such file and no bundled model" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def terminal() -> Iterator[list[str]]:
    """A tmux server of its own; yields the command that talks to it."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed (Debian: apt install tmux)")
    tmux = ["tmux", "-L", f"edgecam-{os.getpid()}", "-f", "/dev/null"]
    yield tmux
    subprocess.run([*tmux, "kill-server"], capture_output=True, check=False)


def test_in_a_terminal_a_table_lives_until_ctrl_c(terminal: list[str], tmp_path: Path) -> None:
    code = tmp_path / "code"
    command = f"{' '.join(DEMO)}; echo $? > {code}; sleep 30"
    subprocess.run([*terminal, "new-session", "-d", "-x", "100", "-y", "40", command], check=True)

    def screen() -> str:
        shown = [*terminal, "capture-pane", "-p"]
        return subprocess.run(shown, capture_output=True, text=True, check=True).stdout

    def number(row: str) -> int:
        found = re.search(rf"│ {row} +│ +(\d+) │", screen())
        return int(found[1]) if found else -1

    assert wait_until(lambda: number("results") > 3, timeout_s=30), screen()
    assert wait_until(lambda: number("count/person") >= 0), screen()
    before = number("results")
    assert wait_until(lambda: number("results") > before)
    assert re.search(r"availability +│ +online", screen())
    assert wait_until(lambda: "xnnpack" in screen(), timeout_s=30), screen()
    subprocess.run([*terminal, "send-keys", "C-c"], check=True)
    assert wait_until(code.exists)
    assert code.read_text().strip() == "0"
    assert "results published and received over MQTT" in screen()
    assert "Traceback" not in screen()
