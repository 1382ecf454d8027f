"""How well ids are kept: switches and fragments against identities that were drawn by hand.

Source: Bernardin, Stiefelhagen, "Evaluating multiple object tracking performance: the CLEAR MOT
metrics" (EURASIP JIVP 2008) for switches and misses; Li, Huang, Nevatia, "Learning to associate:
HybridBoosted multi-target tracker" (CVPR 2009) for fragments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecam.analysis.tracker import boxes_of, greedy, iou
from edgecam.core.errors import EdgecamError
from edgecam.core.keypoints import PERSON
from edgecam.core.result import Result

# The box around a pose's keypoints has neither the top of the head nor the feet.
MATCH_IOU = 0.25
# Everybody in the picture is to be found, of whom the defaults leave the smallest out.
SCORED_WITH: Mapping[str, float | int] = {"score_threshold": 0.3, "max_poses": 15}

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Truth:
    """By frame number: the boxes, float64[N, 4] in pixels, and whose they are."""

    boxes: Mapping[int, Boxes]
    people: Mapping[int, tuple[str, ...]]


@dataclass(slots=True)
class TrackScore:
    """``boxes`` drawn by hand in ``frames`` frames, of ``people``; ``found`` with an id on them.

    ``switches``: a person's id is not the one that was last on them. ``fragments``: a person is
    found again after a frame in which they were not. ``ids`` on people; ``false`` boxes on none.
    """

    frames: int = 0
    people: int = 0
    boxes: int = 0
    found: int = 0
    switches: int = 0
    fragments: int = 0
    false: int = 0
    ids: set[int] = field(default_factory=set)


def truth_of(recording: Path) -> Path | None:
    """Where the identities of a recording are, if they are drawn."""
    path = recording.with_suffix(".tracks.json")
    return path if path.is_file() else None


def read_truth(path: Path) -> Truth:
    """Read the identities of a clip.

    Raises:
        EdgecamError: the file cannot be read or is none of ours.
    """
    try:
        frames = json.loads(path.read_text("utf-8"))["frames"]
        boxes = {f["frame"]: np.array(list(f["boxes"].values()), np.float64) for f in frames}
        return Truth(boxes, {f["frame"]: tuple(f["boxes"]) for f in frames})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgecamError(f"{path}: expected the identities of a clip, found: {error}") from None


class TrackScorer:
    """Is shown every result of a clip, in order."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._last_id: dict[str, int] = {}
        self._was_found: dict[str, bool] = {}
        people = {name for names in truth.people.values() for name in names}
        self.score = TrackScore(people=len(people))

    def publish(self, result: Result) -> None:
        """Look at the frame if its people are drawn."""
        expected = self._truth.boxes.get(result.frame.sequence)
        if expected is None:
            return
        ids, boxes = _tracked_people(result)
        pairs = dict(greedy(iou(expected, boxes), MATCH_IOU))
        self.score.frames += 1
        self.score.boxes += len(expected)
        self.score.found += len(pairs)
        self.score.false += len(ids) - len(pairs)
        for row, name in enumerate(self._truth.people[result.frame.sequence]):
            self._follow(name, ids[pairs[row]] if row in pairs else None)

    def _follow(self, name: str, track: int | None) -> None:
        if track is not None:
            self.score.ids.add(track)
            self.score.switches += self._last_id.get(name, track) != track
            self.score.fragments += not self._was_found.get(name, True)
            self._last_id[name] = track
        if name in self._last_id:
            self._was_found[name] = track is not None

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return {}

    def close(self) -> None:
        """Nothing is open."""


def _tracked_people(result: Result) -> tuple[list[int], Boxes]:
    people = result.poses or [d for d in result.detections if d.label == PERSON]
    known = [(item.track, item) for item in people if item.track is not None]
    return [track for track, _ in known], boxes_of([item for _, item in known])


def line(score: TrackScore) -> str:
    """The same in words."""
    return (
        f"{score.found} of {score.boxes} drawn boxes of {score.people} people found, "
        f"{score.switches} identity switches, {score.fragments} fragments, "
        f"{len(score.ids)} ids on people, {score.false} on no person"
    )
