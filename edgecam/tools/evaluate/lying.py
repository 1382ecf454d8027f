"""How many people of turned pictures are found, and said to lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.events.body import posture
from edgecam.analysis.tracker import oks
from edgecam.analysis.turned import merged
from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Pose
from edgecam.core.turning import turn_image
from edgecam.inference.model import Model
from edgecam.pipeline.roi.turned_looks import TurnedLooks
from edgecam.settings.scene import MotionSettings
from edgecam.sources.picture import read_image
from edgecam.tools.evaluate.coco import Picture, Truth

# People with so many keypoints and so large, in pixels of area, say how they are.
MIN_KEYPOINTS = 9
MIN_AREA_PX = 6000.0
# A pose of at least this similarity is of the person.
MIN_OKS = 0.5


@dataclass(slots=True)
class Lying:
    """``people`` who are annotated, how many of them are ``found``, and ``lying`` of these."""

    people: int = 0
    found: int = 0
    lying: int = 0

    @property
    def share(self) -> float:
        """Of those who are found."""
        return self.lying / max(1, self.found)


def lying(truth: Truth, model: Model, options: DecodeOptions) -> Lying:
    """Look at every picture upright and in both turns, and at the posture of those annotated.

    Raises:
        SourceError: a picture cannot be read.
        ModelError: the model fails.
    """
    looks, total = TurnedLooks(1.0, [model], MotionSettings()), Lying()
    for number, picture in enumerate(truth.pictures):
        poses, turned = _found(picture, number, looks, model, options)
        for person in _annotated(truth, picture):
            total.people += 1
            best = _best(poses, person)
            if best is not None:
                total.found += 1
                total.lying += posture(poses[best], best in turned) == "lying"
    return total


def _found(
    picture: Picture, number: int, looks: TurnedLooks, model: Model, options: DecodeOptions
) -> tuple[Sequence[Pose], frozenset[int]]:
    image = read_image(picture.path)
    if picture.turned_degrees:
        image = turn_image(image, picture.turned_degrees)
    frame = Frame(image, number, 0.0, 0.0, file=picture.path.name)
    staged = model.preprocess(frame, model.buffer())
    part = model.decode(model.invoke(staged), staged, frame, options)
    part, places = merged(looks.with_stills(part, frame, options), options.max_poses)
    return part.poses, places


def _annotated(truth: Truth, picture: Picture) -> Iterator[dict[str, Any]]:
    for entry in truth.content["annotations"]:
        if (
            entry["image_id"] == picture.id
            and not entry.get("iscrowd")
            and entry.get("num_keypoints", 0) >= MIN_KEYPOINTS
            and entry["area"] >= MIN_AREA_PX
        ):
            yield entry


def _best(poses: Sequence[Pose], person: dict[str, Any]) -> int | None:
    """The place of the pose that is most like a person; None where none is like them."""
    if not poses:
        return None
    rows: NDArray[np.float64] = np.array(person["keypoints"], np.float64).reshape(1, -1, 3)
    sure = np.broadcast_to(rows[:, :, 2] > 0, (len(poses), 1, rows.shape[1]))
    xy = np.array([pose.xy for pose in poses])
    like = oks(xy, rows[:, :, :2], np.array([float(person["area"])]), sure)[:, 0]
    best = int(like.argmax())
    return best if like[best] >= MIN_OKS else None
