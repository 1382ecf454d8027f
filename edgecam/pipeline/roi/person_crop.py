"""People who are followed, each in a tile of one small picture.

A person found in one frame is near there in the next. So the pose model need not look at the
whole frame: the surroundings of each person, from the keypoints of the frame before, are put side
by side into one small input. One invoke then costs the same however many they are.

Source: following a person by a crop around the last keypoints, grown and smoothed, is MoveNet's
(``pose-detection/src/shared/calculators`` and the MoveNet tutorial on tensorflow.org); tiles for
several are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.tracker import boxes_of, iou, pose_oks
from edgecam.core.geometry import Fit, Rectangle, tile, to_source
from edgecam.core.keypoints import SURE
from edgecam.core.result import Box, Decoded, Pose

Array = NDArray[np.float64]

# Cells begin where a cell of a PoseNet's output of this stride does.
CELL_STEP_PX = 16
# So many people at most are followed: a hundred, as [decode] max_poses.
MAX_SIDE = 10
# Smaller surroundings show too little of what is around a person.
MIN_SIDE_PX = 48.0
# Overlap of a person's box with the surroundings of one who is followed.
SAME_BOX = 0.2
# Below this similarity to where a person is expected it is another person.
SAME = 0.05
# Above it two poses are of one person.
TWICE = 0.6


@dataclass(slots=True, eq=False)
class _Person:
    """``size``: (width, height) of the surroundings; ``velocity``: source pixels a frame."""

    pose: Pose | None
    centre: Array
    size: Array
    velocity: Array


@dataclass(frozen=True, slots=True)
class Tile:
    """One person's surroundings: ``part`` of the source frame in ``cell`` of the model input."""

    part: Rectangle
    cell: Rectangle
    fit: Fit


def cells(rows: int, columns: int, width_px: int, height_px: int) -> list[Rectangle]:
    """A model input of 16n+1 pixels a side in equal parts, row by row."""
    y_edges = _edges(rows, height_px)
    x_edges = _edges(columns, width_px)
    return [
        Rectangle(left, top, right - left, bottom - top)
        for top, bottom in pairwise(y_edges)
        for left, right in pairwise(x_edges)
    ]


def _edges(number: int, side_px: int) -> list[int]:
    steps = (side_px - 1) // CELL_STEP_PX
    return [CELL_STEP_PX * round(i * steps / number) for i in range(number)] + [side_px]


