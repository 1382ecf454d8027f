"""A recording on several interpreters: workers that each carry a frame all the way.

Handing a picture from thread to thread costs a wake-up and its place in the core's cache at every
step. Here a worker reads the next frame, prepares, infers and decodes it by itself, on an
interpreter of its own. Only reading, and publishing in order, are done by one worker at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from edgecam.model import Model
from edgecam.pipeline import BEAT_S, Pipeline
from edgecam.slots import InOrder
from edgecam.types import Frame, Result

# Frames that may be under way for each worker: one that it works on, one that waits for its turn
# to be published.
FRAMES_OF_A_WORKER = 2


class LanesPipeline(Pipeline):
    """Every frame, in order, nothing dropped: the same bytes on every run.

    Two frames at once on one thread each keep two cores busier than two threads on one frame do.
    """

    def _stages(self) -> Mapping[str, Callable[[], None]]:
        workers = min(model.lanes for model in self._models)
        self._reading = threading.Lock()
        self._room = threading.BoundedSemaphore(FRAMES_OF_A_WORKER * workers)
        self._in_order: InOrder[Result] = InOrder(self._publish_next)
        self._read = 0
        self._numbered = 0
        self._began_s = 0.0
        self._left = workers
        self._frames: Iterator[Frame] | None = None
        return {
            f"worker-{number}": partial(self._work, f"worker-{number}", twins=number > 0)
            for number in range(workers)
        }

    def _abort(self) -> None:
        """The workers look at ``_done`` wherever they wait."""
        self._done.set()

    def _work(self, name: str, twins: bool) -> None:
        models: list[Model] = []
        buffers = [model.buffer() for model in self._models]
        while (numbered := self._next(name)) is not None:
            number, frame, looks = numbered
            # Behind the first frame: the first result should not wait for it, a single picture
            # never needs it.
            if not models:
                models = [model.twin() if twins else model for model in self._models]
            prepared = self._prepare_one(frame, buffers, looks)
            inferred = self._infer_one(prepared, models, looks, name)
            self._in_order.put(number, self._decode_one(inferred))
        self._leave()

    def _next(self, name: str) -> tuple[int, Frame, Sequence[bool]] | None:
        """The next frame that a model looks at, its number among these, and which models do.

        None behind the last one or after a stop.
        """
        if not self._acquire(self._room, name):
            return None
        if not self._acquire(self._reading, name):
            return None
        try:
            if self._frames is None:
                self._frames = iter(self._source.frames(lambda: self.heartbeats.beat(name)))
            self._wait_for_turn(self._began_s, name)
            while (frame := self._frame(self._frames, name)) is not None:
                looks = self.turns.take(frame)
                if any(looks):
                    self._began_s = time.monotonic()
                    self._numbered += 1
                    return self._numbered - 1, frame, looks
            return None
        finally:
            self._reading.release()

    def _frame(self, frames: Iterator[Frame], name: str) -> Frame | None:
        ended = self._done.is_set() or self._read == self._max_frames
        frame = None if ended else next(frames, None)
        if frame is None or self._done.is_set():
            return None
        self._meter.captured(time.monotonic())
        self.heartbeats.beat(name)
        self._read += 1
        return frame

    def _acquire(self, lock: threading.Lock | threading.Semaphore, name: str) -> bool:
        while not lock.acquire(timeout=BEAT_S):
            if self._done.is_set():
                return False
            self.heartbeats.beat(name)
        return True

    def _publish_next(self, result: Result) -> None:
        if not self._done.is_set():
            self._publish_one(result)
        self._room.release()

    def _leave(self) -> None:
        """The last worker to end has seen everything published."""
        with self._reading:
            self._left -= 1
            if self._left:
                return
            # What reads a file closes it when its iterator ends, also before the last frame.
            self._frames = None
        self._done.set()
