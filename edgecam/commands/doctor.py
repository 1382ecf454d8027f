"""``edgecam doctor``: what works here, what does not, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from edgecam import __version__
from edgecam.configuration import load
from edgecam.doctor import examine
from edgecam.doctor.finding import Finding, fail
from edgecam.options import FLAG_NAMES
from edgecam.settings import Settings
from edgecam.types import SettingsError

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def _show(finding: Finding) -> None:
    level = click.style(f"{finding.level:4}", fg=_COLOURS[finding.level])
    click.echo(f"{level}  {finding.check:14} {finding.text}")
    if finding.remedy is not None:
        click.echo(f"{'':21}-> {finding.remedy}")


def _summary(findings: list[Finding]) -> str:
    count = {level: sum(f.level == level for f in findings) for level in _COLOURS}
    return f"{count['ok']} ok, {count['warn']} warnings, {count['fail']} failures"


@click.command("doctor")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="EDGECAM_CONFIG",
    help="Settings file (TOML): its source, models, delegate and broker are tried too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def command(ctx: click.Context, config: Path | None, as_json: bool) -> None:
    """Say what works on this board, what does not, and what to do.

    Exits 1 if something failed; a warning alone is no failure.
    """
    findings: list[Finding] = []
    try:
        settings = load(config, os.environ, {}, FLAG_NAMES)
    except SettingsError as error:
        settings = Settings()
        findings.append(fail("settings", str(error), "mend the settings and run doctor again"))
        if not as_json:
            _show(findings[0])
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            _show(finding)
    failed = any(finding.level == "fail" for finding in findings)
    if as_json:
        report = {"version": __version__, "failed": failed, "findings": findings}
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
    else:
        click.echo(_summary(findings))
    ctx.exit(int(failed))
