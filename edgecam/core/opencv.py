"""The one place that imports OpenCV: quiet, and with a remedy where it cannot be loaded."""

from __future__ import annotations

import os

from edgecam.core.errors import EdgecamError
from edgecam.core.native_loading import loading
from edgecam.core.picture_bounds import MAX_MEGAPIXELS

# Read by OpenCV when it is loaded and when it opens a stream. FFmpeg and OpenCV otherwise print
# their own lines on stderr, with the password of a camera's URL in them.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

# A bound beneath edgecam's own, should a decoder read a size where edgecam read another.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_MEGAPIXELS * 1_000_000))

# Qt complains about fonts that opencv-python does not bring, once for every window.
os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")

try:
    with loading("cv2"):
        import cv2
except ImportError as error:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "No module named" in reason:
        remedy = "pip install opencv-python"
    else:
        remedy = (
            "apt install libgl1 libglib2.0-0 libxcb1 libsm6 libxext6, or without a window: "
            "pip uninstall opencv-python && pip install opencv-python-headless"
        )
    raise EdgecamError(f"OpenCV cannot be loaded ({reason}); {remedy}") from error

# The interpreter wants every core: threads of OpenCV's own cost more to wake than they save at
# these picture sizes.
cv2.setNumThreads(1)

__all__ = ["cv2"]
