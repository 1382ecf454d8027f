"""``line_crossed``: a point of the subject went from one side of a line to the other.

Geometry: the signed distance of the point from the line. Only a point further away than
``line.margin`` is on a side, so that one that rests on the line crosses nothing; it has crossed
if the way between its last two sides meets the line between its ends. ``direction`` is
``left_to_right`` or ``right_to_left`` as seen by one who looks from ``start`` to ``end`` in the
picture. ``wrist`` means each wrist that is sure, on its own. Source: sides by the sign of a cross
product, and two pieces that meet by four such signs, as in O'Rourke, "Computational Geometry in C"
(2nd edition, 1998), section 1.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgecam.analysis.events.rule import Asked, Memory, RuleKind, event
from edgecam.analysis.scene import Scene, Subject
from edgecam.analysis.zones import WRISTS, Point, anchors, meet, side
from edgecam.core.events import Event
from edgecam.core.rules import RULES
from edgecam.messages.label_names import label_key
from edgecam.settings.scene import LineSettings
from edgecam.settings.section import Section


@dataclass(slots=True)
class _Trace:
    """Where each point of a track was when it was last clearly on a side."""

    last: dict[str, Point] = field(default_factory=dict)


class Lines:
    """All lines."""

    name, title = "line", "Lines"
    event_types = RULES[name]
    settings_type: type[Section] | None = None

    def __init__(self, lines: Sequence[LineSettings], number: Callable[[], int]) -> None:
        self._number = number
        self._lines = [(line, Memory(_Trace)) for line in lines]

    @classmethod
    def asked_by(cls, asked: Asked, number: Callable[[], int]) -> Lines:
        """Return the rule for the lines that are asked for."""
        return cls(asked.lines, number)

    @property
    def memories(self) -> Mapping[str, Memory[Any]]:
        """Return all that the rule remembers of tracks, by name."""
        return {f"line/{line.name}": traces for line, traces in self._lines}

    def __call__(self, scene: Scene) -> Iterator[Event]:
        """Yield ``line_crossed`` of whatever crosses a line in this frame."""
        for line, traces in self._lines:
            traces.keep(scene)
            labels = frozenset(map(label_key, line.labels))
            for subject in scene.subjects:
                if labels and label_key(subject.label) not in labels:
                    continue
                for name, point in _points(subject, line.crossed_by):
                    way = _crossing(line, traces[subject.track], name, point, scene)
                    if way is None or self.name in subject.blind:
                        continue
                    about = {"line": line.name, "direction": way, "by": name}
                    number = self._number()
                    yield event("line_crossed", number, scene, subject, scene.time_s, None, about)


def _points(subject: Subject, crossed_by: str) -> list[tuple[str, Point]]:
    if crossed_by == "wrist":
        wrists = [(name, index) for name, index in WRISTS.items() if subject.sure(index)]
        return [(name, subject.point(index)) for name, index in wrists]
    points = anchors(subject, crossed_by)
    return [] if points is None else [(crossed_by, (float(x), float(y))) for x, y in points]


def _crossing(
    line: LineSettings, trace: _Trace, name: str, point: Point, scene: Scene
) -> str | None:
    """The direction in which the point has crossed the line by now, if it has."""
    size = (scene.width_px, scene.height_px)
    start = (line.start[0] * size[0], line.start[1] * size[1])
    end = (line.end[0] * size[0], line.end[1] * size[1])
    now = side(start, end, point)
    if abs(now) < line.margin * max(size):
        return None
    before = trace.last.get(name)
    trace.last[name] = point
    if before is None or side(start, end, before) * now > 0.0:
        return None
    if not meet((start, end), (before, point)):
        return None
    return "left_to_right" if now > 0.0 else "right_to_left"


RULE: type[RuleKind] = Lines
