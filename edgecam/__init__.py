"""Camera pose and detection on small boards: TFLite models, MQTT out.

From Python: ``edgecam.results`` iterates over a source, ``edgecam.Predictor`` looks at pictures.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgecam.core.version import __version__

if TYPE_CHECKING:
    from edgecam.api import Finder as Finder
    from edgecam.api import Predictor, Results, results
    from edgecam.core.errors import EdgecamError
    from edgecam.core.events import Event, Insight
    from edgecam.core.frame import Frame
    from edgecam.core.keypoints import Keypoint, Skeleton
    from edgecam.core.result import Box, Classification, Detection, Document, Pose, Result

# Imported when it is first asked for: the command line has no use for it.
_HOMES = {
    "api": ("Finder", "Predictor", "Results", "results"),
    "core.errors": ("EdgecamError",),
    "core.events": ("Event", "Insight"),
    "core.keypoints": ("Keypoint", "Skeleton"),
    "core.frame": ("Frame",),
    "core.result": ("Box", "Classification", "Detection", "Document", "Pose", "Result"),
}

__all__ = [
    "Box",
    "Classification",
    "Detection",
    "Document",
    "EdgecamError",
    "Event",
    "Frame",
    "Insight",
    "Keypoint",
    "Pose",
    "Predictor",
    "Result",
    "Results",
    "Skeleton",
    "__version__",
    "results",
]


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'edgecam' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgecam.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
