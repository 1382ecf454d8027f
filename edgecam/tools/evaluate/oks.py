"""How like the poses of two runs over the same recording are: the mean OKS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgecam.analysis.tracker import MIN_KEYPOINTS, greedy, pose_oks
from edgecam.core.keypoints import SURE
from edgecam.core.result import Pose, Result


@dataclass(slots=True)
class PoseKeeper:
    """A sink that keeps the poses of every frame, by its number, in source-frame pixels.

    ``size_px``: (width, height) of the last frame.
    """

    poses: dict[int, tuple[Pose, ...]] = field(default_factory=dict)

    size_px: tuple[int, int] = (0, 0)

    def publish(self, result: Result) -> None:
        """Keep the poses of the frame."""
        self.poses[result.frame.sequence] = result.poses
        self.size_px = (result.frame.width_px, result.frame.height_px)

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {}

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """``mean_oks``, 0..1, over all people of the reference; one who is not found counts as 0.

    ``people``: in the reference, of all frames; ``found``: of these; ``extra``: none of these.
    """

    mean_oks: float
    people: int
    found: int
    extra: int


def likeness(
    reference: Mapping[int, Sequence[Pose]], found: Mapping[int, Sequence[Pose]]
) -> Likeness:
    """Compare the poses of ``found`` with those of ``reference``, frame by frame.

    A person of whom the reference is sure of fewer than four keypoints says nothing.
    """
    values: list[float] = []
    matched = shown = 0
    for number, poses in reference.items():
        people = [p for p in poses if np.count_nonzero(p.scores >= SURE) >= MIN_KEYPOINTS]
        others = found.get(number, ())
        similar = pose_oks(others, people)
        pairs = greedy(similar, 1e-9)
        values += [float(similar[pair]) for pair in pairs]
        values += [0.0] * (len(people) - len(pairs))
        matched += len(pairs)
        shown += len(others)
    mean = sum(values) / len(values) if values else 0.0
    return Likeness(mean, len(values), matched, shown - matched)
