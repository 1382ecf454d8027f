"""Last result of each model that has a rate of its own, for views that show every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgecam.analysis.tracker import boxes_of, centres
from edgecam.core.result import Box, Decoded, Detection, Pose, Result

# A model's part stands for so many of the distances between its last two looks.
GAPS = 2.5
# And so long where there were no two yet.
FIRST_GAP_S = 1.0
# Of so many cameras and models, together; a viewer that sees more of them sees none for long.
MAX_PARTS = 256


@dataclass(slots=True)
class _Last:
    part: Decoded
    at_s: float
    gap_s: float = FIRST_GAP_S
    before: Decoded | None = None

    def moved(self, now_s: float) -> Decoded:
        """The part with each pose and box where its track is by now, at the pace of two looks."""
        age_s = now_s - self.at_s
        if self.before is None or self.gap_s <= 0.0 or age_s <= 0.0:
            return self.part
        earlier: dict[int | None, Box] = {
            found.track: found.box for found in self.before.detections if found.track is not None
        }
        share = min(1.0, age_s / self.gap_s)
        boxes = (_moved(found, earlier.get(found.track), share) for found in self.part.detections)
        posed: dict[int | None, Pose] = {
            pose.track: pose for pose in self.before.poses if pose.track is not None
        }
        poses = (_moved_pose(pose, posed.get(pose.track), share) for pose in self.part.poses)
        return replace(self.part, detections=tuple(boxes), poses=tuple(poses))


def _moved(found: Detection, earlier: Box | None, share: float) -> Detection:
    """The box further on by ``share`` of what it moved from ``earlier``; its size stays."""
    if earlier is None:
        return found
    now = found.box
    x = share * (now.x_min + now.x_max - earlier.x_min - earlier.x_max) / 2
    y = share * (now.y_min + now.y_max - earlier.y_min - earlier.y_max) / 2
    return replace(found, box=Box(now.x_min + x, now.y_min + y, now.x_max + x, now.y_max + y))


def _moved_pose(pose: Pose, earlier: Pose | None, share: float) -> Pose:
    """The pose further on by ``share`` of what its middle moved from ``earlier``."""
    if earlier is None or earlier.skeleton != pose.skeleton:
        return pose
    now, before = (centres(boxes_of([each]))[0] for each in (pose, earlier))
    return replace(pose, xy=pose.xy + share * (now - before))


class LastFound:
    """Poses and boxes that do not flicker: results with the parts of models that did not look.

    Such poses and boxes move with their tracks, and the result names their models as ``stale``.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str | None, str], _Last] = {}

    def __call__(self, result: Result) -> Result:
        """The result, and what each other model found a moment ago of the same camera."""
        now_s, camera = result.frame.time_s, result.frame.camera
        if len(self._last) >= MAX_PARTS:
            self._last.clear()
        for model, part in result.by_model.items():
            last = self._last.get((camera, model))
            gap_s = FIRST_GAP_S if last is None else max(0.0, now_s - last.at_s)
            before = None if last is None else last.part
            self._last[camera, model] = _Last(part, now_s, gap_s, before)
        parts = {
            model: last.moved(now_s)
            for (whose, model), last in self._last.items()
            if whose == camera and 0.0 <= now_s - last.at_s <= GAPS * last.gap_s
        }
        stale = frozenset(parts.keys() - result.by_model.keys())
        return replace(result, by_model=parts, stale=stale) if stale else result
