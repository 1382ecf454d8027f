"""An MP4 of a recording: its pictures, or stick figures on black, at the pace of the event."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.sinks.recorder.file import FrameRecord, RecordingError
from edgecam.sinks.render.snapshot import picture

# Pictures stand until the next one comes.
RATE_HZ = 10
# Where frames stopped to come, the video goes on after so long.
LONGEST_GAP_S = 5.0


def pictures_of(
    frames: Sequence[FrameRecord], jpegs: Mapping[int, bytes]
) -> Iterator[tuple[float, Image]]:
    """The recorded pictures with the time since the first frame, s."""
    for elapsed_s, record in _timed(frames):
        data = jpegs.get(record.sequence, record.jpeg)
        if data is not None:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if image is None:
                raise RecordingError(f"the picture of frame {record.sequence} is damaged")
            yield elapsed_s, image


def stick_figures_of(frames: Sequence[FrameRecord], width_px: int) -> Iterator[tuple[float, Image]]:
    """Poses on black with the time since the first frame, s."""
    due_s = 0.0
    for elapsed_s, record in _timed(frames):
        if elapsed_s >= due_s:
            due_s = elapsed_s + 1.0 / RATE_HZ
            yield elapsed_s, picture(record.result(), "skeleton", width_px)


def _timed(frames: Sequence[FrameRecord]) -> Iterator[tuple[float, FrameRecord]]:
    elapsed_s, last_s = 0.0, frames[0].time_s if frames else 0.0
    for record in frames:
        # The clock of a recording that is looped goes back in between.
        elapsed_s += min(LONGEST_GAP_S, max(0.0, record.time_s - last_s))
        last_s = record.time_s
        yield elapsed_s, record


def mp4(pictures: Iterable[tuple[float, Image]]) -> bytes:
    """The bytes of an MP4 (MPEG-4 Part 2, no sound), ``RATE_HZ`` frames a second.

    Raises:
        RecordingError: there is no picture, or this OpenCV writes no MP4.
    """
    writer, size, written = None, (0, 0), 0
    with tempfile.TemporaryDirectory(prefix="edgecam-") as folder:
        path = Path(folder) / "event.mp4"
        shown: Image | None = None
        for elapsed_s, image in pictures:
            if writer is None:
                # Codecs take even sides alone.
                size = (max(2, image.shape[1] // 2 * 2), max(2, image.shape[0] // 2 * 2))
                writer = _writer(path, size)
            while shown is not None and written < round(elapsed_s * RATE_HZ):
                writer.write(shown)
                written += 1
            fits = image.shape[1::-1] == size
            shown = image if fits else np.asarray(cv2.resize(image, size), np.uint8)
        if writer is None or shown is None:
            raise RecordingError("the recording has no pictures to make a video of")
        writer.write(shown)
        writer.release()
        return path.read_bytes()


def _writer(path: Path, size: tuple[int, int]) -> cv2.VideoWriter:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), float(RATE_HZ), size)
    if not writer.isOpened():
        raise RecordingError(
            "this OpenCV writes no MP4; the one of PyPI does: pip install opencv-python"
        )
    return writer
