"""Camera pose and detection on small boards: TFLite models, MQTT out.

From Python: ``edgecam.results`` iterates over a source, ``edgecam.Finder`` looks at pictures.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecam.errors import EdgecamError
    from edgecam.library import Finder, Results, results
    from edgecam.types import Box, Detection, Frame, Keypoint, Pose, Result

__version__ = "0.1.0"

# Imported when it is first asked for: the command line has no use for it.
_HOMES = {
    "library": ("Finder", "Results", "results"),
    "errors": ("EdgecamError",),
    "types": ("Box", "Detection", "Frame", "Keypoint", "Pose", "Result"),
}

__all__ = [
    "Box",
    "Detection",
    "EdgecamError",
    "Finder",
    "Frame",
    "Keypoint",
    "Pose",
    "Result",
    "Results",
    "results",
]


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'edgecam' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgecam.{home}"), name)
