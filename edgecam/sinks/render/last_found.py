"""Last result of each model that has a rate of its own, for views that show every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgecam.core.result import Decoded, Result

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


class LastFound:
    """Boxes that do not flicker: results with the parts of the models that did not look now."""

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
            self._last[camera, model] = _Last(part, now_s, gap_s)
        parts = {
            model: last.part
            for (whose, model), last in self._last.items()
            if whose == camera and 0.0 <= now_s - last.at_s <= GAPS * last.gap_s
        }
        return result if parts.keys() == result.by_model.keys() else replace(result, by_model=parts)
