"""Pictures of each label from a camera: a countdown, then one every so often."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.core.protocols import Source
from edgecam.tools.train.labelled_images import TeachError

# A line for the person, and whether it is to stay when the next one comes.
Say = Callable[[str, bool], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """``count`` pictures of a label, ``rate_hz`` of them a second, after ``countdown_s``."""

    count: int = 100
    rate_hz: float = 10.0
    countdown_s: float = 3.0


def capture(
    source: Source, labels: Sequence[str], plan: Plan, say: Say
) -> Iterator[tuple[int, Frame]]:
    """Yield the number of the label and a frame, label after label; ``say`` gets what to do.

    Raises:
        TeachError: the source ends before it has shown every label.
    """
    stream = source.frames()
    for number, label in enumerate(labels):
        taken = 0
        for taken, frame in enumerate(_after_countdown(stream, label, plan, say), 1):
            yield number, frame
            say(f"{label}: {taken} of {plan.count}", taken == plan.count)
            if taken == plan.count:
                break
        else:
            raise TeachError(
                f"{source.description} ended with {taken} of {plan.count} pictures of {label!r}; "
                "give a longer one, or fewer --pictures"
            )


def _after_countdown(stream: Iterator[Frame], label: str, plan: Plan, say: Say) -> Iterator[Frame]:
    begin_s: float | None = None
    due_s = 0.0
    shown = 0
    for frame in stream:
        if begin_s is None:
            begin_s = due_s = frame.captured_s + plan.countdown_s
        left_s = begin_s - frame.captured_s
        if left_s > 0.0:
            if math.ceil(left_s) != shown:
                shown = math.ceil(left_s)
                say(f"{label} in {shown} ...", False)
        elif frame.captured_s >= due_s:
            # A camera that is slower than asked gives each frame, none twice.
            due_s = max(due_s + 1.0 / plan.rate_hz, frame.captured_s)
            yield frame


class Album:
    """Keeps captured pictures as JPEGs, a folder for each label, so that they can be taught again.

    Raises:
        TeachError: a folder cannot be made, or holds pictures already.
    """

    def __init__(self, folder: Path, labels: Sequence[str]) -> None:
        self._folders = [folder / label for label in labels]
        for path in self._folders:
            try:
                path.mkdir(parents=True, exist_ok=True)
                is_empty = not any(path.iterdir())
            except OSError as error:
                raise TeachError(f"--keep {path}: {error.strerror or error}") from None
            if not is_empty:
                raise TeachError(f"--keep {path}: it holds files already; name another folder")

    def add(self, number: int, frame: Frame) -> None:
        """Write a picture of the label of that number.

        Raises:
            TeachError: it cannot be written.
        """
        path = self._folders[number] / f"{frame.sequence:06}.jpg"
        _, encoded = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        try:
            path.write_bytes(encoded.tobytes())
        except OSError as error:
            raise TeachError(f"cannot write {path}: {error.strerror or error}") from None
