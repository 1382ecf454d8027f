"""Paths that no file can have, over all commands: one line, the documented exit code, no file."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from programs import CLIP, ROOT

from edgecam.cli.main import COMMANDS, cli

LETTER = ROOT / "tests" / "data" / "documents" / "letter.jpg"
BROKER = "--broker mqtt://127.0.0.1:1"
LOGIN = f"{BROKER} --username eva --password-file PATH"
# Of each command the options and arguments that are paths; PATH is what each test puts there.
CALLS = (
    f"--model PATH --source {CLIP}",
    "--config PATH",
    f"--model posenet --labels PATH --source {CLIP}",
    "--model posenet --source PATH",
    f"--model posenet --source {CLIP} --max-frames 1 --jsonl PATH",
    f"--model posenet --source {CLIP} --max-frames 1 --events PATH",
    f"--model posenet --source {CLIP} {LOGIN}",
    "bench PATH",
    "convert PATH -o x.tflite",
    f"convert {LETTER} -o PATH.tflite",
    "decode PATH",
    "demo --model PATH",
    f"discovery --remove {LOGIN}",
    "eval -m posenet --images PATH --annotations PATH",
    "eval -m PATH --images . --annotations PATH",
    f"frames --source PATH {BROKER}",
    f"frames --source {LETTER} {LOGIN}",
    "init x --output PATH",
    "inspect PATH",
    "inspect posenet --labels PATH",
    "models show PATH",
    "models verify PATH",
    "quantize PATH --mode int8 --calibrate . -o x.tflite",
    "quantize posenet-fp16 --mode int8 --calibrate PATH -o x.tflite",
    "replay PATH -m posenet",
    f"replay {CLIP} -m posenet --expect PATH",
    f"replay {CLIP} -m posenet --write PATH",
    "scan PATH -o x.pdf",
    f"scan {LETTER} -o PATH.pdf",
    f"service install x --root . -m PATH -s {CLIP}",
    "teach PATH -o x.tflite",
    f"top --once {LOGIN}",
    "train classifier PATH -o x.tflite",
    "tune --source PATH --write x.toml",
)
# These print what is built in, or ask what runs.
WITHOUT = {"doctor", "help", "schema", "status"}


def test_every_command_is_tried() -> None:
    tried = {call.split()[0] for call in CALLS if not call.startswith("-")}
    assert tried == COMMANDS.keys() - WITHOUT


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("path", "code"), [("~nosuch/x", 1), ("a\0b", 2)], ids=["no such home", "NUL"]
)
def test_a_path_that_no_file_can_have_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, path: str, code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [part.replace("PATH", path) for part in call.split()]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    last = done.stderr.splitlines()[-1]
    assert last.startswith("edgecam: error: " if code == 1 else "Error: expected text, found a NUL")
    assert done.stdout == ""
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
