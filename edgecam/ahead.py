"""A recording that is looked at by crops: the next picture is made while one is inferred.

Where to look is told by the frame before the last, so that the interpreter need not wait for what
was found in the last one. Reading and publishing run beside it, a batch at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from queue import Empty, SimpleQueue
from typing import Any

from edgecam.attention import Attention
from edgecam.batches import batch as batch_of
from edgecam.batches import frames_of_a_batch
from edgecam.look import Answer, Request, Steps, answer
from edgecam.pipeline import BEAT_S, Pipeline
from edgecam.slots import Finished, Queue
from edgecam.types import Frame, Result


@dataclass(slots=True, eq=False)
class _UnderWay:
    """A frame whose look waits for an answer, or has its ``result``."""

    steps: Steps[Result]
    answers: SimpleQueue[Answer] = field(default_factory=SimpleQueue)
    result: Result | None = None
    decides: bool = False


class AheadPipeline(Pipeline):
    """Every frame, in order, nothing dropped: the same bytes on every run."""

    def __init__(self, attention: Attention, *arguments: Any) -> None:
        self._attention = attention
        super().__init__(*arguments)

    def _stages(self) -> Mapping[str, Callable[[], None]]:
        self._read: Queue[list[Frame]] = Queue(1)
        self._asked: SimpleQueue[tuple[Request, SimpleQueue[Answer]] | None] = SimpleQueue()
        self._looked: Queue[list[Result]] = Queue(1)
        # One frame first, for the first result should not wait; then what it took says how many.
        self._batch_frames = 1
        return {
            "capture": self._capture,
            "look": self._look,
            "infer": self._infer,
            "publish": self._publish,
        }

    def counters(self) -> Mapping[str, int]:
        """How many frames each stage looked at or left out."""
        return self._attention.counters()

    def _abort(self) -> None:
        for slot in (self._read, self._looked):
            slot.abort()
        self._asked.put(None)

    def _wanted(self) -> int:
        # Looks that must keep their distance are not to be waited for in one go.
        return 1 if self._interval_s() > 0.0 else self._batch_frames

    def _capture(self) -> None:
        frames = self._captured()
        while batch := batch_of(frames, self._wanted(), lambda frame: frame):
            self._read.put(batch)
        self._read.finish()

    def _captured(self) -> Iterator[Frame]:
        frames = iter(self._source.frames(lambda: self.heartbeats.beat("capture")))
        for frame in islice(frames, self._max_frames):
            if self._done.is_set():
                return
            self._meter.captured(time.monotonic())
            self.heartbeats.beat("capture")
            yield frame

    def _frames(self) -> Iterator[Frame]:
        while True:
            try:
                batch = self._read.get(BEAT_S)
            except Finished:
                return
            self.heartbeats.beat("look")
            yield from batch or ()

    def _look(self) -> None:
        results = self._results()
        while batch := batch_of(results, self._wanted(), attrgetter("frame")):
            self._looked.put(batch)
        self._asked.put(None)
        self._looked.finish()

    def _results(self) -> Iterator[Result]:
        before: _UnderWay | None = None
        began_s = 0.0
        for frame in self._frames():
            may = self.turns.take(frame)
            if not any(may):
                self._release(frame)
                continue
            self._wait_for_turn(began_s, "look")
            began_s = time.monotonic()
            now = self._begin(frame, may)
            if before is not None:
                yield from self._ended(before)
            before = None if now.decides else now
            if now.decides:
                yield from self._ended(now)
        if before is not None:
            yield from self._ended(before)

    def _begin(self, frame: Frame, may: Sequence[bool]) -> _UnderWay:
        begun = _UnderWay(self._attention.look(frame, may, self._options()))
        self._go_on(begun, None)
        return begun

    def _go_on(self, look: _UnderWay, answered: Answer | None) -> None:
        try:
            request = next(look.steps) if answered is None else look.steps.send(answered)
        except StopIteration as end:
            look.result = end.value
            return
        look.decides = request.decides
        self._asked.put((request, look.answers))

    def _ended(self, look: _UnderWay) -> Iterator[Result]:
        """The result of a look; nothing after a stop."""
        while look.result is None and not self._done.is_set():
            with suppress(Empty):
                self._go_on(look, look.answers.get(timeout=BEAT_S))
            self.heartbeats.beat("look")
        if look.result is not None:
            yield look.result

    def _infer(self) -> None:
        while not self._done.is_set():
            self.heartbeats.beat("infer")
            try:
                asked = self._asked.get(timeout=BEAT_S)
            except Empty:
                continue
            if asked is None:
                return
            request, answers = asked
            found = answer(request, self._invoke)
            self._batch_frames = frames_of_a_batch(found.invoke_ms)
            self._meter.inferred(time.monotonic())
            answers.put(found)

    def _publish(self) -> None:
        while True:
            try:
                batch = self._looked.get(BEAT_S)
            except Finished:
                break
            self.heartbeats.beat("publish")
            for result in batch or ():
                if not self._done.is_set():
                    self._publish_one(result)
                    self.heartbeats.beat("publish")
        self._done.set()
