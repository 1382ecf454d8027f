"""Every command with standard streams that are closed, and in an address space that is small."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber
from programs import CLIP, ROOT, environment, error_line

from edgecam.cli.main import COMMANDS

LETTER = ROOT / "tests" / "data" / "documents" / "letter.jpg"
FRAMES = ("--source", CLIP, "--max-frames", "1")

# Of each command a call that prints its outcome on standard output.
PRINTS: dict[str, tuple[object, ...]] = {
    "": ("--version",),
    "bench": ("bench", "--help"),
    "convert": ("convert", "--help"),
    "decode": ("decode", "--help"),
    "demo": ("demo", "--max-frames", "2"),
    "discovery": ("discovery", "--model", "posenet", "--name", "x"),
    "doctor": ("doctor", "disk", "python"),
    "eval": ("eval", "--help"),
    "frames": ("frames", "--help"),
    "help": ("help", "models"),
    "init": ("init", "x", "--output", "-"),
    "inspect": ("inspect", "posenet"),
    "models": ("models", "verify"),
    "quantize": ("quantize", "--help"),
    "replay": ("replay", CLIP, "--model", "posenet", "--max-frames", "1"),
    "scan": ("scan", "--help"),
    "schema": ("schema",),
    "service": ("service", "--help"),
    "status": ("status", "--help"),
    "teach": ("teach", "--help"),
    "top": ("top", "--help"),
    "train": ("train", "--help"),
    "tune": ("tune", "--help"),
}


def test_every_command_is_tried() -> None:
    assert PRINTS.keys() - {""} == COMMANDS.keys()


def run(
    arguments: tuple[object, ...], *closed: int, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run edgecam by a shell that closes some of its standard streams."""
    shell = ("sh", "-c", 'exec "$@" ' + " ".join(f"{number}>&-" for number in closed), "sh")
    return subprocess.run(
        [*shell, sys.executable, "-m", "edgecam", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        cwd=cwd,
        check=False,
    )


@pytest.mark.parametrize("command", PRINTS)
def test_what_cannot_be_printed_is_one_line_and_a_fault(command: str) -> None:
    line = error_line(run(PRINTS[command], 1))
    assert line.startswith("edgecam: error: standard output: ")
    assert "closed" in line


@pytest.mark.parametrize("command", PRINTS)
def test_a_command_that_cannot_complain_does_what_it_does(command: str) -> None:
    done = run(PRINTS[command], 2)
    assert done.returncode == 0
    assert done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("command", PRINTS)
def test_all_streams_closed_still_give_the_exit_code(command: str) -> None:
    assert run(PRINTS[command], 0, 1, 2).returncode == 1


@pytest.mark.parametrize("command", [name for name in PRINTS if "--help" not in PRINTS[name]])
def test_a_closed_standard_input_changes_no_exit_code(command: str) -> None:
    assert run(PRINTS[command], 0).returncode == 0


@pytest.mark.parametrize(
    "arguments", [("inspect", "none.tflite"), ("replay", "none.mp4", "-m", "posenet")]
)
def test_a_fault_without_a_reader_is_still_an_exit_code(arguments: tuple[object, ...]) -> None:
    for closed in ((2,), (0, 2), (0, 1, 2)):
        done = run(arguments, *closed)
        assert (done.returncode, done.stdout) == (1, "")


def test_the_daemon_publishes_with_all_streams_closed(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    """The connection to the broker is not what libraries take for standard error."""
    broker = ("--broker", mosquitto.url, "--name", "front")
    done = run(("--model", "posenet", *FRAMES, *broker), 0, 1, 2)
    assert done.returncode == 0
    result = json.loads(subscriber.wait_for("edgecam/front/result")[0].payload)
    assert result["sequence"] == 0


@pytest.mark.parametrize("flag", ["--jsonl", "--events"])
def test_lines_for_a_standard_output_that_is_closed_are_refused(flag: str) -> None:
    done = run(("--model", "posenet", *FRAMES, flag, "-"), 1)
    assert "found: it is closed" in error_line(done)


def test_a_file_is_never_taken_for_standard_error(tmp_path: Path) -> None:
    """LiteRT writes there by number."""
    lines = tmp_path / "lines"
    done = run(("--model", "posenet", *FRAMES, "--jsonl", lines), 1, 2)
    assert done.returncode == 0
    (line,) = lines.read_bytes().splitlines()
    assert json.loads(line)["sequence"] == 0


def within(limit_mb: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    limit = limit_mb * 1_000_000
    return subprocess.run(
        [sys.executable, "-m", "edgecam", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        check=False,
    )


@pytest.mark.parametrize("limit_mb", [200, 400, 600])
@pytest.mark.parametrize(
    "arguments",
    [("--model", "posenet", *FRAMES, "--jsonl", "-"), ("inspect", "posenet"), ("bench", "posenet")],
    ids=["run", "inspect", "bench"],
)
def test_an_address_space_that_is_too_small_is_one_line(
    limit_mb: int, arguments: tuple[object, ...]
) -> None:
    """Or it is enough, as with a smaller OpenCV."""
    done = within(limit_mb, *arguments)
    if done.returncode == 0:
        pytest.skip(f"{limit_mb} MB of address space are enough here")
    line = error_line(done)
    assert f"may use {limit_mb} MB of address space (RLIMIT_AS: ulimit -v, LimitAS=)" in line
    assert done.stdout == ""


def test_what_loads_no_model_needs_little_address_space() -> None:
    assert within(300, "schema").returncode == 0


def test_an_address_space_of_the_size_that_is_advised_is_enough() -> None:
    done = within(1500, "--model", "posenet", *FRAMES, "--jsonl", "-")
    assert done.returncode == 0, done.stderr


def test_a_model_that_crashes_under_a_limit_may_be_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecam.core.native_loading import AddressSpaceError
    from edgecam.inference import probe, runtime

    killed = subprocess.CompletedProcess([], -11, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: killed)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (900_000_000, 900_000_000))
    # Where the suite's own process is larger than that, this is said before the trial.
    said = (
        r"(it crashes .* \(SIGSEGV\)|models and frames have too little room), for this process may"
    )
    with pytest.raises(AddressSpaceError, match=said):
        probe.run(Path("x.tflite"), runtime.find(), ("1", "-", "cpu"))


def test_out_of_memory_is_one_line(tmp_path: Path) -> None:
    """As of a picture that takes more than there is."""
    code = (
        "import edgecam.tools.inspect_model as i\n"
        "def full(*_, **__): raise MemoryError\n"
        "i.inspect = full\n"
        "from edgecam.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", "posenet"],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        check=False,
    )
    assert "out of memory: expected enough memory" in error_line(done)
    assert os.listdir(tmp_path) == []
