"""A recording on one thread of inference: one thread infers, another does everything else.

The first does nothing but fill, invoke and read. The second reads, prepares, decodes and publishes
a batch at a time, and hands over the next batch before the one that is inferred ends. So an invoke
begins as soon as the one before it has ended, and what is done beside it stays in its own core's
cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TypeVar

from edgecam.core.result import EdgecamError, Image
from edgecam.pipeline.base import BEAT_S, Inferred, Pipeline, Prepared
from edgecam.pipeline.batching import Look, frames_of_a_batch
from edgecam.pipeline.batching import batch as batch_of

Item = TypeVar("Item")

# One that is inferred, one that waits for it to end.
BATCHES_UNDER_WAY = 2


class RelayPipeline(Pipeline):
    """Every frame, in order, nothing dropped: the same bytes on every run."""

    def _stages(self) -> Mapping[str, Callable[[], None]]:
        self._prepared: SimpleQueue[list[Prepared] | None] = SimpleQueue()
        self._inferred: SimpleQueue[list[Inferred] | None] = SimpleQueue()
        # One frame first, for the first result should not wait; then what it took says how many.
        self._batch_frames = 1
        return {"infer": self._infer, "work": self._work}

    def _abort(self) -> None:
        self._prepared.put(None)
        self._inferred.put(None)

    def _next(self, batches: SimpleQueue[list[Item] | None], stage: str) -> list[Item] | None:
        while not self._done.is_set():
            try:
                batch = batches.get(timeout=BEAT_S)
            except Empty:
                self.heartbeats.beat(stage)
                continue
            self.heartbeats.beat(stage)
            return batch
        return None

    def _infer(self) -> None:
        began_s, every = 0.0, [True] * len(self._models)
        while (batch := self._next(self._prepared, "infer")) is not None:
            found: list[Inferred] = []
            for prepared in batch:
                self._wait_for_turn(began_s, "infer")
                if self._done.is_set():
                    return
                began_s = time.monotonic()
                try:
                    found.append(self._infer_one(prepared, self._models, every, "infer"))
                except EdgecamError as error:
                    self._fail(error)
                    self._inferred.put(found)
                    self._inferred.put(None)
                    return
            self._batch_frames = frames_of_a_batch(sum(found[-1].invoke_ms))
            self._inferred.put(found)

    def _work(self) -> None:
        free: list[Sequence[Image]] = []
        batches = self._batches(free)
        under_way = sum(self._hand_over(batches) for _ in range(BATCHES_UNDER_WAY))
        while under_way and (batch := self._next(self._inferred, "work")) is not None:
            free += [inferred.prepared.buffers for inferred in batch]
            # What is inferred next should not wait; but nor should the first result.
            goes_on = self._published > 0
            under_way += self._hand_over(batches) if goes_on else 0
            self._publish_all(batch)
            under_way += 0 if goes_on else self._hand_over(batches)
            under_way -= 1
        self._prepared.put(None)
        self._done.set()

    def _publish_all(self, batch: Sequence[Inferred]) -> None:
        for inferred in batch:
            if self._done.is_set():
                return
            self._publish_one(self._decode_one(inferred))
            self.heartbeats.beat("work")

    def _hand_over(self, batches: Iterator[list[Prepared]]) -> int:
        """Queue the next batch; 1, or 0 behind the last."""
        batch = next(batches, None)
        if batch is None:
            return 0
        self._prepared.put(batch)
        return 1

    def _batches(self, free: list[Sequence[Image]]) -> Iterator[list[Prepared]]:
        """Prepared frames, a batch at a time; in ``free`` are buffers that nobody needs."""
        looks = self._looks()
        # Invokes that must keep their distance are not to come in one go.
        while batch := batch_of(looks, 1 if self._interval_s() > 0.0 else self._batch_frames):
            yield [
                self._prepare_one(frame, free.pop() if free else self._new_buffers(), which)
                for frame, which in batch
            ]

    def _new_buffers(self) -> Sequence[Image]:
        return [model.buffer() for model in self._models]

    def _looks(self) -> Iterator[Look]:
        """The frames that a model looks at, and which do."""
        for frame in islice(self._captured("work"), self._max_frames):
            if self._done.is_set():
                return
            self._meter.captured(time.monotonic())
            self.heartbeats.beat("work")
            looks = self.turns.take(frame)
            if any(looks):
                yield frame, looks
