"""Results: poses, boxes, classes and pages, by model, with the frame they were found in.

Coordinates are (x, y) pixels. Which pixels (model input or source frame) is said where a value
is made: decoders work in model-input pixels, everything after ``geometry`` in source-frame pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgecam.core.events import Insight
from edgecam.core.frame import Frame
from edgecam.core.keypoints import COCO, SKELETONS, Keypoint


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box in pixels; ``x_max`` and ``y_max`` are the far edges."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """One person, or what else has joints.

    ``xy``: float64[K, 2], pixels, rows in the order of the skeleton's names (17 of COCO); may lie
    outside the image. ``scores``: float64[K], 0..1. ``score``: 0..1. ``track``: id from frame to
    frame, or None. ``skeleton``: its name in ``keypoints.SKELETONS``.
    """

    score: float
    xy: NDArray[np.float64]
    scores: NDArray[np.float64]
    track: int | None = None
    skeleton: str = COCO.name

    @property
    def keypoints(self) -> dict[str, Keypoint]:
        """Every keypoint by its name, in the pixels of ``xy``."""
        rows = zip(
            SKELETONS[self.skeleton].names, self.xy.tolist(), self.scores.tolist(), strict=True
        )
        return {name: Keypoint(x, y, score) for name, (x, y), score in rows}

    def body(self) -> Pose | None:
        """The same with the 17 keypoints of COCO alone; None where the skeleton lacks one."""
        if self.skeleton == COCO.name:
            return self
        rows = SKELETONS[self.skeleton].body
        if rows is None:
            return None
        kept = list(rows)
        return replace(self, xy=self.xy[kept], scores=self.scores[kept], skeleton=COCO.name)

    def with_sides_changed(self) -> Pose:
        """The same with left and right joints changed over, as in a mirrored picture."""
        rows = list(SKELETONS[self.skeleton].mirrored)
        return replace(self, xy=self.xy[rows], scores=self.scores[rows])


@dataclass(frozen=True, slots=True)
class Detection:
    """One labelled box; ``class_id`` is the model's own number, ``score`` 0..1."""

    label: str
    class_id: int
    score: float
    box: Box
    track: int | None = None


@dataclass(frozen=True, slots=True)
class Classification:
    """One label of the whole picture with its probability, 0..1."""

    label: str
    class_id: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One page.

    ``corners``: float64[4, 2], pixel indices, clockwise from the corner nearest to the picture's
    top left; may lie outside the image. ``score``: 0..1. ``runner_up``: another quadrilateral that
    is nearly as likely the page; None where nothing else comes near.
    """

    score: float
    corners: NDArray[np.float64]
    runner_up: Document | None = None

    def moved(self, move: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Document:
        """Return the page with other corners, and its runner-up with them."""
        other = self.runner_up
        return Document(
            self.score, move(self.corners), other.moved(move) if other is not None else None
        )


@dataclass(frozen=True, slots=True)
class TurnedLook:
    """What a model found in a frame, or in a part of it, that was turned clockwise by ``degrees``.

    ``poses`` are turned back, in source-frame pixels. ``track``: the id of the person for whose
    sake a part was looked at; None where the whole frame was.
    """

    degrees: int
    poses: tuple[Pose, ...] = ()
    track: int | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one model found in one frame; a family fills its own field.

    ``turned`` are the looks besides the upright one, whose poses are not among ``poses`` yet.
    """

    poses: tuple[Pose, ...] = ()
    detections: tuple[Detection, ...] = ()
    classes: tuple[Classification, ...] = ()
    documents: tuple[Document, ...] = ()
    turned: tuple[TurnedLook, ...] = ()


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds that one model's stages took for one frame."""

    preprocess_ms: float
    invoke_ms: float
    decode_ms: float

    def plus(self, more: StageTimes) -> StageTimes:
        """Both together."""
        return StageTimes(
            self.preprocess_ms + more.preprocess_ms,
            self.invoke_ms + more.invoke_ms,
            self.decode_ms + more.decode_ms,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One processed frame: each model's part, in source-frame pixels.

    ``by_model`` maps model name to what it found, ``times`` to what it cost. ``insight`` is None
    where nothing is tracked. ``held`` says that ``output.result_max_hz`` keeps this result back:
    its events and states are published, its poses and boxes are not. ``untracked`` is what the
    models found before masks, tracks and smoothing, None where nothing is tracked. ``repeated``
    says that no model looked, since nothing moved; what the last look found then takes its place.
    ``waiting`` are the models that nothing called for: what they found before still holds.
    ``stale`` are the models whose part is of an earlier look; views alone have such results.
    """

    frame: Frame
    by_model: Mapping[str, Decoded]
    times: Mapping[str, StageTimes] = field(default_factory=dict)
    insight: Insight | None = None
    held: bool = False
    untracked: Mapping[str, Decoded] | None = None
    repeated: bool = False
    waiting: frozenset[str] = frozenset()
    stale: frozenset[str] = frozenset()

    @property
    def poses(self) -> tuple[Pose, ...]:
        """Poses of all models."""
        return tuple(p for part in self.by_model.values() for p in part.poses)

    @property
    def detections(self) -> tuple[Detection, ...]:
        """Boxes of all models."""
        return tuple(d for part in self.by_model.values() for d in part.detections)

    @property
    def stale_detections(self) -> frozenset[int]:
        """Places among ``detections`` of those that an earlier look found."""
        parts = self.by_model.items()
        old = [model in self.stale for model, part in parts for _ in part.detections]
        return frozenset(place for place, is_old in enumerate(old) if is_old)

    @property
    def stale_poses(self) -> frozenset[int]:
        """Places among ``poses`` of those that an earlier look found."""
        parts = self.by_model.items()
        old = [model in self.stale for model, part in parts for _ in part.poses]
        return frozenset(place for place, is_old in enumerate(old) if is_old)

    @property
    def classes(self) -> tuple[Classification, ...]:
        """Classes of all models."""
        return tuple(c for part in self.by_model.values() for c in part.classes)

    @property
    def documents(self) -> tuple[Document, ...]:
        """Pages of all models."""
        return tuple(d for part in self.by_model.values() for d in part.documents)
