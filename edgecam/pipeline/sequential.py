"""Frames that are looked at one after another, since each says how to look at the next.

Reading ahead and publishing behind run beside it, each on its own thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgecam.core.queues import Finished, Latest, Queue, Slot
from edgecam.core.result import EdgecamError, Frame, Result
from edgecam.pipeline.roi.controller import Attention
from edgecam.pipeline.roi.inference_steps import walk
from edgecam.pipeline.staged import StagedPipeline


class AttentivePipeline(StagedPipeline):
    """A live source's newest frame, or a recording's every frame, under ``attention``."""

    def __init__(self, attention: Attention, *arguments: Any) -> None:
        self._attention = attention
        super().__init__(*arguments)

    def _stages(self) -> Mapping[str, Callable[[], None]]:
        self._frames: Slot[Frame] = Latest() if self._source.live else Queue(2)
        self._looked: Queue[Result] = Queue(2)
        return {"capture": self._capture, "look": self._look, "publish": self._publish}

    @property
    def dropped(self) -> int:
        """Frames that a newer one overtook before they were looked at."""
        return self._frames.dropped if isinstance(self._frames, Latest) else 0

    def counters(self) -> Mapping[str, int]:
        """How many frames each stage looked at or left out."""
        return self._attention.counters()

    def _slots(self) -> Sequence[Slot[Any]]:
        return self._frames, self._looked

    def _look(self) -> None:
        began_s = 0.0
        while True:
            self._wait_while_paused("look")
            self._wait_for_turn(began_s, "look")
            try:
                frame = self._next(self._frames, "look")
            except Finished:
                return self._looked.finish()
            may = self.turns.take(frame)
            if not any(may):
                self._release(frame)
                continue
            looked_s = time.monotonic()
            try:
                result = walk(self._attention.look(frame, may, self._options()), self._invoke)
            except EdgecamError as error:
                return self._break_off(error)
            if not result.repeated:
                # What costs nothing need not be waited for on a hot board.
                began_s = looked_s
                self._meter.inferred(time.monotonic())
            self._looked.put(result)

    def _publish(self) -> None:
        while self._published != self._max_frames:
            try:
                result = self._next(self._looked, "publish")
            except Finished:
                break
            self._publish_one(result)
        self._done.set()