class PersonTiles:
    """Follows people from frame to frame: where each is expected, and whether that was so.

    ``width_px``, ``height_px``: the small model input. ``grow``: how much larger than the box
    around the keypoints the surroundings are. ``min_score``: 0..1, of a pose to be sure of.
    """

    def __init__(self, width_px: int, height_px: int, grow: float, min_score: float) -> None:
        self._size = (width_px, height_px)
        self._grow, self._min_score = grow, min_score
        self._people: list[_Person] = []
        self._frame_px = (0, 0)

    @property
    def people(self) -> int:
        """How many are followed."""
        return len(self._people)

    def follows(self, size_px: tuple[int, int]) -> bool:
        """Whether a person is followed in frames of this (width, height)."""
        return bool(self._people) and self._frame_px == size_px

    def found(self, poses: Sequence[Pose], size_px: tuple[int, int]) -> None:
        """Follow these, found in a whole frame of this (width, height)."""
        before = self._people if self._frame_px == size_px else []
        self._frame_px = size_px
        self._people = [self._person(pose, box) for pose, box in _with_boxes(poses)]
        if not before or not self._people:
            return
        known = [person for person in before if person.pose is not None]
        similar = pose_oks(poses, [person.pose for person in known if person.pose])
        for person, row in zip(self._people, similar, strict=True):
            if len(row) and row.max() > SAME:
                person.velocity = known[int(row.argmax())].velocity

    def expect(self, boxes: Sequence[Box], number: int, size_px: tuple[int, int]) -> None:
        """Look for people in these boxes too, found in this frame of (width, height).

        ``number`` of people are followed at most: the first boxes.
        """
        if self._frame_px != size_px:
            # A camera that was turned: no person is where they were.
            self._frame_px, self._people = size_px, []
        edges = np.array([(b.x_min, b.y_min, b.x_max, b.y_max) for b in boxes]).reshape(-1, 4)
        known = np.array([_around(person) for person in self._people]).reshape(-1, 4)
        new = edges[iou(edges, known).max(axis=1, initial=0.0) < SAME_BOX]
        self._people += [
            self._person(None, box) for box in new[: max(0, number - len(self._people))]
        ]

    def tiles(self) -> list[Tile]:
        """Where to look for each in the next frame, in the cells that show them largest."""
        if not self._people:
            return []
        widest, highest = np.max([person.size for person in self._people], axis=0).tolist()
        width_px, height_px = self._size
        rows, columns = max(
            _layouts(len(self._people)),
            key=lambda each: min(height_px / each[0] / highest, width_px / each[1] / widest),
        )
        found = []
        into = cells(rows, columns, width_px, height_px)
        for person, cell in zip(self._people, into, strict=False):
            part = self._part(person, cell.width_px / cell.height_px)
            found.append(Tile(part, cell, tile(part, cell)))
        return found

    def seen(self, poses: Sequence[Pose], tiles: Sequence[Tile]) -> tuple[list[Pose], bool]:
        """Who of ``poses`` (in pixels of the small input) was expected, in source-frame pixels.

        Also whether that is in doubt: a person was not found, or is much less sure than before.
        """
        places = _places(poses, tiles)
        inside = [(pose, place) for pose, place in zip(poses, places, strict=True) if place >= 0]
        candidates = [self._mapped(pose, tiles[place], len(tiles)) for pose, place in inside]
        own = np.array([place for _, place in inside], int)
        chosen = self._choices(candidates, own)
        found = [candidates[choice] for choice in chosen if choice is not None]
        twice = _again(found)
        everybody = [
            p for p, choice in zip(self._people, chosen, strict=True) if choice is not None
        ]
        pairs = [
            (person, pose)
            for person, pose, again in zip(everybody, found, twice, strict=True)
            if not again
        ]
        doubt = len(pairs) < len(self._people) or any(
            person.pose is not None and pose.score < self._min_score <= person.pose.score
            for person, pose in pairs
        )
        found = [pose for _, pose in pairs]
        boxes = boxes_of(found)
        self._people = [
            self._moved(person, pose, box) for (person, pose), box in zip(pairs, boxes, strict=True)
        ]
        return found, doubt

    def _mapped(self, pose: Pose, shown: Tile, number: int) -> Pose:
        pose = _inside(pose, shown.cell) if number > 1 else pose
        return to_source(Decoded(poses=(pose,)), shown.fit, *self._frame_px).poses[0]

    def _choices(self, candidates: Sequence[Pose], own: NDArray[np.int_]) -> list[int | None]:
        """For each who is followed the candidate in their tile that is most like them, or None."""
        known = [(n, p.pose, p.velocity) for n, p in enumerate(self._people) if p.pose is not None]
        expected = [replace(pose, xy=pose.xy + velocity) for _, pose, velocity in known]
        similar = dict(zip((n for n, _, _ in known), pose_oks(candidates, expected).T, strict=True))
        scores = np.array([pose.score for pose in candidates])
        chosen: list[int | None] = []
        for number in range(len(self._people)):
            # Of whom only a box is known, the surest one.
            like = np.where(own == number, similar.get(number, scores), 0.0)
            best = int(like.argmax()) if len(like) else -1
            chosen.append(best if best >= 0 and like[best] > SAME else None)
        return chosen

    def _person(self, pose: Pose | None, box: Array) -> _Person:
        size = np.maximum((box[2:] - box[:2]) * self._grow, MIN_SIDE_PX)
        return _Person(pose, (box[:2] + box[2:]) / 2.0, size, np.zeros(2))

    def _moved(self, person: _Person, pose: Pose, box: Array) -> _Person:
        moved = self._person(pose, box)
        # Wider at once, narrower slowly: an arm that is missed for a frame is not cut off.
        moved.size = np.maximum(moved.size, (moved.size + person.size) / 2.0)
        if person.pose is not None:
            sure = (pose.scores >= SURE) & (person.pose.scores >= SURE)
            if sure.any():
                step = (pose.xy - person.pose.xy)[sure].mean(axis=0)
                moved.velocity = (person.velocity + step) / 2.0
        return moved

    def _part(self, person: _Person, aspect: float) -> Rectangle:
        """The surroundings, as wide for their height as the cell, moved into the frame."""
        centre = person.centre + person.velocity
        height_px = max(person.size[1], person.size[0] / aspect)
        sides = np.minimum((height_px * aspect, height_px), self._frame_px)
        corner = np.clip(centre - sides / 2.0, 0.0, np.array(self._frame_px) - sides)
        left, top = np.rint(corner).astype(int).tolist()
        width, height = np.maximum(np.rint(sides).astype(int), 1).tolist()
        return Rectangle(
            left, top, min(width, self._frame_px[0] - left), min(height, self._frame_px[1] - top)
        )


def scale_of(tiles: Sequence[Tile]) -> float:
    """Input pixels per source pixel, of the tile that has the fewest; 0 of none."""
    return min((min(each.fit.scale_x, each.fit.scale_y) for each in tiles), default=0.0)


def _around(person: _Person) -> Array:
    """float64[4]: the edges of a person's surroundings."""
    low = person.centre - person.size / 2.0
    return np.concatenate((low, low + person.size))


def _with_boxes(poses: Sequence[Pose]) -> list[tuple[Pose, Array]]:
    return list(zip(poses, boxes_of(poses), strict=True))


def _places(poses: Sequence[Pose], tiles: Sequence[Tile]) -> list[int]:
    """Which tile each pose lies in, in pixels of the small input; -1 is none."""
    if not poses or not tiles:
        return [-1] * len(poses)
    boxes = boxes_of(poses)
    centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2.0
    low = np.array([(each.cell.left_px, each.cell.top_px) for each in tiles])
    high = low + np.array([(each.cell.width_px, each.cell.height_px) for each in tiles])
    within = ((centres >= low) & (centres < high)).all(axis=2)
    return [int(row.argmax()) if row.any() else -1 for row in within]


def _again(found: Sequence[Pose]) -> list[bool]:
    """Whether each is a person who was found before in the same frame."""
    similar = np.tril(pose_oks(found, found), -1)
    return [bool(row.max(initial=0.0) > TWICE) for row in similar]


@cache
def _layouts(number: int) -> tuple[tuple[int, int], ...]:
    """Rows and columns that hold so many, without a row or column too many."""
    return tuple(
        (rows, columns)
        for rows, columns in product(range(1, MAX_SIDE + 1), range(1, MAX_SIDE + 1))
        if rows * columns >= number > max((rows - 1) * columns, rows * (columns - 1))
    )


def _inside(pose: Pose, cell: Rectangle) -> Pose:
    """The pose without what it takes from its neighbour's tile: that counts as not seen."""
    low = np.array((cell.left_px, cell.top_px)) - CELL_STEP_PX / 2.0
    high = low + np.array((cell.width_px, cell.height_px)) + CELL_STEP_PX
    within = ((pose.xy >= low) & (pose.xy < high)).all(axis=1)
    return replace(pose, scores=np.where(within, pose.scores, 0.0))
