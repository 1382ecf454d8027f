"""``edgecam replay``: a clip through the pipeline, or what the flight recorder kept of an event."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecam.cli.completion import a_file
from edgecam.cli.headings import HeadedCommand
from edgecam.cli.option_types import Number, OutputFile
from edgecam.cli.options import FLAG_NAMES, given, model_options
from edgecam.core import atomic_file as whole_file
from edgecam.core.errors import EdgecamError, SettingsError
from edgecam.core.printable import say

if TYPE_CHECKING:
    from edgecam.analysis.analyzer import Analysis
    from edgecam.core.events import Event
    from edgecam.core.result import Result
    from edgecam.sinks.recorder.file import FrameRecord, Recording

# What may be asked of a recording too: it has no models that could run.
_OF_RECORDINGS = frozenset(
    {
        *("clip", "write", "expect", "tolerance_px", "zones", "pictures", "explain"),
        *("video", "skeleton"),
    }
)


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
    from edgecam.tools.evaluate.compare_results import compare

    outcome = compare(golden, found.read_bytes().splitlines(), tolerance_px)
    if not outcome.equal:
        raise EdgecamError(
            f"{outcome.beyond_tolerance} of {max(outcome.lines, len(golden))} frames differ from "
            f"{path} (largest position {outcome.largest_px:.1f} px); {outcome.first}"
        )
    same = "bit for bit" if not outcome.differing else f"to {outcome.largest_px:.1f} px"
    say(f"{outcome.lines} frames equal to {path} {same}", err=True)


def _run(ctx: click.Context, config: Path | None, clip: str, lines: Path) -> float:
    from edgecam.cli import log
    from edgecam.daemon.run import run
    from edgecam.daemon.stopping import Stop, stopped_by_signals
    from edgecam.settings.load import load

    flags = {**given(ctx), "source.url": clip, "output.jsonl": str(lines), "output.show": False}
    settings = load(config, os.environ, flags, FLAG_NAMES)
    log.set_up(verbose=False)
    stop = Stop()
    with stopped_by_signals(stop):
        report = run(settings, stop, with_broker=False)
    if stop.is_set():
        raise EdgecamError("interrupted; nothing was written or compared")
    return report.uptime_s


def _about(event: Event, began_s: float) -> str:
    """One line about an event; ``began_s`` is where the recording begins, on the frames' clock."""
    parts = [f"{event.time_s - began_s:8.2f} s  {event.event_type:<12} {event.label}"]
    parts.append(f"track {event.track}")
    if event.zone is not None:
        parts.append(f"in {event.zone}")
    parts += [f"{name} {value}" for name, value in event.attributes.items()]
    return ", ".join([" ".join(parts[:2]), *parts[2:], f"lasted {event.dwell_s:.2f} s"])


def _introduce(recording: Recording) -> None:
    header, frames = recording.header, recording.frames
    try:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(header.trigger.unix_s))
    except (ValueError, OverflowError, OSError):
        when = f"{header.trigger.unix_s} s"
    # The clock of a recording that was looped goes back in between.
    span_s = sum(max(0.0, b.time_s - a.time_s) for a, b in itertools.pairwise(frames))
    say(
        f"{header.name}, {header.trigger.event_type} at {when}: {len(frames)} frames of "
        f"{span_s:.1f} s, edgecam {header.edgecam}"
    )


def _play(path: Path, zones: Path | None, lines: Path, explain: bool) -> None:
    """Tell the events of a recording again, and the results into ``lines``."""
    from edgecam.analysis.explaining import Explaining
    from edgecam.settings.load import load
    from edgecam.sinks.jsonl import JsonLinesSink
    from edgecam.sinks.recorder import replay as playback
    from edgecam.sinks.recorder.file import RecordingError, RuleSettings, read

    recording = read(path)
    other = None if zones is None else RuleSettings.of(load(zones, {}, {}))
    _introduce(recording)
    sink = JsonLinesSink(str(lines), recording.header.name, recording.header.boot_id)
    found: list[Event] = []
    began_s = recording.frames[0].time_s if recording.frames else 0.0
    explaining = Explaining(began_s)

    def watch(analysis: Analysis, result: Result) -> None:
        for step in explaining.steps(analysis, result):
            say(step)

    for result in playback.results(recording, other, watch if explain else None):
        sink.publish(result)
        found += result.insight.events if result.insight is not None else ()
    sink.close()
    recorded = [event for record in recording.frames for event in record.events]
    listing = playback.compared(recorded, found, exact=other is None)
    for line in listing:
        say(f"{line.sign} {_about(line.event, began_s)}")
    differing = sum(line.sign != " " for line in listing)
    if not differing:
        say(f"{len(found)} events equal to the recorded ones")
    elif other is None:
        raise RecordingError(
            f"{differing} events differ from the recorded ones (- recorded, + given now); "
            f"it was recorded by edgecam {recording.header.edgecam}"
        )
    else:
        say(f"{len(found)} events, {len(recorded)} recorded (- recorded, + given now)")


