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
    from edgecam.settings.schema import Settings
    from edgecam.tools.evaluate.crop_throughput import CropReport
    from edgecam.tools.evaluate.op_times import OpTimes
    from edgecam.tools.evaluate.throughput import Report

_ROUNDS = 5
_SWEEPS = 5  # of all nodes in each round of --ops


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


def show_ops(report: OpTimes) -> None:
    """Print a report of operations as the tables that people read."""
    on = f"{report.runtime} on {report.delegate}, {report.threads} threads"
    say(f"{report.model} {report.input}, {on}; shortest of {report.sweeps}")
    width = max(8, *(len(row.op) for row in report.nodes)) if report.nodes else 8
    head = f"{'ms':>9}{'share':>9}  delegate"
    say(f"{'operator':{width}}{'nodes':>7}{head}")
    for kind in report.operators:
        cost = f"{kind.ms:9.3f}{kind.share:9.1%}  {kind.delegate}"
        say(f"{kind.op:{width}}{kind.nodes:7}{cost}")
    say("")
    say(f"{'operator':{width}}{'node':>7}{head}  output")
    for row in report.nodes:
        cost = (
            f"{row.ms:9.3f}{row.share or 0.0:9.1%}" if row.ms is not None else f"{'-':>9}{'-':>9}"
        )
        shape = "x".join(map(str, row.shape))
        say(f"{row.op:{width}}{row.node:7}{cost}  {row.delegate:8}  {row.name} {shape}")
    say("")
    say(
        f"all nodes {report.sum_ms:.3f} ms, the whole model {report.whole_ms:.3f} ms: "
        f"{report.sum_ms / report.whole_ms:.2f} of it"
    )
    if report.once:
        shown = ", ".join(f"{count} {name}" for name, count in report.once.items())
        say(f"run once, when it is loaded: {shown}")
    for note in report.notes:
        say(f"edgecam: {note}", err=True)


def _op_times(settings: Settings, rounds: int) -> OpTimes:
    """
    Raises:
        UsageError: several models are given.
        EdgecamError: the model or the source cannot be read.
    """
    from edgecam.inference import catalog as bundled
    from edgecam.inference import probe, runtime
    from edgecam.inference.model import USUAL_SIZE, default_threads, parse_size
    from edgecam.inference.opening import runnable
    from edgecam.inference.tflite.file import read
    from edgecam.sources import open_source
    from edgecam.tools.evaluate.op_times import measure

    if len(settings.model) != 1:
        raise click.UsageError(f"--ops looks into one model, found {len(settings.model)}")
    (model,) = settings.model
    source = open_source(settings.source)
    try:
        frame = next(iter(source.frames()))
    finally:
        source.close()
    inference, path = settings.inference, bundled.resolve(model.path)
    threads = inference.threads or default_threads()
    whole = read(path)
    file = runnable(whole)
    size = parse_size(model.input_size) or (USUAL_SIZE if file.has_open_size else None)
    if inference.probe:
        shown = f"{size[0]}x{size[1]}" if size else "-"
        probe.check(path, whole.data, runtime.find(), (str(threads), shown, inference.delegate))
    return measure(file, frame, inference.delegate, threads, size, rounds * _SWEEPS)


@click.command("bench", cls=HeadedCommand)
@click.argument("bench_models", metavar="MODEL...", nargs=-1, required=True, shell_complete=a_model)
@model_options
@click.option("-s", "--source", help="A recording.  [default: the bundled clip]")
@click.option("-b", "--broker", help="Publish to mqtt://HOST too, as a real run does.")
@click.option("--rounds", type=click.IntRange(1), default=_ROUNDS, show_default=True)
@click.option("--ops", is_flag=True, help="Print what each operator and node takes, sorted.")
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
    ops: bool,
    crop: bool,
    reference: str,
    as_json: bool,
    **_: Any,
) -> None:
    """Measure MODEL: a whole run over a recording in turns with a bare invoke loop.

    Several run together, each at its own rate: edgecam bench posenet ssdlite:rate_hz=2.

    The efficiency is a ratio within one run. Stages, memory and processor time come with it, and
    of the bundled clip how well ids are kept: identity switches and fragments.

    With --ops: milliseconds and share of every operator and node, and the delegate that takes
    it. Each node runs alone on what reaches it in the whole model, in turns with the whole.
    """
    import msgspec

    from edgecam.cli import log
    from edgecam.inference import catalog as bundled
    from edgecam.settings.load import load
    from edgecam.tools.evaluate.op_times import OpTimes
    from edgecam.tools.evaluate.throughput import Report, measure, score_tracks

    flags = {**given(ctx), "model.path": bench_models}
    flags.setdefault("source.url", str(bundled.clip()))
    settings = load(config, os.environ, flags, FLAG_NAMES)
    log.set_up(verbose=False)
    logging.getLogger("edgecam").setLevel(logging.WARNING)
    report: Report | CropReport | OpTimes
    if ops and crop:
        raise click.UsageError("expected one of --ops and --crop, found both")
    if ops:
        report = _op_times(settings, rounds)
    elif crop:
        from edgecam.tools.evaluate.crop_throughput import measure_crop

        report = measure_crop(settings, reference, rounds)
    else:
        report = msgspec.structs.replace(measure(settings, rounds), tracks=score_tracks(settings))
    if as_json:
        say_json(msgspec.json.format(msgspec.json.encode(report), indent=2))
    elif isinstance(report, Report):
        show(report)
    elif isinstance(report, OpTimes):
        show_ops(report)
    else:
        _show_crop(report)
