"""How a posture or a fall was decided, step by step: which evidence, and when.

It looks at what the rules remember after each frame, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgecam.analysis.analyzer import Analysis
from edgecam.analysis.bearing import Bearings
from edgecam.analysis.events.descent import Descent
from edgecam.core.events import Event
from edgecam.core.result import Result

# What says how a person is, besides the skeleton's own posture.
_SHOWN = frozenset({"fall", "recovered", "sitting", "crouching", "lying", "lost", "left"})


@dataclass(slots=True)
class _Followed:
    """What was said last of one person."""

    posture: str | None = None
    is_seen: bool = True
    descent: Descent | None = None


class Explaining:
    """Says what changed with each frame; times are seconds from ``began_s``."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s
        self._people: dict[int, _Followed] = {}

    def steps(self, analysis: Analysis, result: Result) -> Iterator[str]:
        """Yield a line for each piece of evidence that this frame brought, in order."""
        now_s = result.frame.time_s
        seen = {pose.track for pose in result.poses}
        bearings = self._states(analysis, Bearings.name)
        falls = self._states(analysis, "fall")
        events = result.insight.events if result.insight is not None else ()
        for track in sorted(bearings.keys() | falls.keys()):
            followed = self._people.setdefault(track, _Followed())
            fall = falls.get(track)
            posture = bearings[track].posture if track in bearings else None
            for step in self._person(followed, posture, track in seen, fall, now_s):
                yield self._line(now_s, track, step)
        for event in events:
            if event.event_type in _SHOWN:
                yield self._line(now_s, event.track, f"reported: {_about(event)}")

    @staticmethod
    def _states(analysis: Analysis, name: str) -> Mapping[int, Any]:
        memory = analysis.memories.get(name)
        return {} if memory is None else memory.states

    def _line(self, now_s: float, track: int, step: str) -> str:
        return f"{now_s - self._began_s:8.2f} s  track {track}: {step}"

    def _person(
        self, followed: _Followed, posture: str | None, is_seen: bool, fall: Any, now_s: float
    ) -> Iterator[str]:
        if is_seen and posture is not None and posture != followed.posture:
            yield f"looks {posture}"
            followed.posture = posture
        descent: Descent | None = None if fall is None else fall.descent
        if is_seen != followed.is_seen and (descent is not None or followed.descent is not None):
            yield "seen again" if is_seen else "out of sight; the place is kept"
        followed.is_seen = is_seen
        yield from self._fall(followed, descent, is_seen, now_s)
        followed.descent = None if descent is None else replace(descent)

    def _fall(
        self, followed: _Followed, descent: Descent | None, is_seen: bool, now_s: float
    ) -> Iterator[str]:
        before = followed.descent
        if descent is None:
            if before is not None and before.number is None:
                yield f"no fall: {_why_none(before, now_s)}"
            return
        if before is None:
            stood_s = descent.stood.time_s - self._began_s
            yield (
                f"fall suspected: the shoulders are {descent.drop:.2f} trunks below where they "
                f"were upright at {stood_s:.2f} s" + ("" if is_seen else ", then lost from sight")
            )
            return
        if descent.lying and not before.lying:
            yield f"seen lying, {now_s - descent.since_s:.2f} s after that"
        if descent.on_feet and not before.on_feet:
            yield "seen on the feet, crouching or sitting"
        if descent.number is not None and before.number is None and descent.is_twin:
            yield "the same fall as another track's"


def _why_none(descent: Descent, now_s: float) -> str:
    if descent.is_no_fall(now_s):
        sits = max(descent.on_feet, descent.upright)
        return f"crouching or sitting in {sits} of {descent.looks} looks"
    return "up again"


def _about(event: Event) -> str:
    known = [f"{name} {value}" for name, value in event.attributes.items()]
    return ", ".join([event.event_type, *known, f"began {event.dwell_s:.2f} s ago"])