def _unpack_pictures(frames: tuple[FrameRecord, ...], folder: Path) -> None:
    from edgecam.sinks.recorder.file import RecordingError

    kept = [(record.sequence, record.jpeg) for record in frames if record.jpeg is not None]
    if not kept:
        raise RecordingError(
            "--pictures: the recording has none; set recorder.pictures to have them"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sequence, data in kept:
            (folder / f"{sequence:08d}.jpg").write_bytes(data)
    except OSError as error:
        raise RecordingError(
            f"--pictures {folder}: {error.strerror}; give another folder"
        ) from None
    say(f"{len(kept)} pictures in {folder}")


def _write_video(frames: tuple[FrameRecord, ...], path: Path, skeleton: bool) -> None:
    from edgecam.settings.recorder import RecorderSettings
    from edgecam.sinks.recorder.file import RecordingError
    from edgecam.sinks.recorder.video import mp4, pictures_of, stick_figures_of

    if not skeleton and all(record.jpeg is None for record in frames):
        raise RecordingError(
            "--video: the recording has no pictures; add --skeleton for stick figures, or set "
            "recorder.pictures to have some"
        )
    shown = stick_figures_of(frames, 2 * RecorderSettings().width_px)
    data = mp4(shown if skeleton else pictures_of(frames, {}))
    whole_file.write(path, data)
    say(f"{path}: {len(data) / 1e6:.2f} MB")


def _refuse_options(ctx: click.Context) -> None:
    from edgecam.sinks.recorder.file import RecordingError

    typed = click.core.ParameterSource.COMMANDLINE
    for name in ctx.params:
        if name not in _OF_RECORDINGS and ctx.get_parameter_source(name) == typed:
            flag = f"--{name.replace('_', '-')}"
            raise RecordingError(
                f"{flag}: a recording of the flight recorder holds results, which no model makes "
                "again; to try other zones, rules or tracking give --zones SETTINGS.toml"
            )


@click.command("replay", cls=HeadedCommand)
@click.argument("clip", shell_complete=a_file)
@model_options
@click.option("--write", type=OutputFile(), help="Write the results here.")
@click.option("--expect", type=click.Path(path_type=Path), help="Compare the results with these.")
@click.option(
    "--tolerance-px",
    type=Number(0.0),
    default=0.0,
    help="Accept positions this far apart.  [default: 0, bit for bit]",
)
@click.option(
    "--zones",
    type=click.Path(path_type=Path),
    help="Of a recording: take zones, masks, lines, tracking and events from these settings.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    help="Of a recording: write its pictures into this folder.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Of a recording: say step by step how falls and postures were decided.",
)
@click.option("--video", type=OutputFile(".mp4"), help="Of a recording: write an MP4 of it.")
@click.option("--skeleton", is_flag=True, help="With --video: stick figures on black, no picture.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    clip: str,
    config: Path | None,
    write: Path | None,
    expect: Path | None,
    tolerance_px: float,
    zones: Path | None,
    pictures: Path | None,
    explain: bool,
    video: Path | None,
    skeleton: bool,
    **_: Any,
) -> None:
    """Run CLIP (a video, a folder or a glob of pictures) through the pipeline, every frame.

    The same clip, model and runtime give the same bytes: --write keeps them, --expect checks
    them. With neither, the results go to standard output.

    CLIP may also be a NAME.recording.gz of the flight recorder: its events are given again from
    the recorded results, and compared with those that were given then.
    """
    from edgecam.sinks.recorder.file import is_recording, read

    recorded = is_recording(Path(clip))
    if recorded:
        _refuse_options(ctx)
    elif explain or any(each is not None for each in (zones, pictures, video)):
        raise SettingsError(
            "--zones, --pictures, --explain and --video are for the flight recorder's files, "
            "NAME.recording.gz"
        )
    if skeleton and video is None:
        raise SettingsError("--skeleton: expected --video FILE.mp4 with it, found none")
    golden = _read_golden(expect) if expect is not None else []
    with whole_file.replacing(write) if write is not None else _passing() as lines:
        if recorded:
            _play(Path(clip), zones, lines, explain)
        else:
            _run(ctx, config, clip, lines)
        if pictures is not None:
            _unpack_pictures(read(Path(clip)).frames, pictures)
        if video is not None:
            _write_video(read(Path(clip)).frames, video, skeleton)
        if expect is not None:
            _check(golden, expect, lines, tolerance_px)
        if write is None and expect is None and not recorded:
            sys.stdout.buffer.write(lines.read_bytes())


@contextmanager
def _passing() -> Iterator[Path]:
    """A file for results that are not kept."""
    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        yield Path(folder) / "results.jsonl"
