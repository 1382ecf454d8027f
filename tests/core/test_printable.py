"""Text from outside on a terminal, in the journal and to the service manager."""

from __future__ import annotations

import ast
import io
import json
import socket
from pathlib import Path

import pytest
from programs import ROOT
from rich.table import Table

from edgecam.cli.log import fault_line
from edgecam.core.console import Console
from edgecam.core.printable import printable, say, say_json
from edgecam.daemon.systemd_notify import Notifier

EVIL = "a\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\nedgecam: all is well[bold]"
SAFE = "a?]0;owned??[2J?31m??edgecam: all is well[bold]"


def test_every_character_that_commands_is_replaced() -> None:
    text = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x200B, 0x2028, 0xD800)))
    assert set(printable(text)) == {"?"}
    assert printable("Haustür 2 °C") == "Haustür 2 °C"
    assert len(printable("x" * 1000)) == 200


def test_a_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL)
    say(EVIL, err=True)
    reported = capsys.readouterr()
    assert (reported.out, reported.err) == (f"{SAFE}\n", f"{SAFE}\n")
    assert fault_line(EVIL) == f"edgecam: error: {SAFE}"


def test_json_stays_the_same_document(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.dumps({"Tür": EVIL}, ensure_ascii=False, indent=2)
    say_json(document.encode())
    reported = capsys.readouterr().out
    assert json.loads(reported) == {"Tür": EVIL}
    assert reported.replace("\n", "").isprintable()
    assert "Tür" in reported


def test_a_table_holds_nothing_that_a_terminal_acts_upon() -> None:
    file = io.StringIO()
    table = Table("label")
    table.add_row(EVIL)
    console = Console(file=file)
    console.print(table)
    console.print(EVIL)
    assert file.getvalue().replace("\n", "").isprintable()
    assert "[bold]" in file.getvalue()


def test_a_reason_assigns_nothing_at_the_service_manager(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert notifier.send("READY=1", "STATUS=offline\nMAINPID=1\udc80")
        assert manager.recv(4096) == b"READY=1\nSTATUS=offline?MAINPID=1?"
        notifier.close()


# What they print is their own: help, a colour, a line that is written over itself.
PRINT_THEMSELVES = {
    "cli/main.py",
    "core/printable.py",
    "cli/commands/doctor.py",
    "cli/commands/teach.py",
}


def test_everything_is_printed_through_one_place() -> None:
    offences = []
    for path in sorted((ROOT / "edgecam").rglob("*.py")):
        name = str(path.relative_to(ROOT / "edgecam"))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or name in PRINT_THEMSELVES:
                continue
            if ast.unparse(node.func) in ("print", "click.echo", "click.secho"):
                offences.append(f"{name}:{node.lineno}")
    assert not offences, f"use edgecam.printable.say: {offences}"
