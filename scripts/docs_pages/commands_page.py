"""The page about commands: each with its usage, its words and its options, as click has them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from edgecam.cli.main import COMMANDS, cli

HEAD = """# Commands

`edgecam COMMAND --help` prints the same, and so does `man edgecam`. This page is written by
`scripts/make-reference`. Options of the run itself stand under [edgecam](#edgecam).
"""


def commands_page() -> str:
    """Every command and what is below it."""
    lines = [HEAD, *_command(click.Context(cli, info_name="edgecam"), 2)]
    parent = click.Context(cli, info_name="edgecam")
    for name in sorted(COMMANDS):
        command = cli.get_command(parent, name)
        if command is not None:
            lines += _below(name, command, parent, 2)
    return "\n".join(lines) + "\n"


def _below(name: str, command: click.Command, parent: click.Context, level: int) -> Iterator[str]:
    ctx = click.Context(command, info_name=name, parent=parent)
    yield from _command(ctx, level)
    if isinstance(command, click.Group):
        for each in command.list_commands(ctx):
            found = command.get_command(ctx, each)
            if found is not None:
                yield from _below(each, found, ctx, level + 1)


def _command(ctx: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {ctx.command_path}\n"
    yield f"```text\n{ctx.command_path} {' '.join(_pieces(ctx))}\n```\n"
    yield from _paragraphs(ctx.command.help or ctx.command.short_help or "")
    rows = list(_options(ctx))
    if rows:
        yield "| option | what it does |\n| --- | --- |"
        yield from rows
        yield ""


def _pieces(ctx: click.Context) -> Iterator[str]:
    yield "[OPTIONS]"
    for parameter in ctx.command.get_params(ctx):
        if isinstance(parameter, click.Argument):
            yield placeholder(parameter)
    if isinstance(ctx.command, click.Group):
        yield "COMMAND [ARGUMENTS]"


def placeholder(argument: click.Argument) -> str:
    """An argument in a usage line, as click shows it, whose versions differ in this."""
    if argument.metavar is not None:
        return argument.metavar
    name = (argument.name or "").upper()
    if isinstance(argument.type, click.Choice):
        name = "|".join(map(str, argument.type.choices))
    shown = name if argument.required else f"[{name}]"
    return f"{shown}..." if argument.nargs == -1 else shown


def _paragraphs(text: str) -> Iterator[str]:
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in part.splitlines()]
        if lines and lines[0] == "\b":
            yield "```text\n" + "\n".join(lines[1:]) + "\n```\n"
        elif part:
            yield _escaped(" ".join(lines)) + "\n"


def _options(ctx: click.Context) -> Iterator[str]:
    for parameter in ctx.command.get_params(ctx):
        if "--help" in parameter.opts or not isinstance(parameter, click.Option):
            continue
        record = parameter.get_help_record(ctx)
        if record is not None:
            names, about = record
            shown = names.replace("|", "\\|")
            yield f"| `{shown}` | {_escaped(' '.join(about.split()))} |"


def _escaped(text: str) -> str:
    """Text that Markdown takes as it stands."""
    return re.sub(r"([*|])", r"\\\1", text).replace("<", "&lt;")
