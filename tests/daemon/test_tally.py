"""The first minute: a run says where its results go, what it sees, and what it came to."""

from __future__ import annotations

import re
import signal

from brokers import wait_until
from programs import CLIP, edgecam, start

SUMMARY = re.compile(
    r"edgecam: (\d+) frames in [\d.]+ s \([\d.]+ a second\), \d+ to \d+ people, \d+ events"
)


def test_a_run_without_model_and_output_works_and_says_what_is_missing() -> None:
    done = edgecam("--source", CLIP, "--max-frames", "4")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("edgecam: warning: no output is chosen")
    assert all(way in lines[0] for way in ("--web", "--show", "--jsonl -", "--broker"))
    found = SUMMARY.fullmatch(lines[-1])
    assert found, done.stderr
    assert found[1] == "4"
    # Nothing of the runtime's own stands between them.
    assert all(line.startswith("edgecam: ") for line in lines)


def test_a_run_with_an_output_does_not_say_so() -> None:
    done = edgecam("--source", "demo", "--max-frames", "2", "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "no output" not in done.stderr
    assert "edgecam: 2 frames in " in done.stderr.splitlines()[-1]


def test_a_run_without_output_says_every_10_s_what_it_sees() -> None:
    process = start("--source", "demo", "--loop", "--realtime")
    assert process.stderr is not None
    line = ""
    while " fps" not in line:
        line = process.stderr.readline()
        assert line, "it has ended"
    assert re.search(r" fps .* \d+ frames, \d+ people$", line.rstrip())
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert SUMMARY.fullmatch(said.splitlines()[-1]), said
    assert wait_until(lambda: process.poll() == 0)
