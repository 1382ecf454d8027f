"""People who were found in the turned picture, among those who were found in the upright one.

Networks that learned from people who stand do not see those who lie: a PoseNet finds none of 43
people whose pictures are turned by 90 degrees, and all that it finds upright once the picture is
turned back. What a turned look finds of a person whom the upright look found too is the same
person: the surer of both poses stays, the upright one where they are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgecam.analysis.tracker import boxes_of, iou, pose_oks
from edgecam.core.result import Decoded, Pose

# From here on two poses, or the boxes around them, are of one person.
SAME_OKS = 0.4
SAME_BOX = 0.5


def merged(part: Decoded, max_poses: int | None = None) -> tuple[Decoded, frozenset[int]]:
    """Put the poses of the turned looks among the others, the surest ``max_poses`` of all.

    Also returns which of the poses are from turned looks, by their place. The surest pose of a
    look that was made for one person carries their id.
    """
    if not part.turned:
        return part, frozenset()
    found = [(pose, False) for pose in part.poses]
    for look in part.turned:
        # A part that was looked at shows one person; who else is in it has a look of their own.
        best = max(look.poses, key=lambda pose: pose.score, default=None)
        found += [
            (replace(pose, track=look.track if pose is best else None), True) for pose in look.poses
        ]
    order = sorted(range(len(found)), key=lambda place: -found[place][0].score)
    kept = _different([found[place][0] for place in order])
    chosen = sorted([order[place] for place in kept][:max_poses])
    everybody = replace(part, poses=tuple(found[place][0] for place in chosen), turned=())
    return everybody, frozenset(n for n, place in enumerate(chosen) if found[place][1])


def _different(poses: Sequence[Pose]) -> list[int]:
    """The places of the poses that are of different people, of each person the first."""
    if not poses:
        return []
    similar = pose_oks(poses, poses)
    boxes = boxes_of(poses)
    is_same = (np.maximum(similar, similar.T) >= SAME_OKS) | (iou(boxes, boxes) >= SAME_BOX)
    kept: list[int] = []
    for place in range(len(poses)):
        if not is_same[place, kept].any():
            kept.append(place)
    return kept
