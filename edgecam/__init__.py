"""Camera pose and detection on small boards: TFLite models, MQTT out.

From Python: ``edgecam.results`` iterates over a source, ``edgecam.Finder`` looks at pictures.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgecam.core.version import __version__

if TYPE_CHECKING:
    from edgecam.api import Finder, Results, results
    from edgecam.core.errors import EdgecamError
    from edgecam.core.result import Box, Detection, Frame, Keypoint, Pose, Result

# Imported when it is first asked for: the command line has no use for it.
_HOMES = {
    "api": ("Finder", "Results", "results"),
    "core.errors": ("EdgecamError",),
    "core.result": ("Box", "Detection", "Frame", "Keypoint", "Pose", "Result"),
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
    "__version__",
    "results",
]


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'edgecam' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgecam.{home}"), name)
