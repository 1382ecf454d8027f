"""People between two looks of a refining model: who is due, and what holds of them meanwhile.

A refining model looks at one person at a time. Whom it has not looked at in a frame moves as the
finder saw them move since it did, so that keypoints do not jump from one network's idea of a
shoulder to another's. Time counts in frames, so that a recording gives the same on every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.tracker import greedy, iou, pose_oks
from edgecam.core.keypoints import SURE
from edgecam.core.result import Pose
from edgecam.pipeline.roi.person_square import Square, around_box, around_pose, box_of
from edgecam.pipeline.roi.single_pose import is_same_person, overlap

Array = NDArray[np.float64]

# Overlap of a person's boxes in two frames.
_SAME_BOX = 0.2
# A pose whose keypoints span so much of a box is of the same person.
_POSE_IN_BOX = 0.5
# Below this overlap the last look says less of where to look than the finder.
_SAME_SQUARE = 0.5
# Above this similarity two poses are of one person.
TWICE = 0.6
# What a look showed holds for so many frames.
_HOLDS_FRAMES = 30
_NEVER = -1


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One whom a finder saw: ``score`` 0..1, ``box`` float64[4], ``pose`` where it finds poses.

    In source-frame pixels. ``is_boxed``: a detector saw the box, which holds the whole person.
    """

    score: float
    box: Array
    pose: Pose | None = None
    is_boxed: bool = False

    def square(self, turns: bool = False) -> Square:
        """The square around them; turned only where a pose shows how they lie.

        ``turns``: along the body of who stands too.
        """
        posed = None if self.pose is None else around_pose(self.pose, turns)
        if posed is None or (self.is_boxed and posed.lean == 0.0):
            return around_box(self.box)
        return posed


@dataclass(slots=True, eq=False)
class Person:
    """``seen`` by the finder now, ``then`` as the refining model looked last, ``refined`` since.

    ``frame``: the number of the frame in which it looked, -1 before it did; ``pose``: what holds
    now, None of a box in which there is no person.
    """

    seen: Candidate
    then: Candidate | None = None
    refined: Pose | None = None
    frame: int = _NEVER
    pose: Pose | None = None

    def looked(self, found: Pose | None, number: int) -> bool:
        """Take what the refining model found of them in frame ``number``; False: it is not they.

        Then what the finder saw goes on to hold.
        """
        self.frame, self.then = number, self.seen
        is_same = found is not None and is_same_person(found, self.seen.box)
        self.refined = found if is_same else None
        self.pose = self._scored(found) if is_same and found is not None else self.seen.pose
        return is_same

    def wait(self, number: int) -> None:
        """No look at them in frame ``number``: they move as the finder saw them move."""
        moved = self._moved_since(number)
        self.pose = self.seen.pose if moved is None else self._scored(moved)

    def square(self, number: int, turns: bool = False) -> Square:
        """The square to look at in frame ``number``: around what the last look showed, moved since.

        Of who was not looked at lately, or has moved out of it, around what the finder saw.
        ``turns``: turned along the body of who stands too.
        """
        moved = self._moved_since(number)
        if moved is None or overlap(moved, self.seen.box) < _SAME_SQUARE:
            return self.seen.square(turns)
        box = self.seen.box if self.seen.is_boxed else box_of(moved)
        return replace(self.seen, pose=moved, box=box).square(turns)

    def _moved_since(self, number: int) -> Pose | None:
        """The refined pose as the finder saw it move, None where it does not hold any more."""
        if self.refined is None or self.then is None or number - self.frame > _HOLDS_FRAMES:
            return None
        moved = _moved(self.refined, self.then, self.seen)
        return moved if is_same_person(moved, self.seen.box) else None

    def _scored(self, pose: Pose) -> Pose:
        """A person is as likely as both networks say: the geometric mean."""
        return replace(pose, score=float(np.sqrt(pose.score * self.seen.score)))


class People:
    """Those whom a finder sees in one camera's frames, from frame to frame."""

    def __init__(self) -> None:
        self.number = 0
        self._people: list[Person] = []

    def seen(self, found: Sequence[Candidate]) -> list[Person]:
        """The people whom the finder saw in the next frame, in its order."""
        self.number += 1
        boxes = [np.array([one.box for one in many]).reshape(-1, 4) for many in (found, self._seen)]
        before = {row: self._people[column] for row, column in greedy(iou(*boxes), _SAME_BOX)}
        people = []
        for place, candidate in enumerate(found):
            person = before.get(place) or Person(candidate)
            person.seen = candidate
            people.append(person)
        self._people = people
        return people

    @property
    def _seen(self) -> list[Candidate]:
        return [person.seen for person in self._people]


def with_boxes(posed: Sequence[Candidate], boxes: Sequence[Candidate]) -> list[Candidate]:
    """Both, each person once: a pose takes the box that it lies in."""
    found = list(posed)
    places = [np.array([one.box for one in many]).reshape(-1, 4) for many in (posed, boxes)]
    overlaps = iou(*places)
    pairs = {column: row for row, column in greedy(overlaps, _POSE_IN_BOX)}
    for number, box in enumerate(boxes):
        if number not in pairs:
            found.append(box)
            continue
        pose = posed[pairs[number]]
        score = max(pose.score, box.score)
        found[pairs[number]] = replace(pose, score=score, box=box.box, is_boxed=True)
    return found


def most_due(people: Sequence[Person], number: int, most: int, every: int) -> list[Person]:
    """Whom to look at in frame ``number``, ``most`` at most: those first who waited longest.

    Of these the surest, whichever finder saw them. ``every``: frames from one look at a person to
    the next.
    """
    due = [one for one in people if one.frame == _NEVER or number - one.frame >= every]
    due.sort(key=lambda one: (one.frame, -one.seen.score))
    return due[:most]


def distinct(people: Sequence[Person]) -> list[Pose]:
    """The poses that hold now, each person's once.

    Of two that are alike the less sure one is as the finder saw it, or left out if that is alike.
    """
    kept: dict[int, Pose] = {}
    order = [place for place, one in enumerate(people) if one.pose is not None]
    order.sort(key=lambda place: -_score(people[place].pose))
    for place in order:
        one = people[place]
        refined = [pose for at, pose in kept.items() if pose is not people[at].seen.pose]
        for pose in (one.pose, one.seen.pose):
            # The finder has separated its own poses already.
            others = refined if pose is one.seen.pose else list(kept.values())
            if pose is not None and not _is_among(pose, others):
                kept[place] = pose
                break
    return [kept[place] for place in sorted(kept)]


def _score(pose: Pose | None) -> float:
    return 0.0 if pose is None else pose.score


def _is_among(pose: Pose, others: Sequence[Pose]) -> bool:
    return bool(pose_oks([pose], others).max(initial=0.0) > TWICE)


def _moved(pose: Pose, then: Candidate, now: Candidate) -> Pose:
    """``pose`` moved as a finder saw the same person move."""
    if then.pose is None or now.pose is None:
        size = np.maximum(then.box[2:] - then.box[:2], 1.0)
        scale = (now.box[2:] - now.box[:2]) / size
        return replace(pose, xy=(pose.xy - then.box[:2]) * scale + now.box[:2])
    steps = now.pose.xy - then.pose.xy
    sure = (now.pose.scores >= SURE) & (then.pose.scores >= SURE)
    whole = steps[sure].mean(axis=0) if sure.any() else steps.mean(axis=0)
    return replace(pose, xy=pose.xy + np.where(sure[:, None], steps, whole))
