"""What a run came to, for the person who started it: a line now and then, and one at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from edgecam.core.keypoints import PERSON
from edgecam.core.result import Result
from edgecam.settings.schema import Settings
from edgecam.sinks import kinds_of

STATUS_INTERVAL_S = 10.0
NO_OUTPUT = (
    "no output is chosen, so nothing of what is seen goes anywhere: add --web for a live page, "
    "--show for a window, --jsonl - for lines here, or --broker HOST for MQTT"
)


def has_output(settings: Settings) -> bool:
    """Whether anything that the settings ask for takes the results."""
    return settings.recorder.enabled or any(
        kind.is_asked(settings) for kind in kinds_of(settings).values()
    )


class Tally:
    """A sink that counts; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._frames = self._events = self._now = 0
        self._fewest: int | None = None
        self._most = 0

    def publish(self, result: Result) -> None:
        """Count a frame, its people and its events."""
        people = _people(result)
        with self._lock:
            self._frames += 1
            self._now, self._most = people, max(self._most, people)
            self._fewest = people if self._fewest is None else min(self._fewest, people)
            if result.insight is not None:
                self._events += len(result.insight.events)

    def counters(self) -> Mapping[str, int]:
        """Return nothing: it drops nothing."""
        return {}

    def close(self) -> None:
        """Nothing is open."""

    def now(self) -> str:
        """What the last frame showed."""
        with self._lock:
            return f"{_counted(self._frames, 'frame')}, {self._now} people"

    def summary(self) -> str:
        """What all of it was."""
        took_s = time.monotonic() - self._began_s
        with self._lock:
            text = f"{_counted(self._frames, 'frame')} in {took_s:.1f} s"
            if self._frames:
                text += f" ({self._frames / took_s:.1f} a second), "
                text += f"{self._fewest} to {self._most} people"
            if self._events:
                text += f", {_counted(self._events, 'event')}"
        return text


def _people(result: Result) -> int:
    """As the counts have it; of what is not tracked, what the models found."""
    if result.insight is not None:
        return result.insight.counts.get(PERSON, 0)
    return max(len(result.poses), sum(box.label == PERSON for box in result.detections))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
