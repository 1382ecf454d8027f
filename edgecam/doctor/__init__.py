"""What works on this board, what does not, and what to do: one function per check.

A new check is one function and one line in ``CHECKS``.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgecam.doctor import inference, network, system, vision
from edgecam.doctor.finding import Check, Finding, fail
from edgecam.settings import Settings
from edgecam.types import EdgecamError

CHECKS: tuple[tuple[str, Check], ...] = (
    ("board", system.board),
    ("python", system.python),
    ("power", system.power),
    ("clock", system.clock),
    ("disk", system.disk),
    ("opencv", vision.opencv),
    ("camera", vision.cameras),
    ("source", vision.source),
    ("runtime", inference.runtimes),
    ("model", inference.models),
    ("delegate", inference.delegates),
    ("edge tpu", inference.edgetpu),
    ("broker", network.broker),
)


def examine(settings: Settings) -> Iterator[Finding]:
    """Make every check in turn; a fault ends its own check only."""
    for name, check in CHECKS:
        try:
            yield from check(settings)
        except EdgecamError as error:
            text, _, remedy = str(error).rpartition("; ")
            if text:
                yield fail(name, text, remedy)
            else:
                yield fail(name, remedy, "mend what this line names, then run it again")
