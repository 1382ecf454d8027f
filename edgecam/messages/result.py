"""The wire format: the payloads of results, counts and telemetry.

Coordinates are source-frame pixels rounded to 0.1, scores are rounded to 0.01, so that a result
of one model with two people stays under 2 KB (of two models: 2.5 KB). The keys are in ``wire``;
events are in ``event_messages``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from edgecam.core.keypoints import COCO, SKELETONS, SURE
from edgecam.core.result import Classification, Decoded, Detection, Document, Pose, Result
from edgecam.messages.schema import (
    ClassMessage,
    Corner,
    DetectionMessage,
    DocumentMessage,
    FrameSize,
    Keypoint,
    PoseMessage,
    ResultMessage,
    Telemetry,
)
from edgecam.messages.topics import slug

PERSON = "person"

# Per 1: x and y to 0.1 px, scores to 0.01.
_POINT_STEPS = np.array([[10.0], [10.0], [100.0]])
_encode = msgspec.json.Encoder().encode


def pose_boxes(xy: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[P, 4] (x_min, y_min, x_max, y_max) around the keypoints that score 0.3 or more.

    ``xy`` is float64[P, 2, K] in pixels, ``scores`` float64[P, K]. All count where none does.
    """
    sure = scores >= SURE
    sure |= ~np.logical_or.reduce(sure, axis=1, keepdims=True)
    sure = sure[:, None]
    boxes = np.empty((len(xy), 4))
    np.minimum.reduce(np.where(sure, xy, np.inf), axis=2, out=boxes[:, :2])
    np.maximum.reduce(np.where(sure, xy, -np.inf), axis=2, out=boxes[:, 2:])
    return boxes


def _rounded(values: NDArray[np.float64], steps: Any) -> NDArray[np.float64]:
    # + 0.0 turns -0.0 into 0.0: the same picture gives the same bytes.
    rounded: NDArray[np.float64] = values * steps
    np.rint(rounded, out=rounded)
    rounded /= steps
    rounded += 0.0
    return rounded


def _poses(poses: tuple[Pose, ...], model: str | UnsetType) -> list[PoseMessage]:
    """Messages of one model's poses, all of one skeleton."""
    if not poses:
        return []
    skeleton = SKELETONS[poses[0].skeleton]
    points = np.empty((len(poses), 3, len(skeleton.names)))
    for place, pose in enumerate(poses):
        points[place, :2], points[place, 2] = pose.xy.T, pose.scores
    points = _rounded(points, _POINT_STEPS)
    boxes = pose_boxes(points[:, :2], points[:, 2])
    return [
        PoseMessage(
            score=round(float(pose.score), 2),
            track=UNSET if pose.track is None else pose.track,
            box=tuple(box),
            keypoints=dict(zip(skeleton.names, map(Keypoint, *rows), strict=True)),
            skeleton=UNSET if skeleton is COCO else skeleton.name,
            model=model,
        )
        for pose, rows, box in zip(poses, points.tolist(), boxes.tolist(), strict=True)
    ]


def _detections(
    detections: tuple[Detection, ...], model: str | UnsetType
) -> list[DetectionMessage]:
    if not detections:
        return []
    boxes = [d.box for d in detections]
    corners = np.array([(b.x_min, b.y_min, b.x_max, b.y_max) for b in boxes])
    return [
        DetectionMessage(
            label=d.label,
            class_id=d.class_id,
            score=round(float(d.score), 2),
            track=UNSET if d.track is None else d.track,
            box=tuple(box),
            model=model,
        )
        for d, box in zip(detections, _rounded(corners, 10.0).tolist(), strict=True)
    ]


def _class(found: Classification, model: str | UnsetType) -> ClassMessage:
    score = round(float(found.score), 2)
    return ClassMessage(label=found.label, class_id=found.class_id, score=score, model=model)


def _document(found: Document, model: str | UnsetType) -> DocumentMessage:
    first, second, third, fourth = (
        Corner(*corner) for corner in _rounded(found.corners, 10.0).tolist()
    )
    score = round(float(found.score), 2)
    return DocumentMessage(corners=(first, second, third, fourth), score=score, model=model)


