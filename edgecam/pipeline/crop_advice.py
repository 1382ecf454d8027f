"""What is said once where a model made for the square around one person looks at whole frames."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from edgecam.core.result import Pose, Result
from edgecam.inference.model import Model
from edgecam.pipeline.roi.person_square import box_of

# One person fills the frame who is so high or wide, as a share of it.
_FILLS = 0.5

log = logging.getLogger(__name__)


class CropAdvice:
    """Hands results on to ``analyse``; warns at the first person who does not fill the frame."""

    def __init__(self, models: Sequence[Model], analyse: Callable[[Result], Result]) -> None:
        names = [each.name for each in models if each.for_crops and not each.refines]
        self._names, self._analyse = names, analyse

    def __call__(self, result: Result) -> Result:
        """Return what ``analyse`` makes of the result."""
        for name in list(self._names):
            part = result.by_model.get(name)
            if part is not None and any(not _fills(pose, result) for pose in part.poses):
                self._names.remove(name)
                log.warning(
                    "%s is made for the square around one person, and sees little of a whole "
                    "frame; let another model find people: --model posenet --refine %s",
                    *(name, name),
                )
        return self._analyse(result)


def _fills(pose: Pose, result: Result) -> bool:
    box = box_of(pose)
    width_px, height_px = (box[2:] - box[:2]).tolist()
    frame = result.frame
    return bool(width_px >= _FILLS * frame.width_px or height_px >= _FILLS * frame.height_px)
