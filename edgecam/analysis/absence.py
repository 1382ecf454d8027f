"""People who were lost inside the picture: they are kept by their place.

A network loses people who sit behind a table, bend or lie. Who was last seen at an edge of the
picture, in a zone with ``door`` or beside a mask has left. Everybody else is ``lost``: still
in their zones, and with all that rules know of them. They are found again by a track that begins
within reach, which grows with the time since, but at no edge and no door; it takes their id. They
count while they rested or may have fallen, and keep a place from being empty. They are given up
``tracking.lost_hold_s`` after their last sight, but never while a fall there is suspected or
reported: nor is a second track that is lost at the place of one who falls, for it is the same
person, whom a network saw in two parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.scene import Subject
from edgecam.analysis.tracker import Track, areas, centres
from edgecam.analysis.zones import Polygon

Array = NDArray[np.float64]

# Distances in sizes of the box, its area's root: at once, more each second, and at most.
REACH = 1.5
REACH_PER_S = 1.5
MAX_REACH = 8.0
# Lost people are kept who are at least so tall in the picture, of its height: of smaller ones the
# network loses and finds too many.
MIN_HEIGHT = 0.2
# The same person looks at most so much larger or smaller.
MAX_SCALE = 2.5
# Nearer to the left or right edge than this part of the width, and to the top or the bottom.
EDGE = 0.04
NEAR_EDGE = 0.15
# Of the picture's height; who leaves below it is at least so tall in it.
LEAVES_BELOW = 0.4
# One who walks is seen a last time so long before leaving.
AHEAD_S = 0.5


@dataclass(slots=True, eq=False)
class Absence:
    """A person as one model last saw them; ``waited_s`` of the time since, no model looked.

    ``tallest_px``: as of the track. ``rests``: they had stayed where they were. ``beside``: the id
    of one who was falling, or had fallen, where they were lost.
    """

    model: str
    subject: Subject
    last_s: float
    waited_s: float = 0.0
    tallest_px: float = 0.0
    rests: bool = False
    beside: int | None = None


def is_within_reach(box: Array, last_box: Array, elapsed_s: float) -> float | None:
    """The distance in sizes of ``last_box``; None where it is too far or of another size."""
    sizes = np.sqrt(np.maximum(areas(np.array([box, last_box])), 1.0))
    between = centres(np.array([box, last_box]))
    distance = float(np.linalg.norm(between[0] - between[1]) / sizes[1])
    scale = float(max(sizes) / min(sizes))
    reach = min(MAX_REACH, REACH + REACH_PER_S * elapsed_s)
    return distance if distance <= reach and scale <= MAX_SCALE else None


class Absences:
    """Everybody who is lost; ``doors`` are where people come and go besides the edges."""

    def __init__(self, hold_s: float, doors: Sequence[Polygon]) -> None:
        self._hold_s, self._doors = hold_s, doors
        self.lost: dict[int, Absence] = {}

    def lose(self, absence: Absence, track: Track, size_px: tuple[int, int]) -> None:
        """Keep a person whose track is given up, unless they have left."""
        is_small = track.tallest_px < MIN_HEIGHT * size_px[1]
        is_here = not is_small and not self.has_left(track, size_px)
        if self._hold_s > 0.0 and (is_here or absence.beside is not None):
            self.lost[absence.subject.track] = absence

    def wait(self, models: Iterable[str], elapsed_s: float) -> None:
        """These models had nothing to look at for so long."""
        waiting = frozenset(models)
        for absence in self.lost.values():
            if absence.model in waiting:
                absence.waited_s += elapsed_s

    def give_up(self, now_s: float, falls: frozenset[int]) -> None:
        """Forget who was lost too long ago and is none of those who fall."""
        self.lost = {
            track: absence
            for track, absence in self.lost.items()
            if track in falls
            or absence.beside in falls
            or now_s < absence.last_s + absence.waited_s + self._hold_s
        }

    def near(self, track: Track, now_s: float) -> list[tuple[float, int]]:
        """The lost ones whom a new track may be: distance and id."""
        return [
            (distance, number)
            for number, absence in self.lost.items()
            if absence.last_s < track.first_s
            for distance in [
                is_within_reach(
                    track.box, absence.subject.box, now_s - absence.last_s - absence.waited_s
                )
            ]
            if distance is not None
        ]

    def is_entrance(self, box: Array, size_px: tuple[int, int]) -> bool:
        """Whether one who is first seen so comes in: at a side of the picture, or at a door."""
        width = size_px[0]
        if box[0] <= EDGE * width or box[2] >= (1.0 - EDGE) * width:
            return True
        return self._is_at_door(box[None], size_px)

    def has_left(self, track: Track, size_px: tuple[int, int]) -> bool:
        """Whether a track that is no longer seen went out of the picture."""
        width, height = size_px
        ahead = np.zeros(2) if track.velocity is None else track.velocity * AHEAD_S
        boxes = np.array([track.box, track.box + np.concatenate((ahead, ahead))])
        x_min, y_min, x_max, y_max = track.box.tolist()
        x_ahead = float(centres(boxes)[1, 0])
        at_side = x_min <= EDGE * width or x_max >= (1.0 - EDGE) * width
        # A skeleton that comes apart leaps: only who is near the edge can be over it next.
        is_near = x_min <= NEAR_EDGE * width or x_max >= (1.0 - NEAR_EDGE) * width
        steps_out = is_near and not 0.0 < x_ahead < width
        # Who walks out below the camera is large there; who is small and low may lie.
        is_large = y_max - y_min >= LEAVES_BELOW * height
        at_bottom = y_max >= (1.0 - EDGE) * height and is_large
        if at_side or steps_out or at_bottom or y_min <= 0.0:
            return True
        return self._is_at_door(boxes, size_px)

    def _is_at_door(self, boxes: Array, size_px: tuple[int, int]) -> bool:
        feet = np.stack([boxes[:, [0, 2]].mean(axis=1), boxes[:, 3]], axis=1)
        points = np.concatenate([centres(boxes), feet])
        return any(bool(door.contains(points / size_px).any()) for door in self._doors)
