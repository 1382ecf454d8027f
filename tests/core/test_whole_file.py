"""What is written is there whole or not at all, and what cannot be is refused before the work."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecam.cli.main import cli
from edgecam.core import atomic_file as whole_file
from edgecam.core.atomic_file import OutputError
from edgecam.inference import catalog as bundled

UNWRITABLE = Path("/proc")  # even for root


def test_a_file_comes_whole_and_one_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    fresh, old = tmp_path / "fresh", tmp_path / "old"
    old.write_bytes(b"before")
    old.chmod(0o600)
    for path in (fresh, old):
        whole_file.write(path, b"after")
        assert path.read_bytes() == b"after"
    assert fresh.stat().st_mode & 0o777 == 0o644
    assert old.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == [fresh, old]


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "real" / "front.toml")
    for data in (b"one", b"two"):
        whole_file.write(link, data)
        assert link.is_symlink()
        assert (tmp_path / "real" / "front.toml").read_bytes() == data


@contextmanager
def no_file_larger_than(size_bytes: int) -> Iterator[None]:
    """What a full disk does, by another error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"old")
    with no_file_larger_than(1000), pytest.raises(OutputError, match=r"cannot write .*too large"):
        whole_file.write(path, bytes(10_000))
    with suppress(KeyboardInterrupt), whole_file.replacing(path) as part:
        part.write_bytes(b"half of")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path / "none" / "x": f"there is no folder {tmp_path}/none; make it first",
        tmp_path / "file" / "x": "there is no folder",
        tmp_path: "it is a folder; name a file",
        tmp_path / "pipe": "no regular file",
        Path("/dev/null"): "no regular file",
        tmp_path / ("x" * 300): "File name too long",
        UNWRITABLE / "x": "cannot write",
    }
    before = sorted(tmp_path.iterdir())
    for path, words in cases.items():
        with pytest.raises(OutputError, match=words):
            whole_file.check(path)
    assert sorted(tmp_path.iterdir()) == before
    whole_file.check(tmp_path / ("x" * 250))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "command",
    [
        "convert none.json -o /proc/x.tflite",
        "quantize none.tflite -o /proc/x.tflite",
        "replay none.mp4 --write /proc/x.jsonl",
        "scan none.jpg -o /proc/x.png",
        "teach none -o /proc/x.tflite",
        "train classifier none -o /proc/x.tflite",
        "train documents -o /proc/x.keras",
        "train pose --images none --annotations none.json -o /proc/x.tflite",
        "train ssd --images none --annotations none.json -o /proc/x.tflite",
        "tune none.tflite --write /proc/x.toml",
    ],
)
def test_no_command_works_for_a_file_that_it_cannot_write(command: str) -> None:
    """The output is what is wrong first: nothing that it would be made of is there either."""
    result = CliRunner().invoke(cli, command.split(), catch_exceptions=False)
    assert result.exit_code == 1
    assert result.stderr.startswith("edgecam: error: cannot write /proc/x.")
    assert result.stderr.count("\n") == 1


def test_a_folder_is_tried_too(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for output, words in (
        (Path("/proc/web"), "cannot write /proc/web"),
        (tmp_path / "full", "choose a new or empty folder"),
        (tmp_path / "full" / "mine" / "web", "cannot write"),
    ):
        command = ["convert", "none.json", "--to", "tfjs", "-o", str(output)]
        result = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert result.exit_code == 1
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("command", "beside"),
    [
        ("classifier none", "x.keras"),
        ("pose --images none --annotations none", "x.pb"),
        ("ssd --images none --annotations none", "x_raw.tflite"),
    ],
)
def test_what_is_written_beside_a_model_is_tried_too(
    command: str, beside: str, tmp_path: Path
) -> None:
    (tmp_path / beside).mkdir()
    words = ["train", *command.split(), "-o", str(tmp_path / "x.tflite")]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 1
    assert f"cannot write {tmp_path / beside}: it is a folder" in result.stderr


@pytest.mark.parametrize("command", ["convert MODEL", "quantize MODEL", "teach . --backbone MODEL"])
def test_no_command_writes_over_what_it_begins_with(command: str, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    shutil.copy(bundled.resolve("posenet-fp16"), model)
    words = command.replace("MODEL", str(model)).split()
    result = CliRunner().invoke(cli, [*words, "-o", str(tmp_path / "." / "model.tflite")])
    assert result.exit_code == 1
    assert "is what it is made of" in result.stderr
    assert model.read_bytes() == bundled.resolve("posenet-fp16").read_bytes()
