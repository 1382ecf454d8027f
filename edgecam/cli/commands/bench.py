"""``edgecam bench``: what a model costs on this board, against the bare interpreter."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecam.cli.completion import a_model
from edgecam.cli.headings import HeadedCommand
from edgecam.cli.options import FLAG_NAMES, given, model_options
from edgecam.core.printable import say, say_json

if TYPE_CHECKING:
    from edgecam.tools.evaluate.crop_throughput import CropReport
    from edgecam.tools.evaluate.throughput import Report

_ROUNDS = 5


def show(report: Report) -> None:
    """Print a report as the table that people read."""
    on = f"{report.runtime} on {report.delegate}, {report.threads} threads"
    say(f"{report.model} {report.input}, {on}; {report.source}")
    width = max(20, *(len(name) + 1 for name in report.stages))
    say(f"{'':{width}}{'p50':>9}{'p95':>9}{'p99':>9}  ms")
    for name, spread in report.stages.items():
        say(f"{name:{width}}{spread.p50:9.2f}{spread.p95:9.2f}{spread.p99:9.2f}")
    for name, share in report.looks.items() if len(report.looks) > 1 else ():
        say(f"{name} looked at {share:.0%} of the frames")
    say(
        f"bare invoke {report.bare_ms:.2f} ms ({1e3 / report.bare_ms:.1f} a second), "
        f"whole frame {report.frame_ms:.2f} ms ({1e3 / report.frame_ms:.1f} a second)"
    )
    say(
        f"efficiency {report.efficiency:.3f} of the bare rate, median of {report.rounds} rounds "
        f"(best {report.best_efficiency:.3f})"
    )
    say(
        f"processor time {report.frame_cpu_ms:.2f} ms a frame, {report.bare_cpu_ms:.2f} of it "
        f"invoke: {report.cpu_efficiency:.3f}, the limit where every core infers"
    )
    say(f"memory {report.peak_rss_bytes / 1e6:.0f} MB at most")
    if report.tracks is not None:
        from edgecam.tools.evaluate.tracks import line

        say(f"tracks: {line(report.tracks)}")


def _show_crop(report: CropReport) -> None:
    say(f"{report.model}, {report.threads} threads; {report.source}")
    say(f"{'':26}{'ms a frame':>11}{'a second':>10}{'found':>12}{'ghosts':>8}{'OKS':>8}")
    for name, size, ms, found, extra, oks in (
        (
            *("whole frame", report.whole_input, report.whole_ms),
            *(report.whole_found, report.whole_extra, report.whole_oks),
        ),
        (
            *("people alone", report.crop_input, report.crop_ms),
            *(report.crop_found, report.crop_extra, report.crop_oks),
        ),
    ):
        shown = f"{found}/{report.people}"
        say(f"{name:14}{size:12}{ms:11.2f}{1e3 / ms:10.1f}{shown:>12}{extra:8}{oks:8.4f}")
    say(
        f"{report.speedup:.2f} times the frames a second, median of {report.rounds} rounds (best "
        f"{report.best_speedup:.2f}); {report.invoke_speedup:.2f} times in the interpreter alone; "
        f"{report.whole_looks} whole looks in {report.frames} frames"
    )
    say(f"OKS is the mean over all whom {report.reference} sees; who is missed counts as 0")


@click.command("bench", cls=HeadedCommand)
@click.argument("bench_models", metavar="MODEL...", nargs=-1, required=True, shell_complete=a_model)
@model_options
@click.option("-s", "--source", help="A recording.  [default: the bundled clip]")
@click.option("-b", "--broker", help="Publish to mqtt://HOST too, as a real run does.")
@click.option("--rounds", type=click.IntRange(1), default=_ROUNDS, show_default=True)
@click.option("--crop", is_flag=True, help="Compare [crop] with looking at the whole frame.")
@click.option(
    "--reference",
    default="posenet-fp16",
    show_default=True,
    help="With --crop: the float PoseNet that both are held against.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    bench_models: tuple[str, ...],
    config: Path | None,
    rounds: int,
    crop: bool,
    reference: str,
    as_json: bool,
    **_: Any,
) -> None:
    """Measure MODEL: a whole run over a recording in turns with a bare invoke loop.

    Several run together, each at its own rate: edgecam bench posenet ssdlite:rate_hz=2.

    The efficiency is a ratio within one run. Stages, memory and processor time come with it, and
    of the bundled clip how well ids are kept: identity switches and fragments.
    """
    import msgspec

    from edgecam.cli import log
    from edgecam.inference import catalog as bundled
    from edgecam.settings.load import load
    from edgecam.tools.evaluate.throughput import Report, measure, score_tracks

    flags = {**given(ctx), "model.path": bench_models}
    flags.setdefault("source.url", str(bundled.clip()))
    settings = load(config, os.environ, flags, FLAG_NAMES)
    log.set_up(verbose=False)
    logging.getLogger("edgecam").setLevel(logging.WARNING)
    report: Report | CropReport
    if crop:
        from edgecam.tools.evaluate.crop_throughput import measure_crop

        report = measure_crop(settings, reference, rounds)
    else:
        report = msgspec.structs.replace(measure(settings, rounds), tracks=score_tracks(settings))
    if as_json:
        say_json(msgspec.json.format(msgspec.json.encode(report), indent=2))
    elif isinstance(report, Report):
        show(report)
    else:
        _show_crop(report)
