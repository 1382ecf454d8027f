"""The pipeline: capture, prepare, infer and publish, each with its thread.

Each stage takes from the slot before it and puts into the slot behind it, so that the interpreter
waits for nothing but a frame. Before it a live source's slots keep only the newest item, so that
it never sees an old one; a recording's keep every item, in order.

Where what a frame has shown decides how the next one is looked at (motion, crops), one stage,
``look``, stands in place of prepare and infer: it takes the frames one after another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from edgecam.core.errors import EdgecamError
from edgecam.core.frame import Frame, Image
from edgecam.core.queues import Finished, Latest, Queue, Slot
from edgecam.core.result import Result
from edgecam.pipeline.base import BEAT_S, Pipeline, Prepared

if TYPE_CHECKING:
    from edgecam.pipeline.roi.controller import RoiController
    from edgecam.pipeline.turned_step import TurnedStep

Item = TypeVar("Item")

# One set being prepared, one in the slot, one in the interpreter.
BUFFER_SETS = 3


class StagedPipeline(Pipeline):
    """A live source's newest frame as fast as the models can, or a recording's every frame.

    ``roi`` says which part of each frame is inferred; None: all of every frame. ``turned`` makes
    the turned looks; None: there are none.
    """

    def __init__(
        self,
        *arguments: Any,
        roi: RoiController | None = None,
        turned: TurnedStep | None = None,
        **others: Any,
    ) -> None:
        self._roi, self._turned = roi, turned
        super().__init__(*arguments, **others)

    def _stages(self) -> Mapping[str, Callable[[], None]]:
        live = self._source.live
        self._frames: Slot[Frame] = Latest() if live else Queue(2)
        self._prepared: Slot[Prepared] = Latest() if live else Queue(1)
        # Each is decoded, if need be, by the thread that publishes it.
        self._inferred: Queue[Callable[[], Result]] = Queue(2)
        self._buffers: SimpleQueue[Sequence[Image]] = SimpleQueue()
        if self._roi is not None:
            return {"capture": self._capture, "look": self._infer_regions, "publish": self._publish}
        for _ in range(BUFFER_SETS):
            self._buffers.put([model.buffer() for model in self._models])
        return {
            "capture": self._capture,
            "prepare": self._prepare,
            "infer": self._infer,
            "publish": self._publish,
        }

    @property
    def dropped(self) -> int:
        """Frames that a newer one overtook before they were inferred."""
        slots = (self._frames, self._prepared)
        return sum(slot.dropped for slot in slots if isinstance(slot, Latest))

    def counters(self) -> Mapping[str, int]:
        """How many frames motion and crops looked at or left out, and the turned looks."""
        found = {} if self._roi is None else dict(self._roi.counters())
        return found if self._turned is None else {**found, **self._turned.counters()}

    def _slots(self) -> Sequence[Slot[Any]]:
        """In the order in which a frame goes through them."""
        return self._frames, self._prepared, self._inferred

    def _abort(self) -> None:
        for slot in self._slots():
            slot.abort()
        if self._turned is not None:
            self._turned.end()

    def _capture(self) -> None:
        for frame in self._captured("capture"):
            self._meter.captured(time.monotonic())
            self.heartbeats.beat("capture")
            overtaken = self._frames.put(frame)
            if overtaken is not None:
                self._release(overtaken)
            # A live source may be overtaken, so there the published ones are counted.
            if not self._source.live and frame.sequence + 1 == self._max_frames:
                break
        self._frames.finish()

    def _next(self, slot: Slot[Item], stage: str) -> Item:
        while True:
            item = slot.get(BEAT_S)
            self.heartbeats.beat(stage)
            if item is not None:
                return item

    def _next_in_turn(self, slot: Slot[Item], stage: str) -> Item:
        """The next item once it is this camera's turn, so that it is the newest even then."""
        if self._turn is not None:
            while not slot.wait(BEAT_S):
                self.heartbeats.beat(stage)
            if not self._take(self._turn):
                raise Finished
        return self._next(slot, stage)

    def _asks_again(self, slot: Slot[Item]) -> bool:
        """Whether the next item of a slot will be taken at once: it is there, no stage waits."""
        if self._turned is not None or self._paused() or self._interval_s() > 0.0:
            return False
        is_gated = self._roi is not None and self._roi.has_gate
        return not is_gated and slot.holds > 0 and self._inferred.has_room

    def _wait_while_paused(self, stage: str) -> None:
        while (
            self._source.live
            and self._paused()
            and self._error is None
            and not self._done.wait(BEAT_S / 2)
        ):
            self.heartbeats.beat(stage)

    # A stage that waits holds no frame: of several cameras that share models most wait. So what is
    # done with a frame is a function of its own.

    def _prepare(self) -> None:
        while True:
            self._wait_while_paused("prepare")
            try:
                self._prepare_next()
            except Finished:
                return self._prepared.finish()

    def _prepare_next(self) -> None:
        frame = self._next(self._frames, "prepare")
        # A frame before it may still take a model's turn, so this is for more than will look.
        may = self.schedule.may(frame)
        if not any(may):
            self._release(frame)
            return
        displaced = self._prepared.put(self._prepare_one(frame, self._buffers.get(), may))
        if displaced is not None:
            self._recycle(displaced)
            self._release(displaced.frame)

    def _recycle(self, prepared: Prepared) -> None:
        self._buffers.put(prepared.buffers)

    def _infer(self) -> None:
        self._looks_on("infer", self._infer_next)

    def _infer_regions(self) -> None:
        self._looks_on("look", self._look_next)

    def _looks_on(self, stage: str, look_next: Callable[[float], float]) -> None:
        """Look at one frame after another; ``look_next`` gets and returns when a look began."""
        began_s = 0.0
        try:
            while True:
                # Before the frame is taken, so that it is the newest one.
                self._wait_for_rate(began_s, stage)
                began_s = look_next(began_s)
        except Finished:
            self._inferred.finish()
        except EdgecamError as error:
            self._break_off(error)

    def _infer_next(self, began_s: float) -> float:
        with self._one_turn(lambda: self._asks_again(self._prepared)):
            prepared = self._next_in_turn(self._prepared, "infer")
            looks = self.schedule.take(prepared.frame)
            if not any(looks):
                self._recycle(prepared)
                self._release(prepared.frame)
                return began_s
            began_s = time.monotonic()
            inferred = self._infer_one(prepared, self._models, looks, "infer")
        self._recycle(prepared)
        has_looked = [tensors is not None for tensors in inferred.tensors]
        self._send(prepared.frame, partial(self._decode_one, inferred), has_looked, "infer")
        return began_s

    def _look_next(self, began_s: float) -> float:
        # Whole frames have no use for it.
        from edgecam.pipeline.roi.inference_steps import run_steps

        roi = self._roi
        assert roi is not None
        # Where nothing moves no model is needed, so no turn is waited for to see whether it does.
        take_next = self._next if roi.has_gate else self._next_in_turn
        self._wait_while_paused("look")
        with self._one_turn(lambda: self._asks_again(self._frames)):
            frame = take_next(self._frames, "look")
            may = self.schedule.take(frame)
            if not any(may):
                self._release(frame)
                return began_s
            looked_s = time.monotonic()
            inferring = roi.infer(frame, may, self._options(), self._source.live)
            result = run_steps(inferring, self._invoke)
        if not result.repeated:
            # What costs nothing need not be waited for on a hot board.
            began_s = looked_s
            self._meter.inferred(time.monotonic())
        has_looked = [model.name in result.times for model in self._models]
        self._send(frame, partial(_as_it_is, result), has_looked, "look")
        return began_s

    def _send(
        self, frame: Frame, decode: Callable[[], Result], has_looked: Sequence[bool], stage: str
    ) -> None:
        """Hand a frame's result over, with what a turned look finds where it is time for one."""
        turned = self._turned
        if turned is None:
            self._inferred.put(decode)
            return
        while not turned.wait(BEAT_S):
            self.heartbeats.beat(stage)
            if self._done.is_set():
                return
        if turned.has_ended:
            return
        turned.begin()
        if not has_looked[turned.place]:
            self._inferred.put(decode)
            return
        with self._one_turn():
            add = turned.infer(frame, self._options(), self._invoke)
        self._inferred.put(lambda: add(decode()))

    def _followed(self, decoded: Result) -> Result | None:
        try:
            return super()._followed(decoded)
        finally:
            if self._turned is not None:
                self._turned.has_analysed()

    def _break_off(self, error: EdgecamError) -> None:
        """No model works any more: what was inferred still goes out."""
        self._fail(error)
        *before, inferred = self._slots()
        for slot in before:
            slot.abort()
        inferred.finish()

    def _publish(self) -> None:
        while self._published != self._max_frames:
            try:
                self._publish_next()
            except Finished:
                break
        self._done.set()

    def _publish_next(self) -> None:
        decode = self._next(self._inferred, "publish")
        self._publish_one(decode())


def _as_it_is(result: Result) -> Result:
    return result
