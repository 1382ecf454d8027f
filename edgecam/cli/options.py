"""Command-line options that several commands share, and the settings that they set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from msgspec import Meta

from edgecam.cli.completion import a_file, a_model, one_of
from edgecam.settings.schema import DecodeSettings
from edgecam.settings.section import description_of, fields_of

Command = TypeVar("Command", bound=Callable[..., Any])

# Option -> setting. What the option takes is checked by the setting, in one place.
FLAGS: dict[str, str] = {
    "name": "name",
    "title": "title",
    "model": "model.path",
    "accuracy": "accuracy",
    "refine": "refine",
    "input_size": "model.input_size",
    "labels": "model.labels",
    "decoder": "model.decoder",
    "fit": "model.fit",
    "source": "source.url",
    "realtime": "source.realtime",
    "loop": "source.loop",
    "wait_for_source": "source.wait",
    "broker": "mqtt.url",
    "username": "mqtt.username",
    "password_file": "mqtt.password_file",
    "jsonl": "output.jsonl",
    "events": "output.events_jsonl",
    "show": "output.show",
    "web": "web.listen",
    "smoothing": "tracking.smoothing",
    "delegate": "inference.delegate",
    "delegate_required": "inference.delegate_required",
    "threads": "inference.threads",
    "max_frames": "max_frames",
    "score_threshold": "decode.score_threshold",
    "max_poses": "decode.max_poses",
    "min_pose_score": "decode.min_pose_score",
    "nms_radius": "decode.nms_radius_px",
}
FLAG_NAMES = {setting: "--" + option.replace("_", "-") for option, setting in FLAGS.items()}


def _decode_option(option: str) -> Callable[[Command], Command]:
    """Make an option whose help is its setting's own range, description and default."""
    key = FLAGS[option].removeprefix("decode.")
    annotated, default = next((t, d) for name, t, d in fields_of(DecodeSettings) if name == key)
    metas = [part for part in get_args(annotated) if isinstance(part, Meta)]
    fraction = "0..1, " if any(meta.le == 1.0 for meta in metas) else ""
    text = fraction + description_of(annotated)
    words = f"{text[0].upper()}{text[1:]}.  [{default:g}]"
    kind = "INTEGER" if isinstance(default, int) else "NUMBER"
    return click.option(FLAG_NAMES[FLAGS[option]], metavar=kind, help=words)


CONFIG_OPTION = click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="EDGECAM_CONFIG",
    help="Settings file (TOML); flags and EDGECAM_... variables beat it.",
)
_CONFIGS_OPTION = click.option(
    "--config",
    type=click.Path(path_type=Path),
    multiple=True,
    envvar="EDGECAM_CONFIG",
    help="Settings file (TOML); flags and EDGECAM_... variables beat it. Repeatable: joined.",
)
_MODEL = (
    click.option(
        "-m",
        "--model",
        metavar="MODEL",
        multiple=True,
        shell_complete=a_model,
        help="File or bundled name; NAME:rate_hz=2 for it alone. Repeatable.",
    ),
    click.option(
        "--refine",
        metavar="MODEL",
        shell_complete=a_model,
        help="Model that looks once more at each person found, such as thunder.",
    ),
    click.option(
        "--accuracy",
        metavar="LEVEL",
        shell_complete=one_of("fast", "balanced", "best"),
        help="Without --model: fast, balanced or best.  [balanced]",
    ),
    click.option("--input-size", metavar="HEIGHTxWIDTH", help="Of a PoseNet's input; sides 16n+1."),
    click.option(
        "--fit",
        metavar="HOW",
        shell_complete=one_of("auto", "letterbox", "stretch", "crop"),
        help="How a frame fills the input: auto, letterbox, stretch or crop.  [auto]",
    ),
    click.option(
        "--labels",
        metavar="FILE",
        shell_complete=a_file,
        help="Label file, one per line, or .pbtxt.",
    ),
    click.option(
        "--delegate",
        metavar="DELEGATE",
        shell_complete=one_of("auto", "cpu", "edgetpu", "gpu", "nnapi", or_file=True),
        help="auto, cpu, edgetpu, gpu, nnapi or PATH[:key=value,...].",
    ),
    click.option(
        "--delegate-required", is_flag=True, help="Fail instead of falling back to the CPU."
    ),
    click.option(
        "--threads",
        metavar="INTEGER",
        help="Inference threads.  [default: all cores, 4 at most]",
    ),
)
_DECODE = (
    click.option(
        "--decoder",
        metavar="RULES",
        shell_complete=one_of("auto", "tfjs", "coral"),
        help="PoseNet rules: auto, tfjs or coral.",
    ),
    _decode_option("score_threshold"),
    _decode_option("max_poses"),
    _decode_option("min_pose_score"),
    _decode_option("nms_radius"),
    click.option("--max-frames", metavar="INTEGER", help="Stop after this many frames."),
)
_TRACKS = (
    click.option(
        "--smoothing/--no-smoothing", default=True, help="Steady the keypoints of a track.  [yes]"
    ),
    click.option(
        "--events",
        metavar="FILE",
        shell_complete=a_file,
        help="Write one JSON line per event to this file; - is stdout.",
    ),
)


def _applied(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def model_options(command: Command) -> Command:
    """Settings file, models, how they run and decode, and what becomes of tracks."""
    return _applied(command, (CONFIG_OPTION, *_MODEL, *_DECODE, *_TRACKS))


def run_options(command: Command) -> Command:
    """The same for a run, which may have several settings files."""
    return _applied(command, (_CONFIGS_OPTION, *_MODEL, *_DECODE, *_TRACKS))


def given(ctx: click.Context) -> dict[str, Any]:
    """The options that were really typed, by setting."""
    typed = click.core.ParameterSource.COMMANDLINE
    return {
        setting: ctx.params[option]
        for option, setting in FLAGS.items()
        if option in ctx.params and ctx.get_parameter_source(option) == typed
    }
