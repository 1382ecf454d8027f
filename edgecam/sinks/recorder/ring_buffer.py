"""The last seconds of results in memory, and what was known before the first of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

from edgecam.analysis.checkpoint import Checkpoint
from edgecam.sinks.recorder.file import FrameRecord


@dataclass(slots=True)
class _Stretch:
    """Frames with how far into the run each was, and what the analysis knew before the first."""

    checkpoint: Checkpoint
    frames: list[tuple[float, FrameRecord]] = field(default_factory=list)


class RingBuffer:
    """The last ``before_s`` seconds and a little more: it begins where there is a checkpoint.

    Its clock is that of the frames, but never goes back, as that of a looped recording does.
    """

    def __init__(self, before_s: float, checkpoint: Checkpoint) -> None:
        self._before_s, self._step_s = before_s, max(0.5, before_s / 4.0)
        self._stretches = deque([_Stretch(checkpoint)])
        self._last_s: float | None = None
        self.elapsed_s = 0.0

    def add(self, record: FrameRecord, checkpoint: Callable[[], Checkpoint], trim: bool) -> None:
        """Append a frame; ``checkpoint`` tells what is known behind it. Forget old ones or not."""
        if self._last_s is not None:
            self.elapsed_s += max(0.0, record.time_s - self._last_s)
        self._last_s = record.time_s
        newest = self._stretches[-1]
        newest.frames.append((self.elapsed_s, record))
        if self.elapsed_s - newest.frames[0][0] >= self._step_s:
            self._stretches.append(_Stretch(checkpoint()))
        while trim and len(self._stretches) > 1 and self._second_starts_early():
            self._stretches.popleft()

    def _second_starts_early(self) -> bool:
        frames = self._stretches[1].frames
        return bool(frames) and frames[0][0] <= self.elapsed_s - self._before_s

    @property
    def begins_s(self) -> float:
        """Time of the oldest frame that is kept."""
        frames = self._stretches[0].frames
        return frames[0][0] if frames else self.elapsed_s

    def contents(self) -> tuple[Checkpoint, list[FrameRecord]]:
        """What was known before the first frame, and the frames."""
        frames = chain.from_iterable(stretch.frames for stretch in self._stretches)
        return self._stretches[0].checkpoint, [record for _, record in frames]
