"""How often events are reported where they are true, and where they are not.

The truth of a folder of clips is a TOML file: ``[[clip]]`` with ``file``; ``fall_s`` where a person
falls, ``floor_s`` from when on they are on the floor; ``end``, ``lying`` where they lie there,
``lying_cut`` where half of them is below the picture's edge; ``starts``, ``seated`` where they sit
at first; ``events``, a list of whatever else is true of it. A clip without an entry has no event.
Of one who lies half in the picture ``lying`` may be reported, and ``sitting`` of one who sits at
first.
"""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgecam.core.errors import EdgecamError
from edgecam.core.events import Event
from edgecam.tools.evaluate.clips import Playing

# What a table says something of; ``left`` counts of those alone who are on the floor.
SCORED = ("fall", "lying", "crouching", "sitting", "wave", "hands_up", "recovered", "left")


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of one clip, seconds from its start; None where no person falls.

    ``may``: what may be reported of it, and need not.
    """

    fall_s: float | None = None
    floor_s: float | None = None
    events: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()


def read_truth(path: Path) -> Mapping[str, Truth]:
    """The truth by the clips' file names.

    Raises:
        EdgecamError: the file cannot be read or is no truth of clips.
    """
    try:
        clips = tomllib.loads(path.read_text("utf-8"))["clip"]
        return {Path(clip["file"]).name: _truth(clip) for clip in clips}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EdgecamError(
            f"{path}: expected [[clip]] tables with file, fall_s, floor_s and end, found: {error}"
        ) from None


def _truth(clip: Mapping[str, object]) -> Truth:
    fall_s, floor_s, others = clip.get("fall_s"), clip.get("floor_s"), clip.get("events", [])
    true = {str(name) for name in others} if isinstance(others, list) else set()
    true |= {"fall"} if fall_s is not None else set()
    true |= {"lying"} if clip.get("end") == "lying" else set()
    start_s = None if fall_s is None else float(str(fall_s))
    may = {"lying"} if clip.get("end") == "lying_cut" else set()
    may |= {"sitting"} if clip.get("starts") == "seated" else set()
    until_s = start_s if floor_s is None else float(str(floor_s))
    return Truth(start_s, until_s, frozenset(true), frozenset(may))


@dataclass(slots=True)
class Row:
    """One event type: in how many clips it is true, and in which it was reported.

    ``after_s`` is the time from the fall, or the start of a clip without a fall, to the
    report; ``events`` is how many there were in all.
    """

    true: int = 0
    hits: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    after_s: list[float] = field(default_factory=list)
    events: int = 0


def true_of(truth: Truth, playing: Playing) -> frozenset[str]:
    """What is true of a clip that is played so: who gets up or lies down slowly does not fall."""
    is_slow = playing.slower >= 2.0
    return truth.events - {"fall"} if playing.backwards or is_slow else truth.events


def score(
    reported: Iterable[tuple[str, Sequence[Event]]],
    truths: Mapping[str, Truth],
    playing: Playing,
) -> Mapping[str, Row]:
    """The confusion table, by event type, of what was ``reported`` of each clip."""
    table = {name: Row() for name in SCORED}
    for clip, events in reported:
        truth = truths.get(clip, Truth())
        true = true_of(truth, playing)
        for name, row in table.items():
            row.true += name in true
            found = [e for e in events if e.event_type == name and _counts(e, truth, playing)]
            row.events += len(found)
            if found and (name in true or name not in truth.may):
                (row.hits if name in true else row.false).append(clip)
            if found and name in true:
                began_s = playing.hold_first_s + (truth.fall_s or 0.0) * playing.slower
                row.after_s.append(found[0].time_s - began_s)
    return table


def _counts(event: Event, truth: Truth, playing: Playing) -> bool:
    """Everybody may leave but one who is on the floor."""
    if event.event_type != "left":
        return True
    if truth.floor_s is None or playing.backwards:
        return False
    # Tracks of others, and of the same person before, end too: at the floor, or after.
    floor_s = playing.hold_first_s + truth.floor_s * playing.slower
    return event.time_s >= floor_s


def lines(table: Mapping[str, Row], clips: int) -> list[str]:
    """The table in words; what was reported where it is not true is named."""
    printed = [f"{'event':10} {'where true':>11} {'where not':>10} {'s after':>8} {'events':>7}"]
    for name, row in table.items():
        after = f"{statistics.median(row.after_s):.1f}" if row.after_s else ""
        where = f"{len(row.hits)} of {row.true}", f"{len(row.false)} of {clips - row.true}"
        named = f"  {', '.join(sorted(row.false))}" if row.false and name != "left" else ""
        printed.append(
            f"{name:10} {where[0]:>11} {where[1]:>10} {after:>8} {row.events:7}{named}".rstrip()
        )
    return printed
