"""Protocols of the parts that others may bring: decoder, source and sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

# Only types: a command that reads settings and no picture starts without NumPy.
if TYPE_CHECKING:
    from edgecam.core.frame import Frame
    from edgecam.core.keypoints import Skeleton
    from edgecam.core.result import Decoded, Result
    from edgecam.core.tensors import Normalization, Tensor

# What a model finds in a picture.
Finds = Literal["poses", "boxes", "classes", "documents"]


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What a person may change about decoding while it runs.

    The defaults here are those of the settings ``[decode]`` as well.
    ``score_threshold``: 0..1. ``nms_radius_px``: model-input pixels. ``nms_iou``: 0..1.
    ``min_pose_score``: 0..1, drops the ghost poses that the TensorFlow.js rules return; 0 is off.
    """

    score_threshold: float = 0.5
    max_poses: int = 5
    nms_radius_px: float = 20.0
    min_pose_score: float = 0.15
    nms_iou: float = 0.6
    max_detections: int = 100
    top_k: int = 5


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
    the names of its classes by class number, None where it has no classes or they have no names.
    ``for_crops``: it is made for the square around one person. ``turns_crops``, False where a
    decoder does not state it: that square is turned along the body of who stands too.
    """

    @property
    def family(self) -> str:
        """Name of the family."""
        ...

    @property
    def finds(self) -> Finds:
        """What the model finds."""
        ...

    @property
    def size_step(self) -> int | None:
        """Step between the sides that the input may have, None for one size."""
        ...

    @property
    def rules(self) -> str | None:
        """Name of the published rules that decode, None for the family's only ones."""
        ...

    @property
    def skeleton(self) -> Skeleton | None:
        """Skeleton of the poses, None without poses."""
        ...

    @property
    def why(self) -> str:
        """What the model was recognised by."""
        ...

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices of the tensors that ``__call__`` wants, in its order."""
        ...

    @property
    def normalization(self) -> Normalization:
        """What a float input wants where the file says nothing."""
        ...

    @property
    def fit(self) -> str:
        """Key of ``geometry.FITS`` that finds most."""
        ...

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes by number, None without."""
        ...

    @property
    def for_crops(self) -> bool:
        """Whether it is made for the square around one person."""
        ...

    def __call__(self, tensors: Sequence[Tensor], options: DecodeOptions) -> Decoded:
        """Decode float32 ``tensors`` (dequantised, batch of one kept) in model-input pixels."""
        ...


@dataclass(frozen=True, slots=True)
class CaptureFormat:
    """How a camera takes pictures: ``form`` as V4L2 names it; None for what is left to it."""

    form: str | None
    width_px: int | None
    height_px: int | None
    rate_hz: float | None

    def __str__(self) -> str:
        width, height = self.width_px or "any", self.height_px or "any"
        rate = f" at {self.rate_hz:.4g} a second" if self.rate_hz else ""
        return f"{self.form or 'any format'} {width}x{height}{rate}"


@runtime_checkable
class ManyKeypoints(Decoder, Protocol):
    """A decoder that knows more keypoints than the 17 of COCO that it returns."""

    def with_all_keypoints(self) -> Decoder:
        """Return the same decoder with the poses' whole skeleton."""
        ...


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """``state`` is online, offline, frozen or ended; ``reason`` says why it is not online.

    ``asked`` and ``got``: of a local camera, what it was set to and how it takes pictures.
    """

    state: str
    reason: str | None = None
    reconnects: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    asked: CaptureFormat | None = None
    got: CaptureFormat | None = None


def be_idle() -> None:
    """Do nothing: what a source calls while it waits, by default."""


class Source(Protocol):
    """Frames, in order. ``live`` sources may be overtaken by time; others lose nothing."""

    live: bool
    description: str

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        """Yield frames until the source ends or is closed. A live source reconnects by itself.

        ``idle`` is called at least once a second while there is none: waiting is not hanging.
        """
        ...

    def status(self) -> SourceStatus:
        """Return whether frames come, and why not."""
        ...

    def close(self) -> None:
        """Stop from any thread; ``frames`` then ends soon."""
        ...


class Sink(Protocol):
    """Takes every result, on the publishing thread; must not block it."""

    def publish(self, result: Result) -> None:
        """Take one result; raise nothing and wait for nothing."""
        ...

    def counters(self) -> Mapping[str, int]:
        """Every drop, reconnect and fallback since start, by name."""
        ...

    def close(self) -> None:
        """Write or send what is left, within a few seconds."""
        ...
