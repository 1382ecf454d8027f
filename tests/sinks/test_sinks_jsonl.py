from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from programs import CLIP, edgecam, error_line

from edgecam.core.errors import SinkError
from edgecam.core.frame import Frame
from edgecam.core.result import Decoded, Pose, Result
from edgecam.sinks.jsonl import JsonLinesSink

LOUD_POSE = Pose(0.9, np.full((17, 2), 123.4), np.full(17, 0.9))


def results(number: int) -> Iterator[Result]:
    image = np.zeros((48, 64, 3), np.uint8)
    for i in range(number):
        frame = Frame(image, i, 100.0 + i, 1e9 + i, media_time_s=i / 10)
        yield Result(frame, {"posenet": Decoded(poses=(LOUD_POSE,))})


def write(path: str, number: int) -> None:
    sink = JsonLinesSink(path, "front", "boot")
    try:
        for result in results(number):
            sink.publish(result)
    finally:
        sink.close()


def test_one_line_per_frame_and_the_same_bytes_twice(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    second.write_text("what an earlier run left\n" * 1000)
    write(str(first), 5)
    write(str(second), 5)
    assert first.read_bytes() == second.read_bytes()
    lines = first.read_text().splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [0, 1, 2, 3, 4]


def test_a_line_can_be_read_as_soon_as_it_is_published(tmp_path: Path) -> None:
    file = tmp_path / "live.jsonl"
    sink = JsonLinesSink(str(file), "front", "boot")
    for number, result in enumerate(results(3), 1):
        sink.publish(result)
        assert file.read_bytes().count(b"\n") == number
    assert sink.counters() == {"jsonl_lines": 3}
    sink.close()
    sink.close()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KiB."""
    where = tmp_path / "small"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(where)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_full_disk_is_one_clear_error_and_leaves_whole_lines(full_disk: Path) -> None:
    file = full_disk / "out.jsonl"
    with pytest.raises(SinkError, match=r"out\.jsonl: .*No space left on device") as error:
        write(str(file), 1000)
    assert "\n" not in str(error.value)
    data = file.read_bytes()
    assert data.endswith(b"\n")
    lines = data.splitlines()
    assert len(lines) > 3
    assert [json.loads(line)["sequence"] for line in lines] == list(range(len(lines)))


def test_dev_full_is_refused_with_the_reason() -> None:
    with pytest.raises(SinkError, match="line 1, found: No space left"):
        write("/dev/full", 1)


def test_paths_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="Is a directory"):
        JsonLinesSink(str(tmp_path), "front", "boot")
    with pytest.raises(SinkError, match="No such file or directory"):
        JsonLinesSink(str(tmp_path / "no" / "x.jsonl"), "front", "boot")


def test_dash_is_standard_output_and_a_closed_pipe_is_one_error() -> None:
    script = (
        "import sys; sys.path[:0] = ['tests', 'tests/sinks']\n"
        "from test_sinks_jsonl import write\n"
        "from edgecam.core.errors import SinkError\n"
        "try: write('-', int(sys.argv[1]))\n"
        "except SinkError as error: sys.exit(str(error))\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", script]
    whole = subprocess.run([*command, "3"], cwd=root, env=environment, capture_output=True)
    assert [json.loads(x)["sequence"] for x in whole.stdout.splitlines()] == [0, 1, 2]
    with subprocess.Popen(
        [*command, "5000"],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as cut:
        assert cut.stdout is not None
        assert cut.stderr is not None
        cut.stdout.readline()
        cut.stdout.close()
        message = cut.stderr.read().decode()
    assert cut.returncode == 1
    assert "standard output: " in message
    assert "it has gone" in message
    assert "Traceback" not in message


@pytest.mark.parametrize("mistake", [("--web", "8080x"), ("--broker", "mqtt://127.0.0.1:99999")])
def test_a_start_that_is_refused_leaves_the_file_as_it_was(
    tmp_path: Path, mistake: tuple[str, str]
) -> None:
    path = tmp_path / "keep.jsonl"
    path.write_text("of last week")
    error_line(edgecam("--model", "posenet", "--source", CLIP, "--jsonl", path, *mistake))
    assert path.read_text() == "of last week"
