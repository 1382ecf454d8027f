"""Standard error as the journal reads it, and as a person does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from brokers import free_port
from programs import CLIP, environment

RUN = ("--model", "posenet", "--source", CLIP, "--max-frames", "20", "--realtime")


def said(file: Path, stream: str | None, *arguments: object) -> list[str]:
    """What edgecam writes into ``file``; ``stream`` is $JOURNAL_STREAM, None for that very file."""
    with file.open("wb") as errors:
        found = os.fstat(errors.fileno())
        variables = {"JOURNAL_STREAM": stream or f"{found.st_dev}:{found.st_ino}"}
        subprocess.run(
            [sys.executable, "-m", "edgecam", *map(str, arguments)],
            env=environment(**variables),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            check=False,
        )
    return [line for line in file.read_text("utf-8").splitlines() if line]


@pytest.fixture
def lost_broker() -> tuple[str, str]:
    return "--broker", f"mqtt://127.0.0.1:{free_port()}"


def test_each_line_tells_the_journal_its_priority(
    tmp_path: Path, lost_broker: tuple[str, str]
) -> None:
    lines = said(tmp_path / "stderr", None, "--verbose", *RUN, *lost_broker)
    ours = [line for line in lines if re.match(r"<\d>", line)]
    (refused,) = (line for line in ours if "refuse" in line)
    assert refused.startswith("<4>mqtt://")
    (source,) = (line for line in ours if "source " in line and CLIP.name in line)
    assert source.startswith("<6>")
    assert not [line for line in lines if line.startswith("edgecam: ")]


def test_what_ends_a_run_is_an_error_there(tmp_path: Path) -> None:
    line = said(tmp_path / "stderr", None, "--model", "no-such-model")[-1]
    assert line.startswith("<3>")
    assert "no-such-model" in line


def test_a_child_whose_standard_error_is_no_journal_writes_for_people(
    tmp_path: Path, lost_broker: tuple[str, str]
) -> None:
    lines = said(tmp_path / "stderr", "1:1", *RUN, *lost_broker)
    assert [line for line in lines if line.startswith("edgecam: warning: mqtt://")]
    assert not [line for line in lines if re.match(r"<\d>", line)]
    line = said(tmp_path / "stderr", "1:1", "--model", "no-such-model")[-1]
    assert line.startswith("edgecam: error: ")
