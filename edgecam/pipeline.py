"""The stages and their threads: capture, prepare, infer, publish.

Each stage takes from the slot before it and puts into the slot behind it, so that the
interpreter waits for nothing but a frame. A live source's slots keep only the newest item; a
recording's keep every item, in order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecam.model import Model, Staged
from edgecam.slots import Finished, Latest, Queue, Slot
from edgecam.telemetry import Meter
from edgecam.types import Decoded, DecodeOptions, Frame, Image, Result, Sink, Source, StageTimes

Item = TypeVar("Item")

# How long a stage waits for its slot before it says again that it is alive.
BEAT_S = 0.5
# One set being prepared, one in the slot, one in the interpreter.
BUFFER_SETS = 3


@dataclass(slots=True, eq=False)
class _Prepared:
    """A frame on its way to the interpreter: per model, its pixels and what staging took."""

    frame: Frame
    staged: list[Staged]
    preprocess_ms: list[float]


@dataclass(slots=True, eq=False)
class _Inferred:
    """A frame with every model's raw output tensors."""

    prepared: _Prepared
    tensors: list[list[NDArray[np.float32]]]
    invoke_ms: list[float]


@dataclass(slots=True)
class Heartbeats:
    """When each stage last made progress, monotonic seconds."""

    at_s: dict[str, float] = field(default_factory=dict)

    def beat(self, stage: str) -> None:
        self.at_s[stage] = time.monotonic()

    def end(self, stage: str) -> None:
        """The stage is done: nothing more is expected of it."""
        self.at_s.pop(stage, None)

    def older_than(self, since_s: float) -> tuple[str, ...]:
        """The stages whose last progress was before ``since_s``."""
        return tuple(stage for stage, at_s in sorted(self.at_s.copy().items()) if at_s < since_s)


class Pipeline:
    """Runs ``source`` through ``models`` into ``sinks`` until it ends, fails or is stopped.

    ``options`` is asked before each decode, so that thresholds may change while it runs, and
    ``interval_s`` before each invoke: how far apart two of them must begin. While ``paused`` no
    frame of a live source is taken; a recording goes on, for it has to lose nothing.
    """

    def __init__(
        self,
        source: Source,
        models: Sequence[Model],
        sinks: Sequence[Sink],
        meter: Meter,
        options: Callable[[], DecodeOptions],
        max_frames: int | None = None,
        interval_s: Callable[[], float] = lambda: 0.0,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source, self._models, self._sinks = source, models, sinks
        self._meter, self._options = meter, options
        self._max_frames, self._interval_s = max_frames, interval_s
        self._paused = paused if source.live else lambda: False
        self._error: BaseException | None = None
        self._done = threading.Event()
        self.heartbeats = Heartbeats()
        self._frames: Slot[Frame] = Latest() if source.live else Queue(2)
        self._prepared: Slot[_Prepared] = Latest() if source.live else Queue(1)
        self._inferred: Slot[_Inferred] = Queue(2)
        self._buffers: SimpleQueue[list[Image]] = SimpleQueue()
        for _ in range(BUFFER_SETS):
            self._buffers.put([model.buffer() for model in models])
        stages = {
            "capture": self._capture,
            "prepare": self._prepare,
            "infer": self._infer,
            "publish": self._publish,
        }
        self._threads = [
            threading.Thread(target=self._guard, args=item, name=item[0], daemon=True)
            for item in stages.items()
        ]

    @property
    def dropped(self) -> int:
        """Frames that a newer one overtook before they were inferred."""
        slots = (self._frames, self._prepared)
        return sum(slot.dropped for slot in slots if isinstance(slot, Latest))

    def start(self) -> None:
        for thread in self._threads:
            self.heartbeats.beat(thread.name)
            thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; True once every stage is done.

        Raises:
            Exception: whatever a stage's thread raised.
        """
        ended = self._done.wait(timeout_s)
        if ended and self._error is not None:
            raise self._error
        return ended

    def stop(self) -> None:
        """End from any thread: nothing new is captured, what is under way is dropped."""
        self._source.close()
        for slot in (self._frames, self._prepared, self._inferred):
            slot.abort()
        self._done.set()

    def join(self, timeout_s: float) -> None:
        """Give the threads this long in all to return after ``stop`` or the end."""
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _guard(self, name: str, stage: Callable[[], None]) -> None:
        try:
            stage()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it
            if self._error is None:
                self._error = error
            self.stop()
        finally:
            self.heartbeats.end(name)

    def _capture(self) -> None:
        for frame in self._source.frames(lambda: self.heartbeats.beat("capture")):
            self._meter.captured(time.monotonic())
            self.heartbeats.beat("capture")
            self._frames.put(frame)
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

    def _wait_while_paused(self) -> None:
        while self._paused() and not self._done.wait(BEAT_S / 2):
            self.heartbeats.beat("prepare")

    def _prepare(self) -> None:
        while True:
            self._wait_while_paused()
            try:
                frame = self._next(self._frames, "prepare")
            except Finished:
                return self._prepared.finish()
            buffers = self._buffers.get()
            staged, times_ms = [], []
            for model, buffer in zip(self._models, buffers, strict=True):
                started_s = time.perf_counter()
                staged.append(model.stage(frame, buffer))
                times_ms.append((time.perf_counter() - started_s) * 1e3)
            displaced = self._prepared.put(_Prepared(frame, staged, times_ms))
            if displaced is not None:
                self._recycle(displaced)

    def _recycle(self, prepared: _Prepared) -> None:
        self._buffers.put([staged.image for staged in prepared.staged])

    def _wait_for_turn(self, last_s: float) -> None:
        """Before the frame is taken, so that it is the newest one."""
        while (left_s := last_s + self._interval_s() - time.monotonic()) > 0:
            if self._done.wait(min(left_s, BEAT_S)):
                return
            self.heartbeats.beat("infer")

    def _infer(self) -> None:
        began_s = 0.0
        while True:
            self._wait_for_turn(began_s)
            try:
                prepared = self._next(self._prepared, "infer")
            except Finished:
                return self._inferred.finish()
            began_s = time.monotonic()
            tensors, times_ms = [], []
            for model, staged in zip(self._models, prepared.staged, strict=True):
                started_s = time.perf_counter()
                tensors.append(model.invoke(staged))
                times_ms.append((time.perf_counter() - started_s) * 1e3)
                self.heartbeats.beat("infer")
            self._meter.inferred(time.monotonic())
            self._recycle(prepared)
            self._inferred.put(_Inferred(prepared, tensors, times_ms))

    def _publish(self) -> None:
        published = 0
        while published != self._max_frames:
            try:
                inferred = self._next(self._inferred, "publish")
            except Finished:
                break
            result = self._decode(inferred)
            for sink in self._sinks:
                sink.publish(result)
            self._meter.published(result, time.monotonic())
            published += 1
        self._done.set()

    def _decode(self, inferred: _Inferred) -> Result:
        prepared, options = inferred.prepared, self._options()
        by_model: dict[str, Decoded] = {}
        times: dict[str, StageTimes] = {}
        for place, model in enumerate(self._models):
            started_s = time.perf_counter()
            by_model[model.name] = model.decode(
                inferred.tensors[place], prepared.staged[place], prepared.frame, options
            )
            decode_ms = (time.perf_counter() - started_s) * 1e3
            times[model.name] = StageTimes(
                prepared.preprocess_ms[place], inferred.invoke_ms[place], decode_ms
            )
        return Result(prepared.frame, by_model, times)
