"""What is installed beside the program: manual pages, and what shells complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from brokers import wait_until
from docs_pages.manpages import MANUALS, escaped
from programs import ROOT
from terminals import Terminal

from edgecam.cli.main import COMMANDS
from edgecam.cli.options import FLAG_NAMES
from edgecam.settings.load import describe

PAGES = sorted(MANUALS)
SITE = Path(np.__file__).parent.parent


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt install {package})")
    return found


@pytest.fixture(scope="module")
def prefix(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel in it and this environment's dependencies."""
    made = tmp_path_factory.mktemp("prefix")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    (site,) = made.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{SITE}\n")
    pip = [sys.executable, "-m", "pip", "--python", made / "bin/python", "install", "-qq"]
    subprocess.run([*pip, "--no-deps", "--ignore-installed", wheel], check=True)
    return made


def elsewhere(prefix: Path, **variables: str) -> dict[str, str]:
    """An environment in which edgecam is the one in ``prefix``."""
    path = f"{prefix}/bin{os.pathsep}{os.environ['PATH']}"
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MANPATH")}
    return {**kept, "PATH": path, "LC_ALL": "C.UTF-8", "HOME": str(prefix), **variables}


def said(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", **variables},
        check=False,
    )


@pytest.mark.parametrize("name", PAGES)
def test_groff_has_no_complaint(name: str) -> None:
    page = ROOT / "man" / name
    done = said(tool("groff", "groff"), "-man", "-ww", "-rF0", "-Tutf8", "-P-c", page)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_no_complaint(name: str) -> None:
    done = said(tool("mandoc", "mandoc"), "-Tlint", "-Wwarning", ROOT / "man" / name)
    assert (done.returncode, done.stdout) == (0, "")


def rendered(prefix: Path, name: str) -> str:
    variables = elsewhere(prefix, MANWIDTH="200", MAN_KEEP_FORMATTING="", GROFF_NO_SGR="1")
    done = subprocess.run(
        [tool("man", "man-db"), "--warnings=w", "-P", "cat", name],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Bold is overstrike where the output is no terminal.
    text = done.stdout
    while "\b" in text:
        place = text.index("\b")
        text = text[: place - 1] + text[place + 1 :]
    return text


def test_man_finds_the_installed_pages(prefix: Path) -> None:
    text = rendered(prefix, "edgecam")
    assert "camera pose and detection on small boards" in text
    for name in COMMANDS:
        assert f"edgecam {name}" in text
    for flag in FLAG_NAMES.values():
        assert flag in text
    assert "edgecam doctor [OPTIONS] [CHECK]..." in text
    assert "edgecam bench [OPTIONS] MODEL...\n" in text
    settings = rendered(prefix, "edgecam.toml")
    reported = {line.split()[0] for line in settings.splitlines() if line.strip()}
    assert {info.key for info in describe()} <= reported


def test_roff_cannot_be_smuggled_in(tmp_path: Path) -> None:
    evil = ".so /etc/passwd\n'br\nback\\slash \\fBbold --flag ~/x `y` 'z' ^"
    page = tmp_path / "evil.1"
    page.write_text(f".TH EVIL 1 2026-01-01\n.SH NAME\n.nf\n{escaped(evil)}\n")
    done = said(tool("groff", "groff"), "-man", "-ww", "-Tutf8", "-P-c", "-P-b", "-P-u", page)
    assert done.stderr == ""
    for line in evil.splitlines():
        assert line in done.stdout


@pytest.fixture
def shell(prefix: Path, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts an interactive shell in a real terminal; edgecam is the installed one."""
    made: list[Terminal] = []

    def start(*command: object, **variables: str) -> Terminal:
        made.append(Terminal(tmp_path, command, variables=elsewhere(prefix, **variables)))
        return made[-1]

    yield start
    for terminal in made:
        terminal.close()


def completes(terminal: Terminal, typed: str, expected: str) -> None:
    """Type, press TAB, and see the line become what is expected."""
    # An empty line first: what was typed before is gone.
    terminal.press("C-u")
    terminal.press("-l", typed)
    terminal.press("Tab")
    assert wait_until(lambda: f"> {expected}" in terminal.text, 20.0), terminal.text


def prepared(terminal: Terminal, setup: str) -> Terminal:
    """Type ``setup``; the shell is ready when its prompt has changed."""
    terminal.press("-l", f"{setup}; PS1='rea''dy> '; clear")
    terminal.press("Enter")
    assert terminal.shows("ready>"), terminal.text
    return terminal


CASES = (
    ("edgecam --mo", "edgecam --model"),
    ("edgecam --model posenet-i", "edgecam --model posenet-int8"),
    ("edgecam --fit let", "edgecam --fit letterbox"),
    ("edgecam disc", "edgecam discovery"),
    ("edgecam doctor cam", "edgecam doctor camera"),
    ("edgecam replay --tol", "edgecam replay --tolerance-px"),
    ("edgecam inspect ssdl", "edgecam inspect ssdlite"),
    ("edgecam models pull posenet_r", "edgecam models pull posenet_resnet50"),
)


def test_bash_completes(prefix: Path, shell: Callable[..., Terminal]) -> None:
    script = prefix / "share/bash-completion/completions/edgecam"
    terminal = prepared(shell("bash", "--norc", "--noprofile", "-i"), f". {script}")
    for typed, expected in CASES:
        completes(terminal, typed, expected)


def test_bash_finds_it_by_itself(prefix: Path, shell: Callable[..., Terminal]) -> None:
    package = Path("/usr/share/bash-completion/bash_completion")
    if not package.is_file():
        pytest.skip("bash-completion is not installed (Debian: apt install bash-completion)")
    variables = {"XDG_DATA_DIRS": f"{prefix}/share"}
    bash = shell("bash", "--norc", "--noprofile", "-i", **variables)
    terminal = prepared(bash, f". {package}")
    completes(terminal, *CASES[1])


def test_zsh_completes(prefix: Path, shell: Callable[..., Terminal]) -> None:
    setup = f"fpath=({prefix}/share/zsh/site-functions $fpath); autoload -U compinit"
    terminal = prepared(shell(tool("zsh", "zsh"), "-f", "-i"), f"{setup}; compinit -u -D")
    for typed, expected in CASES:
        completes(terminal, typed, expected)


def test_fish_completes(prefix: Path, tmp_path: Path) -> None:
    variables = elsewhere(
        prefix, XDG_DATA_DIRS=f"{prefix}/share:/usr/share", XDG_CONFIG_HOME=str(tmp_path)
    )
    for typed, expected in CASES:
        done = subprocess.run(
            [tool("fish", "fish"), "--private", "-c", f"complete -C '{typed}'"],
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        assert expected.split()[-1] in [line.split("\t")[0] for line in done.stdout.splitlines()]


def test_completion_costs_a_start_nothing() -> None:
    code = "import edgecam.cli.main, sys; print('click.shell_completion' in sys.modules)"
    assert said(sys.executable, "-c", code, PYTHONPATH=str(ROOT)).stdout.strip() == "False"
