"""``edgecam doctor``: what works here, what does not, and what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from edgecam.cli.completion import one_of
from edgecam.cli.option_types import Number
from edgecam.cli.options import FLAG_NAMES
from edgecam.core.errors import SettingsError
from edgecam.core.printable import MAX_LINE, printable, say, say_json
from edgecam.core.version import __version__
from edgecam.settings.companions import unreadable
from edgecam.settings.house import House, of_one
from edgecam.settings.load import load_house
from edgecam.settings.schema import Settings
from edgecam.settings.section import SLUG
from edgecam.tools.doctor import CHECKS, PER_CAMERA, examine
from edgecam.tools.doctor.finding import Finding, fail, warn
from edgecam.tools.doctor.subprocess_check import TIMEOUT_S

# Where systemd's instances have their settings.
INSTANCES = Path("/etc/edgecam")
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def _show(finding: Finding) -> None:
    level = click.style(f"{finding.level:4}", fg=_COLOURS[finding.level])
    click.echo(f"{level}  {finding.check:14} {printable(finding.text, MAX_LINE)}")
    if finding.remedy is not None:
        say(f"{'':21}-> {finding.remedy}")


def _summary(findings: list[Finding]) -> str:
    count = {level: sum(f.level == level for f in findings) for level in _COLOURS}
    return f"{count['ok']} ok, {count['warn']} warnings, {count['fail']} failures"


# By the name that a shell takes for one word.
_NAMES = {name.replace(" ", "-"): name for name, *_ in CHECKS}

_ABOUT = f"""Say what works on this board, what does not, and what to do.

Makes every check, or those named: {", ".join(_NAMES)}. The name of a camera, as in
/etc/edgecam/NAME.toml, has its settings tried too. Exits 1 if something failed; a warning
alone is no failure.
"""


def _asked(checks: tuple[str, ...], config: Path | None) -> tuple[list[str], Path | None]:
    """The checks to make, and the settings of the camera that is named in place of one."""
    own = None
    for name in checks:
        path = INSTANCES / f"{name}.toml"
        if name in _NAMES:
            continue
        if own is None and config is None and re.fullmatch(SLUG, name) and path.is_file():
            own = path
            continue
        raise click.UsageError(
            f"{name!r} is neither a check ({', '.join(_NAMES)}) nor a camera with settings in "
            f"{path}; other settings: edgecam doctor --config FILE"
        )
    return [_NAMES[name] for name in checks if name in _NAMES], own


def _examine(house: House, only: list[str], timeout_s: float) -> Iterator[Finding]:
    """All checks of the process with its first camera, and those of each other camera's own."""
    first, *others = house.cameras
    shared = msgspec.structs.replace(first, name=house.shared.name)
    yield from examine(shared, only, timeout_s)
    own = [check for check in PER_CAMERA if not only or check in only]
    for camera in others if own else ():
        yield from examine(camera, own, timeout_s)


@click.command("doctor", help=_ABOUT)
@click.argument("checks", nargs=-1, metavar="[CHECK]...", shell_complete=one_of(*_NAMES))
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="EDGECAM_CONFIG",
    help="Settings file (TOML): its source, models, delegate and broker are tried too.",
)
@click.option(
    "--timeout-s",
    type=Number(min=1.0),
    default=TIMEOUT_S,
    show_default=True,
    help="How long one check may take before it is ended and reported as failed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    checks: tuple[str, ...],
    config: Path | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Print each finding as soon as it is there."""
    findings: list[Finding] = []
    only, own = _asked(checks, config)
    config = config or own
    try:
        configs = () if config is None else (config,)
        house = load_house(configs, os.environ, {}, FLAG_NAMES)
    except SettingsError as error:
        house = of_one(Settings())
        findings.append(fail("settings", str(error), "fix the settings and run doctor again"))
        if not as_json:
            _show(findings[0])
    for path in unreadable(config, os.environ):
        text = f"{path}: you may not read it: what it holds is missing from the checks that follow"
        findings.append(warn("settings", text, f"sudo edgecam doctor --config {config}"))
        if not as_json:
            _show(findings[-1])
    for finding in _examine(house, only, timeout_s):
        findings.append(finding)
        if not as_json:
            _show(finding)
    failed = any(finding.level == "fail" for finding in findings)
    if as_json:
        report = {"version": __version__, "failed": failed, "findings": findings}
        say_json(msgspec.json.format(msgspec.json.encode(report), indent=2))
    else:
        say(_summary(findings))
    ctx.exit(int(failed))
