"""Pictures in which people's keypoints were marked by eye, and how well poses agree with them.

Source: the average precision of COCO's keypoint task (``pycocotools/cocoeval.py``): over OKS 0.50
to 0.95, precision at 101 recalls. The area is that of the box around the marked keypoints, since no
outline is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.tracker import areas, boxes_of, pose_oks
from edgecam.core.errors import EdgecamError
from edgecam.core.frame import Frame
from edgecam.core.keypoints import COUNT, INDEX
from edgecam.core.result import Pose
from edgecam.core.turning import turn_image, turn_points, turned_size
from edgecam.inference import catalog
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
from edgecam.sources.picture import read_image

Array = NDArray[np.float64]

_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
# A pose that lies so much in the box around someone unmarked may be theirs.
_WITHIN = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """``people``: of whom the marked keypoints score 1, the others 0.

    ``unmarked``: float64[N, 4] (x_min, y_min, x_max, y_max) around others, in pixels: what is found
    there is neither right nor wrong.
    """

    frame: Frame
    people: tuple[Pose, ...]
    unmarked: Array


def shipped() -> Path:
    """Where the marked pictures are that ship with edgecam."""
    return catalog.directory() / "marked" / "people.json"


def read(path: Path, clips: Path | None = None) -> tuple[Marked, ...]:
    """Read marked pictures; those of a clip lie in ``clips``, by default beside ``path``.

    Raises:
        EdgecamError: the file, a picture or a clip cannot be read, or is none of ours.
    """
    try:
        listed = json.loads(path.read_text("utf-8"))["pictures"]
        of_clips: dict[str, dict[int, Any]] = {}
        for entry in listed:
            if "clip" in entry:
                of_clips.setdefault(entry["clip"], {})[entry["frame"]] = entry
        found: list[Marked] = []
        for entry in listed:
            if "picture" in entry:
                image = read_image(path.parent / entry["picture"])
                frame = Frame(image, len(found), 0.0, 0.0, file=entry["picture"])
                found.append(_marked(frame, entry))
        for clip, entries in of_clips.items():
            found += [_marked(*each) for each in _frames((clips or path.parent) / clip, entries)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgecamError(f"{path}: expected marked pictures, found: {error!r:.200}") from None
    return tuple(found)


def _frames(clip: Path, entries: Mapping[int, Any]) -> Iterator[tuple[Frame, Mapping[str, Any]]]:
    """The marked frames of a clip, each by itself as a picture of a folder is."""
    for frame in open_source(SourceSettings(url=str(clip))).frames():
        if frame.sequence in entries:
            name = f"{clip.name} {frame.sequence}"
            yield replace(frame, media_time_s=None, file=name), entries[frame.sequence]
        if frame.sequence >= max(entries):
            return


def _marked(frame: Frame, entry: Mapping[str, Any]) -> Marked:
    people = tuple(_pose(keypoints) for keypoints in entry["people"].values())
    return Marked(frame, people, np.array(entry["unmarked"], np.float64).reshape(-1, 4))


def _pose(keypoints: Mapping[str, Sequence[float]]) -> Pose:
    xy, scores = np.zeros((COUNT, 2)), np.zeros(COUNT)
    for name, at in keypoints.items():
        xy[INDEX[name]], scores[INDEX[name]] = at, 1.0
    return Pose(1.0, xy, scores)


def turned(picture: Marked, degrees: int) -> Marked:
    """The same turned clockwise by 90, 180 or 270 degrees."""
    frame = picture.frame
    size_px = frame.width_px, frame.height_px
    people = (
        replace(person, xy=turn_points(person.xy, degrees, size_px)) for person in picture.people
    )
    # Edges lie between pixels, half a pixel from their centres.
    corners = turn_points(picture.unmarked.reshape(-1, 2, 2) - 0.5, degrees, size_px) + 0.5
    boxes = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    image = np.ascontiguousarray(turn_image(frame.image, degrees))
    turned_frame = replace(frame, image=image, file=f"{frame.file} turned by {degrees}")
    assert (turned_frame.width_px, turned_frame.height_px) == turned_size(size_px, degrees)
    return Marked(turned_frame, tuple(people), boxes.reshape(-1, 4))


def average_precision(pictures: Sequence[Marked], found: Sequence[Sequence[Pose]]) -> float:
    """0..1: how well the poses ``found`` in each picture agree with the people marked in it."""
    rows = [_Scored.of(*each) for each in zip(pictures, found, strict=True)]
    people = sum(len(picture.people) for picture in pictures)
    if not people:
        return 0.0
    return float(np.mean([_precision(rows, people, threshold) for threshold in _THRESHOLDS]))


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """Poses of one picture, the surest first: ``scores``, ``oks`` [N, M], and whose may be."""

    scores: Array
    oks: Array
    may_be_unmarked: NDArray[np.bool_]

    @classmethod
    def of(cls, picture: Marked, poses: Sequence[Pose]) -> _Scored:
        poses = sorted(poses, key=lambda pose: -pose.score)
        inside = _shares_within(boxes_of(poses), picture.unmarked) >= _WITHIN
        return cls(
            np.array([pose.score for pose in poses]),
            pose_oks(poses, picture.people),
            np.asarray(inside.any(axis=1), np.bool_),
        )


def _shares_within(boxes: Array, others: Array) -> Array:
    """float64[N, M]: how much of each box lies in each of the others."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = (high - low).clip(0.0).prod(axis=2)
    return np.asarray(common / np.maximum(areas(boxes)[:, None], 1e-12), np.float64)


def _precision(rows: Sequence[_Scored], people: int, threshold: float) -> float:
    """Mean precision over the recalls, where a pose of ``threshold`` OKS or more is a find."""
    scores: list[float] = []
    finds: list[bool] = []
    for row in rows:
        free = np.ones(row.oks.shape[1], np.bool_)
        for place, score in enumerate(row.scores.tolist()):
            similar = np.where(free, row.oks[place], -1.0)
            best = int(similar.argmax()) if similar.size else -1
            is_find = best >= 0 and bool(similar[best] >= threshold)
            if not is_find and row.may_be_unmarked[place]:
                continue
            if is_find:
                free[best] = False
            scores.append(score)
            finds.append(is_find)
    order = np.argsort(-np.array(scores), kind="stable")
    right = np.cumsum(np.array(finds, np.float64)[order])
    precision = right / np.arange(1.0, len(right) + 1.0)
    # As good as it is at any higher recall.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / people, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(places, len(precision))].mean())
