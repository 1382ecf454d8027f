"""How far a quantised model is from the float model that it was made from, on real pictures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecam.core.frame import Frame
from edgecam.core.keypoints import OKS_SIGMAS, SURE
from edgecam.core.protocols import DecodeOptions, Finds
from edgecam.core.quadrilateral import overlap
from edgecam.core.result import Box, Classification, Decoded, Detection, Document, Pose
from edgecam.inference.model import Model

# What the float model finds at the first score must be found by the other at the second: one
# that hovers about a single threshold would count as lost. Poses of the float model below the
# score at which edgecam drops them are ghosts that are not missed. The other may find more.
_WANTED = DecodeOptions(score_threshold=0.5, max_poses=20, top_k=1)
_GIVEN = DecodeOptions(
    score_threshold=0.3, max_poses=40, min_pose_score=0.0, max_detections=200, top_k=1
)
_KINDS: dict[Finds, str] = {
    "poses": "poses",
    "boxes": "boxes",
    "documents": "pages",
    "classes": "labels",
}
_MATCHED_IOU = 0.5


@dataclass(frozen=True, slots=True)
class OutputError:
    """``error`` is the root mean square of the differences as a share of that of the values.

    Not of what a custom operation makes: SSD's post-processing sorts its rows by score.
    """

    output: str
    error: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both models found in the same pictures.

    ``things``: poses, boxes, pages or top labels of the float model. ``kept``: 0..1, mean OKS of
    its poses, share of its boxes matched with IoU 0.5 and the same class, mean IoU of its pages,
    or share of equal labels; what is not found at all counts 0. ``shift_px``: median distance of
    matched keypoints or corners in pixels of the model input, None for labels. Times are medians
    of one invoke. ``distinct``: different labels among the float model's.
    """

    kind: str
    pictures: int
    things: int
    kept: float
    shift_px: float | None
    outputs: tuple[OutputError, ...]
    float_ms: float
    quantized_ms: float
    float_bytes: int
    quantized_bytes: int
    distinct: int = 0

    @property
    def loss(self) -> float:
        """What was lost of the float model's findings, 0..1."""
        return 1.0 - self.kept


Tensors = list[NDArray[np.float32]]


def compare(reference: Model, candidate: Model, frames: Iterable[Frame]) -> Agreement:
    """Run both over ``frames``; both must be of one family and input size.

    Where the float model finds nothing, ``things`` and ``kept`` are 0.
    """
    kept: list[float] = []
    shifts: list[float] = []
    labels: set[int] = set()
    squares = np.zeros((2, len(reference.decoder.outputs)))
    times_ms: tuple[list[float], list[float]] = ([], [])
    kind = _KINDS[reference.decoder.finds]
    for frame in frames:
        found = []
        tensors: list[Tensors] = []
        for model, options, model_times_ms in zip(
            (reference, candidate), (_WANTED, _GIVEN), times_ms, strict=True
        ):
            decoded, outputs, invoke_ms = _run(model, frame, options)
            found.append(decoded)
            tensors.append(outputs)
            model_times_ms.append(invoke_ms)
        for place, (wanted, given) in enumerate(zip(*tensors, strict=True)):
            squares[0, place] += float(np.square(wanted - given, dtype=np.float64).sum())
            squares[1, place] += float(np.square(wanted, dtype=np.float64).sum())
        labels |= {each.class_id for each in found[0].classes}
        matches = _matches(kind, *found)
        kept += [match.kept for match in matches]
        shifts += [shift for match in matches for shift in match.shifts_px]
    return Agreement(
        kind=kind,
        pictures=len(times_ms[0]),
        things=len(kept),
        kept=statistics.fmean(kept) if kept else 0.0,
        shift_px=statistics.median(shifts) if shifts else None,
        outputs=_output_errors(reference, squares),
        float_ms=statistics.median(times_ms[0]),
        quantized_ms=statistics.median(times_ms[1]),
        float_bytes=len(reference.file.data),
        quantized_bytes=len(candidate.file.data),
        distinct=len(labels),
    )


