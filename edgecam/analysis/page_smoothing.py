"""Steadies the corners of a page from frame to frame.

A page is the same as before where it overlaps most of what was seen. Its corners then go through
the filter that keypoints go through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgecam.analysis.smoothing import OneEuro
from edgecam.core.quadrilateral import Corners, area, clockwise, overlap
from edgecam.core.result import Document

# Below this overlap it is another page, or the same one put elsewhere: no smoothing across.
SAME_OVERLAP = 0.6
_SURE = np.ones(4)


@dataclass(slots=True, eq=False)
class _Page:
    """``corners``: float64[4, 2], pixels, as last published."""

    corners: Corners
    last_s: float
    euro: OneEuro = field(default_factory=OneEuro)


class SteadyPages:
    """The pages that one model sees; ``max_age_s`` is how long one that is out of sight counts."""

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._pages: list[_Page] = []

    def __call__(self, found: Sequence[Document], now_s: float) -> tuple[Document, ...]:
        """The same pages, steadied; corners stay clockwise from the top left."""
        recent = (now_s - self._max_age_s, now_s)
        left = [page for page in self._pages if recent[0] <= page.last_s <= recent[1]]
        self._pages = []
        steadied = []
        for document in found:
            rated = [overlap(page.corners, document.corners) for page in left]
            best = int(np.argmax(rated)) if rated and max(rated) >= SAME_OVERLAP else None
            page = _Page(document.corners, now_s) if best is None else left.pop(best)
            # A page that turns would else swap all its corners at once.
            corners = _in_step(document.corners, page.corners)
            size_px = float(np.sqrt(area(corners)))
            page.corners = page.euro(corners, _SURE, size_px, now_s)
            page.last_s = now_s
            self._pages.append(page)
            steadied.append(replace(document, corners=clockwise(page.corners)))
        self._pages += left
        return tuple(steadied)


def _in_step(corners: Corners, before: Corners) -> Corners:
    """``corners`` beginning with the one that was first before."""
    turns = [np.roll(corners, turn, 0) for turn in range(4)]
    return min(turns, key=lambda turn: float(np.square(turn - before).sum()))
