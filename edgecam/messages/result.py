"""A result: its fields, and its payload and line.

Coordinates are source-frame pixels rounded to 0.1, scores are rounded to 0.01, so that a result
of one model with two people stays under 2 KB (of two models: 2.5 KB).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType
from numpy.typing import NDArray

from edgecam.core.geometry import pose_boxes
from edgecam.core.keypoints import COCO, NAMES, SKELETONS
from edgecam.core.result import Classification, Detection, Document, Pose, Result
from edgecam.messages.format import SCHEMA, SchemaNumber, Score

Box = Annotated[
    tuple[float, float, float, float], Meta(description="x_min, y_min, x_max, y_max in pixels")
]
Track = Annotated[int, Meta(description="id from frame to frame")]
ModelName = Annotated[str, Meta(description="which model; only where several run")]


class Keypoint(Struct, frozen=True, gc=False):
    """One joint: x, y in source-frame pixels (may lie outside the frame), score 0..1."""

    x: float
    y: float
    score: Score


class PoseMessage(Struct, frozen=True, gc=False, kw_only=True):
    """One person, or what else has joints.

    The box holds the keypoints that score 0.3 or more (all, if none does).
    """

    score: Score
    track: Track | UnsetType = UNSET
    box: Box
    keypoints: Annotated[
        dict[str, Keypoint],
        Meta(
            description="by name, in the skeleton's order, all of them, however low their score",
            examples=[list(NAMES)],
        ),
    ]
    skeleton: (
        Annotated[str, Meta(description="whose keypoints they are; only where not COCO's 17")]
        | UnsetType
    ) = UNSET
    model: ModelName | UnsetType = UNSET


class DetectionMessage(Struct, frozen=True, gc=False, kw_only=True):
    """One labelled box; class_id is the model's own number."""

    label: str
    class_id: int
    score: Score
    track: Track | UnsetType = UNSET
    box: Box
    model: ModelName | UnsetType = UNSET


class ClassMessage(Struct, frozen=True, gc=False, kw_only=True):
    """One label of the whole picture."""

    label: str
    class_id: int
    score: Score
    model: ModelName | UnsetType = UNSET


class Corner(Struct, frozen=True, gc=False):
    """One corner of a page: x, y in source-frame pixels (may lie outside the frame)."""

    x: float
    y: float


FourCorners = Annotated[
    tuple[Corner, Corner, Corner, Corner],
    Meta(description="clockwise from the one nearest to the frame's top left"),
]


class RunnerUp(Struct, frozen=True, gc=False, kw_only=True):
    """Another quadrilateral that is nearly as likely the page."""

    corners: FourCorners
    score: Score


class DocumentMessage(Struct, frozen=True, gc=False, kw_only=True):
    """One page."""

    corners: FourCorners
    score: Score
    runner_up: (
        Annotated[RunnerUp, Meta(description="only where another one comes near")] | UnsetType
    ) = UNSET
    model: ModelName | UnsetType = UNSET


class FrameSize(Struct, frozen=True, gc=False):
    """The source frame, pixels."""

    width: int
    height: int


class ResultMessage(Struct, frozen=True, kw_only=True):
    """One processed frame: ``edgecam/<name>/result``, and a line of JSON lines."""

    schema: SchemaNumber = SCHEMA
    name: Annotated[str, Meta(description="name of the camera")]
    worker: (
        Annotated[str, Meta(description="name of the instance, where it serves several cameras")]
        | UnsetType
    ) = UNSET
    boot_id: Annotated[str, Meta(description="new at every start")] | UnsetType = UNSET
    sequence: Annotated[int, Meta(description="frame number; gaps are frames not processed")]
    time_unix_s: Annotated[float, Meta(description="wall clock at capture")] | UnsetType = UNSET
    age_ms: Annotated[float, Meta(description="from capture to publish")] | UnsetType = UNSET
    media_time_s: Annotated[float, Meta(description="position in a recording")] | UnsetType = UNSET
    file: Annotated[str, Meta(description="picture of a directory source")] | UnsetType = UNSET
    frame: FrameSize
    model: Annotated[str, Meta(description="models that saw the frame, joined by +")]
    repeated: (
        Annotated[bool, Meta(description="nothing moved: what the look before found")] | UnsetType
    ) = UNSET
    poses: tuple[PoseMessage, ...]
    detections: tuple[DetectionMessage, ...]
    classes: (
        Annotated[tuple[ClassMessage, ...], Meta(description="only where a classifier runs")]
        | UnsetType
    ) = UNSET
    documents: (
        Annotated[tuple[DocumentMessage, ...], Meta(description="only where a page is seen")]
        | UnsetType
    ) = UNSET


# Per 1: x and y to 0.1 px, scores to 0.01.
_POINT_STEPS = np.array([[10.0], [10.0], [100.0]])
_encode = msgspec.json.Encoder().encode


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
    other = found.runner_up
    corners, score = _outline(found)
    return DocumentMessage(
        corners=corners,
        score=score,
        runner_up=_runner_up(other) if other is not None else UNSET,
        model=model,
    )


def _runner_up(found: Document) -> RunnerUp:
    corners, score = _outline(found)
    return RunnerUp(corners=corners, score=score)


def _outline(found: Document) -> tuple[tuple[Corner, Corner, Corner, Corner], float]:
    first, second, third, fourth = (
        Corner(*corner) for corner in _rounded(found.corners, 10.0).tolist()
    )
    return (first, second, third, fourth), round(float(found.score), 2)


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