def _run(model: Model, frame: Frame, options: DecodeOptions) -> tuple[Decoded, Tensors, float]:
    staged = model.preprocess(frame, model.buffer())
    started_s = time.perf_counter()
    tensors = model.dequantised(model.invoke(staged))
    invoke_ms = (time.perf_counter() - started_s) * 1e3
    # Positions stay in pixels of the model input, where one pixel is the same for every picture.
    return model.decoder(tensors, options), tensors, invoke_ms


def _output_errors(reference: Model, squares: NDArray[np.float64]) -> tuple[OutputError, ...]:
    shares = np.sqrt(squares[0] / np.maximum(squares[1], np.finfo(np.float64).tiny))
    found = []
    for place, share in zip(reference.decoder.outputs, shares.tolist(), strict=True):
        info = reference.interpreter.outputs[place]
        maker = reference.file.producer(info.index)
        if maker is None or not maker.is_custom:
            found.append(OutputError(info.name, share))
    return tuple(found)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Match:
    """``kept``: 0..1, how much of one thing of the float model the other has."""

    kept: float
    shifts_px: tuple[float, ...] = ()


def _matches(kind: str, wanted: Decoded, given: Decoded) -> list[_Match]:
    if kind == "poses":
        return _greedy(wanted.poses, given.poses, _pose_match)
    if kind == "boxes":
        return _greedy(wanted.detections, given.detections, _box_match)
    if kind == "pages":
        return _greedy(wanted.documents, given.documents, _page_match)
    return _greedy(wanted.classes, given.classes, _label_match)


def _greedy(
    wanted: Sequence[T], given: Sequence[T], match: Callable[[T, T], _Match]
) -> list[_Match]:
    """For each wanted thing its best match among what no better one has taken."""
    left = list(given)
    found = []
    for thing in wanted:
        rated = [match(thing, other) for other in left]
        best = max(range(len(rated)), key=lambda place: rated[place].kept, default=None)
        if best is None or rated[best].kept == 0.0:
            found.append(_Match(0.0))
            continue
        found.append(rated[best])
        del left[best]
    return found


def _pose_match(wanted: Pose, given: Pose) -> _Match:
    """Object keypoint similarity over the keypoints that the float model is sure of."""
    present = wanted.scores >= SURE
    if not present.any():
        present = np.ones_like(present)
    area_px = float(np.prod(np.ptp(wanted.xy[present], axis=0) + 1.0))
    squared = np.square(wanted.xy - given.xy).sum(axis=1)
    variances = np.square(2.0 * np.array(OKS_SIGMAS))
    similarity = np.exp(-squared / (2.0 * area_px * variances))[present]
    distances = np.sqrt(squared[present])
    return _Match(float(similarity.mean()), tuple(distances.tolist()))


def _box_match(wanted: Detection, given: Detection) -> _Match:
    if wanted.class_id != given.class_id or _iou(wanted.box, given.box) < _MATCHED_IOU:
        return _Match(0.0)
    one, other = wanted.box, given.box
    corners = (
        np.hypot(one.x_min - other.x_min, one.y_min - other.y_min),
        np.hypot(one.x_max - other.x_max, one.y_max - other.y_max),
    )
    return _Match(1.0, tuple(map(float, corners)))


def _iou(one: Box, other: Box) -> float:
    width = min(one.x_max, other.x_max) - max(one.x_min, other.x_min)
    height = min(one.y_max, other.y_max) - max(one.y_min, other.y_min)
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box.x_max - box.x_min) * (box.y_max - box.y_min) for box in (one, other)]
    return shared / max(sum(areas) - shared, 1e-9)


def _page_match(wanted: Document, given: Document) -> _Match:
    shared = overlap(wanted.corners, given.corners)
    if shared < _MATCHED_IOU:
        return _Match(0.0)
    distances = np.linalg.norm(wanted.corners - given.corners, axis=1)
    return _Match(shared, tuple(distances.tolist()))


def _label_match(wanted: Classification, given: Classification) -> _Match:
    return _Match(float(wanted.class_id == given.class_id))
