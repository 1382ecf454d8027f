"""COCO annotations, and COCO's average precision and recall as pycocotools computes them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgecam.core.errors import EdgecamError
from edgecam.core.result import Decoded, Detection, Pose

Metric = Literal["keypoints", "boxes"]

_IOU_TYPES: Mapping[Metric, str] = {"keypoints": "keypoints", "boxes": "bbox"}
# Places in ``COCOeval.stats``: average precision over IoU or OKS 0.50 to 0.95, at 0.50, and
# average recall with all detections that the task allows (20 people, 100 boxes).
_STATS: Mapping[Metric, tuple[int, int, int]] = {"keypoints": (0, 1, 5), "boxes": (0, 1, 8)}


class EvaluateError(EdgecamError):
    """Annotations, pictures and models do not fit each other, or the scorer is missing."""

    page = "convert"


@dataclass(frozen=True, slots=True)
class Picture:
    """One annotated picture: its number in the annotations, its file, its size in pixels.

    ``turned_degrees``: by how much what is in the file is turned clockwise to have that size.
    """

    id: int
    path: Path
    width_px: int
    height_px: int
    turned_degrees: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """``pictures`` that are both annotated and there; ``categories`` maps a name to COCO's id.

    ``turned_looks``: people are looked for in the turned pictures too, as a camera does in turns.
    """

    path: Path
    content: dict[str, Any]
    pictures: tuple[Picture, ...]
    categories: Mapping[str, int]
    turned_looks: bool = False

    @property
    def has_keypoints(self) -> bool:
        """Whether any annotation has keypoints."""
        return any("keypoints" in entry for entry in self.content["annotations"])


@dataclass(frozen=True, slots=True)
class Scores:
    """Average precision over thresholds 0.50 to 0.95, at 0.50, and average recall; all 0..1."""

    ap: float
    ap50: float
    ar: float


def load(annotations: Path, images: Path, max_images: int | None = None) -> Truth:
    """Read COCO annotations, ``instances_*.json`` or ``person_keypoints_*.json``.

    Raises:
        EvaluateError: the file is none, no picture that it names lies in ``images``, or
            pycocotools, which scores, is not installed.
    """
    _scorer()
    if not images.is_dir():
        raise EvaluateError(f"--images {images}: no such directory")
    try:
        content = json.loads(annotations.read_bytes())
        listed = [
            Picture(entry["id"], images / entry["file_name"], entry["width"], entry["height"])
            for entry in content["images"]
        ]
        categories = {entry["name"]: entry["id"] for entry in content["categories"]}
        _ = [entry["image_id"] for entry in content["annotations"]]
    except OSError as error:
        raise EvaluateError(f"--annotations {annotations}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise EvaluateError(
            f"--annotations {annotations}: expected COCO's JSON with images, annotations and "
            f"categories, found: {found}; instances_*.json and person_keypoints_*.json are such"
        ) from None
    there = [picture for picture in listed if picture.path.is_file()]
    if not there:
        raise EvaluateError(
            f"{images} holds none of the {len(listed)} pictures that {annotations} names; "
            "give the directory that they lie in"
        )
    there.sort(key=lambda picture: picture.id)
    return Truth(annotations, content, tuple(there[:max_images]), categories)


def pose_entry(picture: Picture, pose: Pose, category: int) -> dict[str, Any]:
    """One pose in source pixels as COCO's result format has it."""
    flat: list[float] = []
    for (x, y), score in zip(pose.xy.tolist(), pose.scores.tolist(), strict=True):
        flat += [x, y, score]
    return {
        "image_id": picture.id,
        "category_id": category,
        "keypoints": flat,
        "score": float(pose.score),
    }


def box_entry(picture: Picture, detection: Detection, category: int) -> dict[str, Any]:
    """One box in source pixels as COCO's result format has it: x, y, width, height."""
    box = detection.box
    return {
        "image_id": picture.id,
        "category_id": category,
        "bbox": [box.x_min, box.y_min, box.x_max - box.x_min, box.y_max - box.y_min],
        "score": float(detection.score),
    }


def entries(
    picture: Picture, found: Decoded, metric: Metric, categories: Mapping[str, int]
) -> list[dict[str, Any]]:
    """What a model found in one picture; labels that are no category of COCO's are left out."""
    if metric == "keypoints":
        return [pose_entry(picture, pose, categories["person"]) for pose in found.poses]
    return [
        box_entry(picture, detection, categories[detection.label])
        for detection in found.detections
        if detection.label in categories
    ]


def _scorer() -> tuple[Any, Any]:
    """Return pycocotools' classes of annotations and of evaluation."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise EvaluateError(
            f"COCO's annotations need pycocotools ({error}); install edgecam with the extra "
            "[eval]: pip install 'edgecam[eval]'"
        ) from None
    return COCO, COCOeval


def score(
    truth: Truth, metric: Metric, results: Sequence[dict[str, Any]], categories: Sequence[int]
) -> Scores:
    """Score results against the truth over its pictures and the given categories.

    Raises:
        EvaluateError: pycocotools is not installed.
    """
    annotations, evaluator = _scorer()
    if not results:
        return Scores(0.0, 0.0, 0.0)
    # pycocotools tells its progress on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        expected = annotations()
        expected.dataset = truth.content
        expected.createIndex()
        found = expected.loadRes(list(results))
        evaluation = evaluator(expected, found, _IOU_TYPES[metric])
        evaluation.params.imgIds = [picture.id for picture in truth.pictures]
        evaluation.params.catIds = sorted(categories)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # -1 stands for "no such object in the truth".
    ap, ap50, ar = (max(0.0, float(evaluation.stats[place])) for place in _STATS[metric])
    return Scores(ap, ap50, ar)
