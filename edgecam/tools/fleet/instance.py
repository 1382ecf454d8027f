"""What is known of one instance from its messages alone, as another program sees it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

import msgspec

from edgecam.core.keypoints import PERSON
from edgecam.messages.result import ResultMessage
from edgecam.messages.telemetry import Telemetry
from edgecam.messages.topics import Topics

RATE_WINDOW_S = 3.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``fps`` over the last seconds; ``age_s`` since the last result; None is "not known yet"."""

    name: str
    available: str | None
    results: int
    fps: float
    people: int | None
    boxes: int | None
    latency_ms: float | None
    age_s: float | None
    telemetry: Telemetry | None
    counts: dict[str, int]


@dataclass(slots=True)
class Summary:
    """All results since the start: how many, and the fewest and most people in one."""

    results: int = 0
    fewest: int | None = None
    most: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))


def people_in(result: ResultMessage) -> int:
    """Poses, or boxes of people where a box model sees more of them."""
    return max(len(result.poses), sum(box.label == PERSON for box in result.detections))


class Watch:
    """Takes an instance's messages, on any thread, and says what they add up to."""

    def __init__(self, name: str) -> None:
        self.topics = Topics(name)
        self.summary = Summary()
        self._name = name
        self._lock = threading.Lock()
        self._arrivals_s: deque[float] = deque()
        self._last: ResultMessage | None = None
        self._available: str | None = None
        self._telemetry: Telemetry | None = None
        self._counts: dict[str, int] = {}
        self._results = msgspec.json.Decoder(ResultMessage)
        self._reports = msgspec.json.Decoder(Telemetry)

    def take(self, topic: str, payload: bytes, now_s: float) -> None:
        """Take a message; raises msgspec.DecodeError where it does not follow the format."""
        with self._lock:
            if topic == self.topics.result:
                self._take_result(self._results.decode(payload), now_s)
            elif topic == self.topics.telemetry:
                self._telemetry = self._reports.decode(payload)
            elif topic == self.topics.availability:
                self._available = payload.decode()
            elif topic.startswith(f"{self.topics.base}/count/"):
                self._counts[topic.rpartition("/")[2]] = int(payload)

    def _take_result(self, result: ResultMessage, now_s: float) -> None:
        self._last = result
        self._arrivals_s.append(now_s)
        summary, people = self.summary, people_in(result)
        summary.results += 1
        summary.fewest = people if summary.fewest is None else min(summary.fewest, people)
        summary.most = max(summary.most, people)
        if isinstance(result.age_ms, float):
            summary.latencies_ms.append(result.age_ms)

    def snapshot(self, now_s: float) -> Snapshot:
        """The state at ``now_s`` (monotonic seconds)."""
        with self._lock:
            arrivals_s, last = self._arrivals_s, self._last
            while len(arrivals_s) > 1 and arrivals_s[0] < now_s - RATE_WINDOW_S:
                arrivals_s.popleft()
            span_s = now_s - arrivals_s[0] if arrivals_s else 0.0
            return Snapshot(
                name=self._name,
                available=self._available,
                results=self.summary.results,
                fps=(len(arrivals_s) - 1) / span_s if span_s > 0 else 0.0,
                people=people_in(last) if last else None,
                boxes=len(last.detections) if last else None,
                latency_ms=last.age_ms if last and isinstance(last.age_ms, float) else None,
                age_s=now_s - arrivals_s[-1] if arrivals_s else None,
                telemetry=self._telemetry,
                counts=dict(self._counts),
            )
