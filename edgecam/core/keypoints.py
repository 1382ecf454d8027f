"""The 17 COCO person keypoints and the tree that PoseNet walks over them.

Source: the COCO keypoint task (``categories[0].keypoints`` of
``person_keypoints_train2017.json``) and ``poseChain`` of TensorFlow.js PoseNet
(``posenet/src/keypoints.ts``), whose edge order the displacement channels follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NAMES: tuple[str, ...] = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)


@dataclass(frozen=True, slots=True)
class Keypoint:
    """One keypoint of a person: pixels, may lie outside the picture; ``score`` 0..1."""

    x: float
    y: float
    score: float


# The label of a person, whether a pose or a box.
PERSON = "person"

# A keypoint that scores this or more is where it says.
SURE = 0.3

COUNT = len(NAMES)
INDEX: dict[str, int] = {name: index for index, name in enumerate(NAMES)}

# (parent, child): edge e is displacement channel e (y) and e + 16 (x).
EDGES: tuple[tuple[int, int], ...] = (
    (0, 1),
    (1, 3),
    (0, 2),
    (2, 4),
    (0, 5),
    (5, 7),
    (7, 9),
    (5, 11),
    (11, 13),
    (13, 15),
    (0, 6),
    (6, 8),
    (8, 10),
    (6, 12),
    (12, 14),
    (14, 16),
)

# What a person draws as a skeleton: limbs and trunk, without the nose-to-shoulder edges.
BONES: tuple[tuple[int, int], ...] = (
    (0, 1),
    (1, 3),
    (0, 2),
    (2, 4),
    (5, 6),
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (5, 11),
    (6, 12),
    (11, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
)

# Per-keypoint falloff sigma of object keypoint similarity, as in pycocotools ``Params``.
OKS_SIGMAS: tuple[float, ...] = (
    0.026,
    0.025,
    0.025,
    0.035,
    0.035,
    0.079,
    0.079,
    0.072,
    0.072,
    0.062,
    0.062,
    0.107,
    0.107,
    0.087,
    0.087,
    0.089,
    0.089,
)


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The keypoints that a pose model finds, in its order, and what is drawn and compared of them.

    ``name`` stands in messages. ``mirrored``: the rows of a mirrored picture's keypoints, in which
    a left joint looks like a right one, in the person's own order. ``label``: what is counted, one
    for each pose. ``bones``: pairs of keypoint numbers that a line joins. ``falloffs``: sigma of
    object keypoint similarity for each keypoint, as a share of the square root of the area.

    Raises:
        ValueError: falloffs or bones do not fit the names, or another skeleton has this name.
    """

    name: str
    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    falloffs: tuple[float, ...]
    label: str = "person"
    index: Mapping[str, int] = field(init=False, compare=False, repr=False)
    # Rows that are the 17 of COCO, in their order; None where a name is missing.
    body: tuple[int, ...] | None = field(init=False, compare=False, repr=False)
    mirrored: tuple[int, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.falloffs) != len(self.names):
            raise ValueError(
                f"skeleton {self.name!r}: expected {len(self.names)} falloffs, one for each "
                f"keypoint, found {len(self.falloffs)}"
            )
        if any(not 0 <= end < len(self.names) for bone in self.bones for end in bone):
            raise ValueError(
                f"skeleton {self.name!r}: expected bones between keypoints 0 to "
                f"{len(self.names) - 1}, found {self.bones}"
            )
        if SKELETONS.setdefault(self.name, self) != self:
            raise ValueError(f"skeleton {self.name!r}: another one has this name")
        index = {name: i for i, name in enumerate(self.names)}
        is_body = index.keys() >= set(NAMES)
        object.__setattr__(self, "index", index)
        others = (index.get(_other_side(name), row) for name, row in index.items())
        object.__setattr__(self, "mirrored", tuple(others))
        object.__setattr__(self, "body", tuple(index[n] for n in NAMES) if is_body else None)


def _other_side(name: str) -> str:
    """The name with its sides changed over, left_wrist for right_wrist."""
    sides = {"left": "right", "right": "left"}
    return "_".join(sides.get(word, word) for word in name.split("_"))


# Every skeleton that a loaded decoder brings, by its name: results carry the name alone.
SKELETONS: dict[str, Skeleton] = {}

COCO = Skeleton("coco", NAMES, BONES, OKS_SIGMAS)
