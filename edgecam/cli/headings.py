"""Options under headings in ``--help``: what belongs together stands together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

# Heading -> names of parameters.
HEADINGS: Mapping[str, Sequence[str]] = {
    "Camera or file": (
        *("source", "realtime", "loop", "wait_for_source", "max_frames"),
        *("name", "title"),
    ),
    "Models": ("model", "accuracy", "refine", "input_size", "fit", "labels", "decoder"),
    "What counts as found": (
        *("score_threshold", "max_poses", "min_pose_score", "nms_radius", "smoothing"),
    ),
    "Where results go": (
        *("show", "web", "broker", "username", "password_file", "jsonl", "events"),
    ),
    "How models run": ("threads", "delegate", "delegate_required"),
}


def write_options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter, own_first: bool
) -> None:
    """Write each heading with its options; those of none are the command's own."""
    records = {
        parameter.name: record
        for parameter in command.get_params(ctx)
        if (record := parameter.get_help_record(ctx)) is not None
    }
    sections = [
        (heading, [records.pop(name) for name in names if name in records])
        for heading, names in HEADINGS.items()
    ]
    own = ("Options" if own_first else "Other options", list(records.values()))
    for heading, found in [own, *sections] if own_first else [*sections, own]:
        if found:
            with formatter.section(heading):
                formatter.write_dl(found)


class HeadedCommand(click.Command):
    """A command that takes the options of models, and has its own besides."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options first."""
        write_options(self, ctx, formatter, own_first=True)
