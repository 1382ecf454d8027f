"""``edgecam replay``: a recording through the pipeline, against golden results."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from edgecam.options import FLAG_NAMES, given, model_options
from edgecam.types import EdgecamError, SettingsError


def _read_golden(path: Path) -> list[bytes]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SettingsError(
            f"--expect {path}: expected golden JSON lines, found: {error.strerror}; "
            "make them with --write"
        ) from None
    if not all(line.startswith(b"{") and line.endswith(b"}") for line in lines):
        raise SettingsError(f"--expect {path}: expected JSON lines as --write makes them")
    return lines


def _check(golden: list[bytes], path: Path, found: Path, tolerance_px: float) -> None:
    from edgecam.replay import compare

    outcome = compare(golden, found.read_bytes().splitlines(), tolerance_px)
    if not outcome.equal:
        raise EdgecamError(
            f"{outcome.beyond_tolerance} of {max(outcome.lines, len(golden))} frames differ from "
            f"{path} (largest position {outcome.largest_px:.1f} px); {outcome.first}"
        )
    same = "bit for bit" if not outcome.differing else f"to {outcome.largest_px:.1f} px"
    click.echo(f"{outcome.lines} frames equal to {path} {same}", err=True)


def _run(ctx: click.Context, config: Path | None, clip: str, lines: Path) -> float:
    from edgecam import log
    from edgecam.configuration import load
    from edgecam.run import run
    from edgecam.service import Stop, stopped_by_signals

    flags = {**given(ctx), "source.url": clip, "output.jsonl": str(lines), "output.show": False}
    settings = load(config, os.environ, flags, FLAG_NAMES)
    log.set_up(verbose=False)
    stop = Stop()
    with stopped_by_signals(stop):
        report = run(settings, stop, with_broker=False)
    if stop.is_set():
        raise EdgecamError("interrupted; nothing was written or compared")
    return report.uptime_s


@click.command("replay")
@click.argument("clip")
@model_options
@click.option("--write", type=click.Path(path_type=Path), help="Write the results here.")
@click.option("--expect", type=click.Path(path_type=Path), help="Compare the results with these.")
@click.option(
    "--tolerance-px",
    type=click.FloatRange(0.0),
    default=0.0,
    help="Accept positions this far apart.  [default: 0, bit for bit]",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    clip: str,
    config: Path | None,
    write: Path | None,
    expect: Path | None,
    tolerance_px: float,
    **_: Any,
) -> None:
    """Run CLIP (a video, a folder or a glob of pictures) through the pipeline, every frame.

    The same clip, model and runtime give the same bytes: --write keeps them, --expect checks
    them. With neither, the results go to standard output.
    """
    golden = _read_golden(expect) if expect is not None else []
    beside = write.parent if write is not None else None
    if beside is not None and not beside.is_dir():
        raise SettingsError(f"--write {write}: no such directory: {beside}")
    handle, name = tempfile.mkstemp(".jsonl", ".edgecam-", beside)
    os.close(handle)
    lines = Path(name)
    try:
        _run(ctx, config, clip, lines)
        if expect is not None:
            _check(golden, expect, lines, tolerance_px)
        if write is not None:
            lines.chmod(0o644)
            lines.replace(write)
        elif expect is None:
            sys.stdout.buffer.write(lines.read_bytes())
    finally:
        lines.unlink(missing_ok=True)
