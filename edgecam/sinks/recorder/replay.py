"""Tells the events of a recording again, by its own settings or by others."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from edgecam.analysis.analyzer import Analysis
from edgecam.analysis.checkpoint import plain
from edgecam.core.events import Event
from edgecam.core.result import Result
from edgecam.sinks.recorder.file import Recording, RecordingError, RuleSettings

_encode = msgspec.json.Encoder(enc_hook=plain).encode


def _changed(recorded: RuleSettings, other: RuleSettings) -> frozenset[str]:
    """The zones and lines that are drawn again: what was known of them holds no more."""
    pairs = (("zone", recorded.zone, other.zone), ("line", recorded.line, other.line))
    return frozenset(
        f"{kind}/{place.name}" for kind, old, new in pairs for place in new if place not in old
    )


def results(
    recording: Recording,
    other: RuleSettings | None = None,
    watch: Callable[[Analysis, Result], None] | None = None,
) -> Iterator[Result]:
    """The recorded results through masks, tracks and rules once more; by ``other`` settings.

    ``watch`` sees the analysis after each frame.

    Raises:
        RecordingError: what the analysis remembered is of another version.
    """
    header = recording.header
    rules = header.settings if other is None else other
    analysis = Analysis(rules.whole(), header.finds_poses, header.periods_s)
    try:
        analysis.resume(header.checkpoint, _changed(header.settings, rules))
    except ValueError as error:
        raise RecordingError(
            f"the recording is of edgecam {header.edgecam}, whose rules remembered other things: "
            f"{error}; replay it with that version"
        ) from None
    return _analysed(analysis, recording, watch)


def _analysed(
    analysis: Analysis, recording: Recording, watch: Callable[[Analysis, Result], None] | None
) -> Iterator[Result]:
    for record in recording.frames:
        result = analysis(record.result())
        if watch is not None:
            watch(analysis, result)
        yield result


@dataclass(frozen=True, slots=True)
class Line:
    """``sign`` is a space where both tell the event, - where only the recording does, + else."""

    sign: str
    event: Event


def compared(recorded: Sequence[Event], found: Sequence[Event], exact: bool) -> list[Line]:
    """Both lists of events as one, in order.

    Not ``exact``: numbers of occurrences count for nothing, since other settings tell others.
    """

    def key(event: Event) -> bytes:
        return _encode(event if exact else replace(event, number=0))

    keys = [key(event) for event in recorded], [key(event) for event in found]
    lines: list[Line] = []
    matcher = difflib.SequenceMatcher(None, *keys, autojunk=False)
    for what, low, high, first, last in matcher.get_opcodes():
        if what == "equal":
            lines += [Line(" ", event) for event in recorded[low:high]]
        else:
            lines += [Line("-", event) for event in recorded[low:high]]
            lines += [Line("+", event) for event in found[first:last]]
    return lines
