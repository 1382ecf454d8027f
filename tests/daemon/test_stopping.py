"""Signals at any moment: the documented exit code, no traceback, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from brokers import wait_until
from daemons import LOOPED, MODEL, Daemon
from programs import CLIP, ROOT, environment

# Sends a signal so many milliseconds after an import has begun, and runs edgecam.
WHILE_IMPORTED = """
import os, signal, sys, threading
# A shell's job in the background, which a suite may be, ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
number, package, after_s = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) / 1e3
sys.argv[1:] = sys.argv[4:]
sent = []

def audit(event, arguments):
    if event == "import" and arguments[0].startswith(package) and not sent:
        sent.append(threading.Timer(after_s, os.kill, (os.getpid(), number)))
        sent[0].start()

sys.addaudithook(audit)
from edgecam.__main__ import main
main()
"""
LITERT = "ai_edge_litert._pywrap"


def interrupted(
    number: signal.Signals, package: str, after_ms: int, *arguments: object
) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("ai_edge_litert", reason="is about what LiteRT does while it is imported")
    command = [sys.executable, "-c", WHILE_IMPORTED, str(int(number)), package, str(after_ms)]
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        check=False,
    )


@pytest.mark.parametrize("after_ms", [0, 5, 15, 40, 200, 400])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_the_runtime_is_imported_is_a_stop(
    number: signal.Signals, after_ms: int
) -> None:
    command = ("--model", "posenet", "--source", CLIP, "--loop", "--realtime", "--jsonl", "-")
    done = interrupted(number, LITERT, after_ms, *command)
    assert done.returncode == 0, done.stderr
    for words in ("Traceback", "terminate", "reinstall", "error:"):
        assert words not in done.stderr


@pytest.mark.parametrize("package", [LITERT, "cv2"])
@pytest.mark.parametrize("after_ms", [0, 5, 15, 40])
def test_ctrl_c_while_a_command_imports_native_code_aborts_it_in_one_line(
    package: str, after_ms: int
) -> None:
    done = interrupted(signal.SIGINT, package, after_ms, "inspect", "posenet")
    assert done.returncode == 1, done.stderr
    # LiteRT has a word of its own once it runs.
    said = [line for line in done.stderr.split("\n") if line and not line.startswith("INFO: ")]
    assert said == ["Aborted!"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts one; it is killed with the test."""
    started: list[Daemon] = []

    def start(*arguments: object, **variables: str) -> Daemon:
        folder = tmp_path / "daemon"
        folder.mkdir()
        started.append(Daemon(folder, *arguments, **variables))
        return started[-1]

    yield start
    for process in started:
        process.close()


def children_of(pid: int, words: str) -> list[int]:
    """Those whose command line has ``words``."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            is_one = parent == pid and words in (path / "cmdline").read_text().replace("\0", " ")
        except (OSError, ValueError):
            continue
        found += [int(path.name)] if is_one else []
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def has_limits(pid: int) -> bool:
    """Whether the child got as far as to import what it tries: its end is settled before that."""
    return "numpy" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_child_that_tries_a_model_ends_with_its_parent(
    daemon: Callable[..., Daemon], tmp_path: Path, number: signal.Signals
) -> None:
    """A model may hang there without end: here the child is stopped, as one that hangs is."""
    settings = tmp_path / "front.toml"
    text = '[[model]]\npath = "{}"\n[source]\nurl = "{}"\nloop = true\nrealtime = true\n'
    settings.write_text(text.format("posenet", CLIP))
    running = daemon("--config", settings, EDGECAM_CACHE_DIR=str(tmp_path / "cache"))
    running.wait_ready()
    settings.write_text(text.format("ssdlite", CLIP))
    running.send(signal.SIGHUP)
    pid = running.process.pid
    found: list[int] = []

    def is_caught() -> bool:
        found[:] = [p for p in children_of(pid, "probe_child") if has_limits(p)]
        for child in found:
            os.kill(child, signal.SIGSTOP)
        return bool(found)

    assert wait_until(is_caught, 30), running.log
    running.send(number)
    assert running.process.wait(20) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    assert wait_until(lambda: not any(map(lives, found)), 10)


END_WITH = "from edgecam.core.child_lifetime import end_with"


def test_a_child_that_hangs_ends_by_itself() -> None:
    """Where its parent goes on and has lost sight of it."""
    code = f"{END_WITH}; end_with({os.getpid()}, 0.2); import time; time.sleep(1000)"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    assert child.wait(60) == -signal.SIGALRM


def test_a_child_whose_parent_is_gone_already_does_not_begin() -> None:
    code = f"{END_WITH}; end_with(1234567, 9.0); print('begun')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")


def cut_off(waits: str) -> str:
    """What a stop prints where a sink's end executes ``waits``; it is cut off."""
    code = (
        "import ctypes, time\n"
        "from edgecam.__main__ import main\n"
        "from edgecam.sinks import jsonl\n"
        f"jsonl.LineFile.close = lambda self: {waits}\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *MODEL, *map(str, LOOPED), "--jsonl", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    return err


def test_a_stop_that_does_not_end_is_cut_off_and_says_where_it_was() -> None:
    # A sink that never lets go, as one in native code would not.
    err = cut_off("time.sleep(1000)")
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert line.startswith("edgecam: error: the stop was cut off after 4.6 s, in ")
    assert "edgecam.sinks.jsonl, JsonLinesSink.close; " in line


def test_a_stop_ends_a_run_in_order(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    running = daemon(
        *("--model", "posenet", "--source", CLIP, "--loop", "--realtime", "--jsonl", lines)
    )
    running.wait_ready()
    assert wait_until(lambda: lines.stat().st_size > 0, 30)
    code, _ = running.stop()
    assert code == 0
    assert lines.read_text("utf-8").endswith("}\n")
    assert running.supervisor.of("STOPPING=1")


def test_a_stop_that_native_code_holds_up_is_cut_off_with_a_line_and_1() -> None:
    # A sink whose end is native and never gives the interpreter back.
    err = cut_off("ctypes.PyDLL(None).sleep(1000)")
    (line,) = [line for line in err.splitlines() if "cut off" in line]
    assert line == (
        "edgecam: error: the stop was cut off after 4.9 s, in native code that keeps the "
        "interpreter to itself; what was not yet sent or written there is lost (see: edgecam "
        "help troubleshooting)"
    )
    assert "Thread" not in err
    assert "Traceback" not in err