@lru_cache(maxsize=1)
def _found(result: Result) -> dict[str, Any]:
    """What every message of a result has in common: several sinks take the same one in turn."""
    poses: list[PoseMessage] = []
    detections: list[DetectionMessage] = []
    classes: list[ClassMessage] = []
    documents: list[DocumentMessage] = []
    several = len(result.by_model) > 1
    for model, part in result.by_model.items():
        shown: str | UnsetType = model if several else UNSET
        poses += _poses(part.poses, shown)
        detections += _detections(part.detections, shown)
        classes += [_class(found, shown) for found in part.classes]
        documents += [_document(page, shown) for page in part.documents]
    return {
        "frame": FrameSize(result.frame.width_px, result.frame.height_px),
        "model": "+".join(result.by_model),
        "repeated": True if result.repeated else UNSET,
        "poses": tuple(poses),
        "detections": tuple(detections),
        "classes": tuple(classes) if classes else UNSET,
        "documents": tuple(documents) if documents else UNSET,
    }


def _message(result: Result, name: str, **stamp: Any) -> bytes:
    frame = result.frame
    return _encode(
        ResultMessage(
            name=name if frame.camera is None else frame.camera,
            worker=UNSET if frame.camera is None else name,
            sequence=frame.sequence,
            media_time_s=UNSET if frame.media_time_s is None else round(frame.media_time_s, 3),
            file=UNSET if frame.file is None else frame.file,
            **_found(result),
            **stamp,
        )
    )


def result_payload(result: Result, name: str, boot_id: str, published_s: float) -> bytes:
    """The payload of ``edgecam/<name>/result``; ``published_s`` is ``time.monotonic()`` now."""
    frame = result.frame
    return _message(
        result,
        name,
        boot_id=boot_id,
        time_unix_s=round(frame.captured_unix_s, 3),
        age_ms=round((published_s - frame.captured_s) * 1e3, 1),
    )


def result_line(result: Result, name: str, boot_id: str, published_s: float) -> bytes:
    """One JSON line without its newline: the payload, less what differs from run to run.

    A recording's line carries ``media_time_s`` or ``file`` in place of ``boot_id``,
    ``time_unix_s`` and ``age_ms``, so that the same recording gives the same bytes.
    """
    recorded = result.frame.media_time_s is not None or result.frame.file is not None
    if recorded:
        return _message(result, name)
    return result_payload(result, name, boot_id, published_s)


def telemetry_payload(telemetry: Telemetry) -> bytes:
    return _encode(telemetry)


def counts(result: Result) -> dict[str, int]:
    """How many of each label (as a slug) are in the frame; a pose counts as a person.

    Tracks are counted where there are any: they outlast a frame in which somebody is missed.

    Where several models see the same label the largest of their counts stands, for they look at
    the same people.
    """
    found: dict[str, int] = {}
    if result.insight is not None:
        for label, number in result.insight.counts.items():
            found[slug(label)] = found.get(slug(label), 0) + number
        return found
    for part in result.by_model.values():
        labels = Counter(slug(d.label) for d in part.detections)
        if part.poses:
            label = slug(SKELETONS[part.poses[0].skeleton].label)
            labels[label] = max(labels[label], len(part.poses))
        for label, number in labels.items():
            found[label] = max(found.get(label, 0), number)
    return found


class Counts:
    """Remembers the last count of every label once seen, to tell what changed."""

    def __init__(self, labels: Iterable[str] = ()) -> None:
        """``labels`` are reported (as 0) with the first result even if absent from it."""
        self._last: dict[str, int | None] = {slug(label): None for label in labels}
        self._parts: dict[str, Decoded] = {}

    def expect(self, labels: Iterable[str]) -> None:
        """Report these too with the next result, even if absent from it."""
        for label in map(slug, labels):
            self._last.setdefault(label, None)

    def forget_models(self) -> None:
        """Other models may look at the frames from now on."""
        self._parts.clear()

    def changes(self, result: Result) -> dict[str, int]:
        """Labels whose number differs from the last result's; one that went away is 0."""
        # A model that did not look at this frame still says what it said of an earlier one.
        self._parts.update(result.by_model)
        now = counts(replace(result, by_model=self._parts))
        numbers = {label: now.get(label, 0) for label in {**self._last, **now}}
        changed = {k: n for k, n in numbers.items() if n != self._last.get(k)}
        self._last.update(changed)
        return changed
