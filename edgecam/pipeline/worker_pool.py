"""A recording on several interpreters: workers that each carry frames all the way.

Handing a picture from thread to thread costs a wake-up and its place in the core's cache at every
step. Here a worker reads the next frames, prepares, infers and decodes them by itself, on an
interpreter of its own. Only reading, and publishing in order, are done by one worker at a time.

It takes a batch of frames at a time, and does each step for all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from edgecam.core.queues import InOrder
from edgecam.core.result import EdgecamError, Frame, Image, Result
from edgecam.inference.model import Model
from edgecam.pipeline.base import BEAT_S, Pipeline
from edgecam.pipeline.batching import Look, frames_of_a_batch
from edgecam.pipeline.batching import batch as batch_of

# Batches under way beyond the one that each worker works on: one that waits to be published.
WAITING_BATCHES = 1


class LanesPipeline(Pipeline):
    """Every frame, in order, nothing dropped: the same bytes on every run.

    Two frames at once on one thread each keep two cores busier than two threads on one frame do.
    """

    def _stages(self) -> Mapping[str, Callable[[], None]]:
        workers = min(model.lanes for model in self._models)
        self._reading = threading.Lock()
        self._room = threading.BoundedSemaphore(workers + WAITING_BATCHES)
        self._in_order: InOrder[tuple[list[Result], bool]] = InOrder(self._publish_next)
        self._read = self._batches = 0
        # One frame first, for the first result should not wait; then what it took says how many.
        self._batch_frames = 1
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
        buffers: list[list[Image]] = []
        while (numbered := self._next(name)) is not None:
            number, batch = numbered
            # Behind the first frame: the first result should not wait for it, a single picture
            # never needs it.
            if not models:
                models = [model.twin() if twins else model for model in self._models]
            while len(buffers) < len(batch):
                buffers.append([model.buffer() for model in self._models])
            results, is_last = self._carry(batch, buffers, models, name)
            if self._done.is_set():
                break
            self._in_order.put(number, (results, is_last))
        self._leave()

    def _carry(
        self,
        batch: Sequence[Look],
        buffers: Sequence[Sequence[Image]],
        models: Sequence[Model],
        name: str,
    ) -> tuple[list[Result], bool]:
        """The results of a batch, and whether none may follow: no model works any more.

        They are fewer then, or after a stop.
        """
        prepared = [
            self._prepare_one(frame, pixels, looks)
            for (frame, looks), pixels in zip(batch, buffers, strict=False)
        ]
        inferred, is_last = [], False
        for one, (_, looks) in zip(prepared, batch, strict=True):
            if self._done.is_set():
                break
            try:
                inferred.append(self._infer_one(one, models, looks, name))
            except EdgecamError as error:
                self._fail(error)
                is_last = True
                break
            self._batch_frames = frames_of_a_batch(sum(inferred[-1].invoke_ms))
        return [self._decode_one(one) for one in inferred], is_last

    def _next(self, name: str) -> tuple[int, list[Look]] | None:
        """The next batch and its number, or None behind the last frame or after a stop."""
        if not self._acquire(self._room, name):
            return None
        if not self._acquire(self._reading, name):
            return None
        try:
            if self._frames is None:
                self._frames = self._captured(name)
            self._wait_for_turn(self._began_s, name)
            # Invokes that must keep their distance are not to come in one go.
            wanted = 1 if self._interval_s() > 0.0 else self._batch_frames
            batch = batch_of(self._looks(self._frames, name), wanted)
            if not batch or self._done.is_set():
                return None
            self._batches += 1
            return self._batches - 1, batch
        finally:
            self._reading.release()

    def _looks(self, frames: Iterator[Frame], name: str) -> Iterator[Look]:
        """The frames that a model looks at, as far as the end or a stop."""
        while not self._done.is_set() and self._read != self._max_frames:
            frame = next(frames, None)
            if frame is None:
                return
            self._began_s = time.monotonic()
            self._meter.captured(self._began_s)
            self.heartbeats.beat(name)
            self._read += 1
            looks = self.turns.take(frame)
            if any(looks):
                yield frame, looks

    def _acquire(self, lock: threading.Lock | threading.Semaphore, name: str) -> bool:
        while not lock.acquire(timeout=BEAT_S):
            if self._done.is_set():
                return False
            self.heartbeats.beat(name)
        return True

    def _publish_next(self, batch: tuple[Sequence[Result], bool]) -> None:
        results, is_last = batch
        for result in results:
            if not self._done.is_set():
                self._publish_one(result)
                # One may publish for all others as long as a sink is what is slow.
                self.heartbeats.beat(threading.current_thread().name)
        if is_last:
            self._done.set()
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
