"""What flows through edgecam: frames in, decoded results out, and who makes and takes them.

Coordinates are (x, y) pixels. Which pixels (model input or source frame) is said where a value
is made: decoders work in model-input pixels, everything after ``geometry`` in source-frame pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecam.core.document import Document
from edgecam.core.errors import (
    DelegateError,
    EdgecamError,
    ModelError,
    PageError,
    SettingsError,
    SinkError,
    SourceError,
)
from edgecam.core.events import Insight
from edgecam.core.keypoints import COCO, SKELETONS, Keypoint, Skeleton
from edgecam.core.stage_times import StageTimes

# Defined in a file of their own, and looked for here.
__all__ = [
    "DelegateError",
    "EdgecamError",
    "Keypoint",
    "ModelError",
    "PageError",
    "SettingsError",
    "SinkError",
    "SourceError",
]

Image = NDArray[np.uint8]
Tensor = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture from a source.

    ``image`` is uint8[H, W, 3] in BGR, 0..255, C-contiguous: the order in which OpenCV and
    picamera2's ``RGB888`` deliver; it is turned to RGB once, at model size, in ``preprocess``.
    ``sequence`` counts from 0 within the source. ``captured_s`` is ``time.monotonic()`` at
    capture. ``captured_unix_s`` is the wall clock then. ``media_time_s`` is the position in a
    recording, None for a live source. ``file`` names the picture for a directory source,
    ``camera`` the camera where a source serves several; ``sequence`` then is that camera's own.
    """

    image: Image
    sequence: int
    captured_s: float
    captured_unix_s: float
    media_time_s: float | None = None
    file: str | None = None
    camera: str | None = None

    @property
    def width_px(self) -> int:
        return int(self.image.shape[1])

    @property
    def height_px(self) -> int:
        return int(self.image.shape[0])

    @property
    def time_s(self) -> float:
        """The clock of whatever looks at several frames: a recording's own, else monotonic."""
        return self.captured_s if self.media_time_s is None else self.media_time_s


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


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one model found in one frame; a family fills its own field."""

    poses: tuple[Pose, ...] = ()
    detections: tuple[Detection, ...] = ()
    classes: tuple[Classification, ...] = ()
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One processed frame: each model's part, in source-frame pixels.

    ``by_model`` maps model name to what it found, ``times`` to what it cost. ``insight`` is None
    where nothing is tracked. ``held`` says that ``output.result_max_hz`` keeps this result back:
    its events and states are published, its poses and boxes are not. ``untracked`` is what the
    models found before masks, tracks and smoothing, None where nothing is tracked. ``repeated``
    says that no model looked, since nothing moved; what the last look found then takes its place.
    ``waiting`` are the models that nothing called for: what they found before still holds.
    """

    frame: Frame
    by_model: Mapping[str, Decoded]
    times: Mapping[str, StageTimes] = field(default_factory=dict)
    insight: Insight | None = None
    held: bool = False
    untracked: Mapping[str, Decoded] | None = None
    repeated: bool = False
    waiting: frozenset[str] = frozenset()

    @property
    def poses(self) -> tuple[Pose, ...]:
        return tuple(p for part in self.by_model.values() for p in part.poses)

    @property
    def detections(self) -> tuple[Detection, ...]:
        return tuple(d for part in self.by_model.values() for d in part.detections)

    @property
    def classes(self) -> tuple[Classification, ...]:
        return tuple(c for part in self.by_model.values() for c in part.classes)

    @property
    def documents(self) -> tuple[Document, ...]:
        return tuple(d for part in self.by_model.values() for d in part.documents)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output tensor of a model as its file states it.

    ``scale`` and ``zero_point`` are per-tensor quantisation, None where there is none.
    ``shape`` is the shape after any resize at load.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What a person may change about decoding while it runs.

    ``score_threshold``: 0..1. ``nms_radius_px``: model-input pixels. ``nms_iou``: 0..1.
    ``min_pose_score``: 0..1, drops the ghost poses that the TensorFlow.js rules return; 0 is off.
    """

    score_threshold: float = 0.5
    max_poses: int = 5
    nms_radius_px: float = 20.0
    min_pose_score: float = 0.0
    nms_iou: float = 0.6
    max_detections: int = 100
    top_k: int = 5


@dataclass(frozen=True, slots=True)
class Normalization:
    """What a model wants of an RGB pixel: ``(pixel - mean) / std``, pixel 0..255, per channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


MINUS_ONE_TO_ONE = Normalization((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
RAW_PIXELS = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


# What a model finds in a picture.
Finds = Literal["poses", "boxes", "classes", "documents"]


class Decoder(Protocol):
    """One model family bound to one model's outputs: a pure function of arrays.

    ``family`` names it, ``finds`` says what it finds; everything that differs between kinds of
    model goes by ``finds`` and never by the name. ``size_step``: the input's sides may be any
    multiple of it plus one; None where the input has one size. ``rules``: which of several
    published ways to decode is taken, None where the family has one. ``skeleton``: of its poses,
    None where it finds none. ``why`` says by what it was
    recognised, ``outputs`` are the indices
    (into the model's output list) of the tensors that ``__call__`` wants, in its order.
    ``normalization`` is what the family wants of a float input whose file says nothing. ``fit``
    is the key of ``geometry.FITS`` that finds most, measured with ``edgecam eval``. ``labels`` are
    the names of its classes by class number, None where it has no classes or nobody named them.
    """

    @property
    def family(self) -> str: ...

    @property
    def finds(self) -> Finds: ...

    @property
    def size_step(self) -> int | None: ...

    @property
    def rules(self) -> str | None: ...

    @property
    def skeleton(self) -> Skeleton | None: ...

    @property
    def why(self) -> str: ...

    @property
    def outputs(self) -> tuple[int, ...]: ...

    @property
    def normalization(self) -> Normalization: ...

    @property
    def fit(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...] | None: ...

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Decode float32 ``tensors`` (dequantised, batch of one kept) in model-input pixels."""
        ...


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """``state`` is online, offline, frozen or ended; ``reason`` says why it is not online."""

    state: str
    reason: str | None = None
    reconnects: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)


def be_idle() -> None:
    """What a source calls while it waits, if nobody wants to know."""


class Source(Protocol):
    """Frames, in order. ``live`` sources may be overtaken by time; others lose nothing."""

    live: bool
    description: str

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield frames until the source ends or is closed. A live source reconnects by itself.

        ``idle`` is called at least once a second while there is none: waiting is not hanging.
        """
        ...

    def status(self) -> SourceStatus: ...

    def close(self) -> None:
        """Stop from any thread; ``frames`` then ends soon."""
        ...


class Sink(Protocol):
    """Takes every result, on the publishing thread; must not block it."""

    def publish(self, result: Result) -> None: ...

    def counters(self) -> Mapping[str, int]:
        """Every drop, reconnect and fallback since start, by name."""
        ...

    def close(self) -> None: ...
