"""A page in a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One page.

    ``corners``: float64[4, 2], pixel indices, clockwise from the corner nearest to the picture's
    top left; may lie outside the image. ``score``: 0..1.
    """

    score: float
    corners: NDArray[np.float64]
