"""Numbers and sizes of the commands that make things: bounded, and refused in a line."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from edgecam.cli.main import COMMANDS, cli
from edgecam.cli.option_types import Number, SizeRange

MAKERS = ("teach", "train", "scan", "tune")


def options(command: click.Command, name: str) -> Iterator[tuple[str, click.Option]]:
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from options(inner, f"{name} {inner.name}")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield name, parameter


def of(commands: Iterator[str] | tuple[str, ...]) -> list[tuple[str, click.Option]]:
    context = click.Context(cli)
    found = [(name, cli.get_command(context, name)) for name in commands]
    return [pair for name, command in found for pair in options(command, name)]


def test_every_fraction_is_a_finite_number() -> None:
    loose = [
        f"{name} {option.opts[-1]}"
        for name, option in of(tuple(COMMANDS))
        if isinstance(option.type, click.types.FloatParamType)
        and not isinstance(option.type, Number)
    ]
    assert not loose


def test_what_makes_things_has_bounds_on_both_sides() -> None:
    kinds = click.types.IntParamType | click.types.FloatParamType
    numbers = [(name, option) for name, option in of(MAKERS) if isinstance(option.type, kinds)]
    assert len(numbers) > 30
    open_ended = [
        f"{name} {option.opts[-1]}"
        for name, option in numbers
        if getattr(option.type, "min", None) is None or getattr(option.type, "max", None) is None
    ]
    assert not open_ended


HOSTILE = ("nan", "inf", "-inf", "-1", "1e308", "9" * 5000, "", "ten", "0x10", "1,5")


@pytest.mark.parametrize("command", ["teach x", "scan x.jpg", "train ssd", "train pages x"])
def test_hostile_numbers_are_refused_by_name(command: str) -> None:
    name = command.split()[0]
    for words, option in of((name,)):
        if not command.startswith(words) or not isinstance(
            option.type, click.types.IntParamType | click.types.FloatParamType
        ):
            continue
        for value in HOSTILE:
            result = CliRunner().invoke(cli, [*command.split(), option.opts[-1], value])
            assert result.exit_code == 2, (command, option.opts, value, result.output)
            assert f"'{option.opts[-1]}'" in result.stderr
            assert len(result.stderr.splitlines()[-1]) < 200 + len(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("64x999999999", "64 to 4096 pixels"),
        ("64x" + "9" * 5000, "64 to 4096 pixels"),
        ("63x64", "64 to 4096 pixels"),
        ("0x0", "64 to 4096 pixels"),
        ("64", "expected HEIGHTxWIDTH"),
        ("64x", "expected HEIGHTxWIDTH"),
        ("-64x64", "expected HEIGHTxWIDTH"),
        ("64x64x3", "expected HEIGHTxWIDTH"),
        ("64.0x64", "expected HEIGHTxWIDTH"),
        ("\u0666\u0664x64", "expected HEIGHTxWIDTH"),
        ("nanxinf", "expected HEIGHTxWIDTH"),
    ],
)
def test_a_size_is_two_sides_within_bounds(text: str, words: str) -> None:
    with pytest.raises(click.BadParameter, match=words):
        SizeRange(64, 4096)(text)


def test_a_size_is_written_as_it_is_typed() -> None:
    size = SizeRange(1, 4096)("353x0481")
    assert (size.height, size.width) == size == (353, 481)
    assert str(size) == "353x481"


def test_the_renderer_says_its_limit() -> None:
    result = CliRunner().invoke(cli, ["train", "pages", "--size", "64x999999999", "pages"])
    assert result.exit_code == 2
    assert "expected sides of 64 to 2048 pixels" in result.stderr
