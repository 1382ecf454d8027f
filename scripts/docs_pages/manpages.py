"""The manual pages, made from the commands and settings: edgecam(1) and edgecam.toml(5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import click
from docs_pages.commands_page import placeholder
from docs_pages.reference import default_of, range_of

from edgecam.cli.main import COMMANDS, cli
from edgecam.cli.options import FLAG_NAMES
from edgecam.core.version import __version__
from edgecam.settings.load import describe

# Of the pages' last change by hand; what is made from the code is that of the version.
DATE = "2026-11-22"


def escaped(text: str) -> str:
    """Text as roff takes it: nothing in it is a request, an escape or a soft hyphen."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("~", "\\(ti")
    text = text.replace("`", "\\(ga").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", text, flags=re.M)


def _bold(text: str) -> str:
    return f"\\fB{escaped(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{escaped(text)}\\fR"


def _paragraphs(text: str) -> Iterator[str]:
    """Click's help text; what stands behind a line with \\b alone keeps its lines."""
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in part.splitlines()]
        if lines[0] == "\b":
            yield ".PP\n.nf\n" + "\n".join(map(escaped, lines[1:])) + "\n.fi"
        else:
            yield ".PP\n" + escaped(" ".join(lines))


def _options(ctx: click.Context) -> Iterator[str]:
    for parameter in ctx.command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        is_announced = "--help" in parameter.opts and ctx.parent is not None
        if record is None or is_announced or not isinstance(parameter, click.Option):
            continue
        names, about = record
        # A tag wants a text behind it, if only an empty one.
        yield f".TP\n{_bold(names)}\n{escaped(' '.join(about.split())) or chr(92) + '&'}"


def _usage(ctx: click.Context) -> str:
    arguments = [p for p in ctx.command.get_params(ctx) if isinstance(p, click.Argument)]
    pieces = ["[OPTIONS]", *map(placeholder, arguments)]
    if isinstance(ctx.command, click.Group):
        pieces.append("COMMAND [ARGUMENTS]")
    return f"{_bold(ctx.command_path)} {_italic(' '.join(pieces))}"


def _command(path: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    ctx = click.Context(command, info_name=path, parent=parent)
    yield f".SS {_bold(ctx.command_path)}"
    yield _usage(ctx)
    yield from _paragraphs(command.help or command.short_help or "")
    yield from _options(ctx)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            if below is not None:
                yield from _command(name, below, ctx)


def _entries(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, about in entries:
        yield f".TP\n{_bold(name)}\n{escaped(about)}"


def _head(title: str, section: int, name: str, about: str) -> Iterator[str]:
    yield '.\\" Written by scripts/make-reference from the code of edgecam.'
    yield f'.TH {title} {section} {DATE} "edgecam {__version__}"'
    yield f".SH NAME\n{escaped(name)} \\- {escaped(about)}"


ENVIRONMENT = (
    ("EDGECAM_CONFIG", "The settings file, where --config is not given."),
    (
        "EDGECAM_SECTION_KEY",
        "One setting, such as EDGECAM_MQTT_URL: a flag beats it, and it beats the file.",
    ),
    ("EDGECAM_CACHE_DIR", "Where it is remembered which models have passed their trial."),
    ("XDG_STATE_HOME", "Below it the flight recorder's files, in ~/.local/state by default."),
    ("XDG_DATA_HOME", "Below it the models that were pulled, in ~/.local/share by default."),
)
FILES = (
    ("/etc/edgecam/NAME.toml", "Settings of the service edgecam@NAME."),
    ("/etc/edgecam/NAME.env, /etc/edgecam/NAME.password", "Its secrets, read by systemd."),
    ("/var/lib/edgecam/NAME/recordings", "What its flight recorder has kept."),
    ("/run/edgecam/NAME", "The socket that edgecam status asks."),
    ("~/.local/state/edgecam/NAME/recordings", "Recordings of an edgecam that is no service."),
)
EXITS = (
    ("0", "All went well; of status, doctor and top: all is well."),
    ("1", "A fault, with one line that says what was expected, what was found and what to do."),
    ("2", "Wrong usage."),
    ("3", "Of status and top: there is no such instance."),
)
SIGNALS = (
    ("SIGTERM, SIGINT", "End: say goodbye to the broker, then exit with 0."),
    ("SIGHUP", "Read the settings again; where they are wrong the old ones stay."),
)


def program_page() -> str:
    """edgecam(1): every command with its options."""
    ctx = click.Context(cli, info_name="edgecam")
    lines = [*_head("EDGECAM", 1, "edgecam", "camera pose and detection on small boards")]
    lines += [".SH SYNOPSIS", f"{_bold('edgecam')} {_italic('[OPTIONS]')}", ".br"]
    lines += [f"{_bold('edgecam')} {_italic('COMMAND [ARGUMENTS]')}", ".SH DESCRIPTION"]
    # Behind a heading a paragraph begins by itself.
    lines += ["\n".join(_paragraphs(cli.help or "")).removeprefix(".PP\n")]
    lines += [".SH OPTIONS", *_options(ctx), ".SH COMMANDS"]
    for name in sorted(COMMANDS):
        command = cli.get_command(ctx, name)
        if command is not None:
            lines += _command(name, command, ctx)
    for title, entries in (
        ("ENVIRONMENT", ENVIRONMENT),
        ("FILES", FILES),
        ("SIGNALS", SIGNALS),
        ("EXIT STATUS", EXITS),
    ):
        lines += [f".SH {title}", *_entries(entries)]
    lines += [".SH SEE ALSO", ".BR edgecam.toml (5),", ".BR mosquitto_sub (1),"]
    lines += [".BR systemd.service (5)"]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """edgecam.toml(5): every setting with what it takes, its default and its flag."""
    about = (
        "Settings of edgecam, in TOML. The key before the dot is the section: mqtt.url is url in "
        "[mqtt]; model, zone, mask and line may stand several times, as [[zone]]. An unknown key "
        "or a value out of range is refused with the key and what was expected."
    )
    lines = [*_head("EDGECAM.TOML", 5, "edgecam.toml", "settings of edgecam")]
    lines += [".SH DESCRIPTION", escaped(about), ".SH SETTINGS"]
    for info in describe():
        facts = [info.description, f"Takes {range_of(info.type)}"]
        if shown := default_of(info):
            facts.append(f"Default {shown}")
        if flag := FLAG_NAMES.get(info.key):
            facts.append(f"Flag {flag}")
        text = ". ".join(facts).replace("`", "") + "."
        lines += _entries([(info.key, text)])
    lines += [".SH SEE ALSO", ".BR edgecam (1)"]
    return "\n".join(lines) + "\n"


MANUALS: Mapping[str, Callable[[], str]] = {
    "edgecam.1": program_page,
    "edgecam.toml.5": settings_page,
}
