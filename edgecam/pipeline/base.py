"""Base of a run of frames through models into sinks: threads, failures, one frame's steps."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edgecam.core.errors import DelegateError, ModelError
from edgecam.core.frame import Frame, Image
from edgecam.core.heartbeats import Heartbeats
from edgecam.core.protocols import DecodeOptions, Sink, Source
from edgecam.core.result import Decoded, Result, StageTimes
from edgecam.core.tensors import Tensor
from edgecam.inference.model import Model, ModelImage
from edgecam.pipeline.meter import Meter
from edgecam.pipeline.schedule import ModelSchedule

if TYPE_CHECKING:
    from edgecam.pipeline.turns import Turn

# The stages that invoke.
INVOKES = frozenset({"infer", "look"})
# How long a stage waits for its turn before it says again that it is alive.
BEAT_S = 0.5


@dataclass(slots=True, eq=False)
class Prepared:
    """A frame on its way to the interpreter: per model, its pixels and what staging took.

    ``staged`` is None for a model that does not look at it.
    """

    frame: Frame
    buffers: Sequence[Image]
    staged: list[ModelImage | None]
    preprocess_ms: list[float]


@dataclass(slots=True, eq=False)
class Inferred:
    """A frame with the raw output tensors of each model that looked at it, None for others."""

    prepared: Prepared
    tensors: list[list[Tensor] | None]
    invoke_ms: list[float]


@runtime_checkable
class HoldingSource(Protocol):
    """A source that holds on to what its frames are made of until they are done with."""

    def release(self, frame: Frame) -> None:
        """``frame`` is published, or was overtaken or passed over; from any thread."""
        ...


class Pipeline(ABC):
    """Runs ``source`` through ``models`` into ``sinks`` until it ends, fails or is stopped.

    ``options`` is asked before each decode, so that thresholds may change while it runs, and
    ``interval_s`` before each invoke: how far apart two of them must begin. While ``paused`` no
    frame of a live source is taken; a recording goes on, for it has to lose nothing. ``analyse``
    gets the results in order, one at a time. ``turn``: the camera's turns at models that others
    look with too; None: it has them to itself.
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
        analyse: Callable[[Result], Result] = lambda result: result,
        turn: Turn | None = None,
    ) -> None:
        self._source, self._models, self._sinks = source, models, sinks
        self._meter, self._options = meter, options
        self._max_frames, self._interval_s = max_frames, interval_s
        self._paused, self._analyse, self._turn = paused, analyse, turn
        self.schedule = ModelSchedule(models, source.live)
        self._release = source.release if isinstance(source, HoldingSource) else _let_go
        self._published = 0
        self._error: BaseException | None = None
        self._done = threading.Event()
        self.heartbeats = Heartbeats()
        self._threads = [
            threading.Thread(target=self._guard, args=item, name=item[0], daemon=True)
            for item in self._stages().items()
        ]

    @abstractmethod
    def _stages(self) -> Mapping[str, Callable[[], None]]:
        """What each thread runs, by its name."""

    @abstractmethod
    def _abort(self) -> None:
        """Wake whatever waits for another stage, and let it end."""

    @property
    @abstractmethod
    def dropped(self) -> int:
        """Frames that a newer one overtook before they were inferred."""

    @abstractmethod
    def counters(self) -> Mapping[str, int]:
        """What else it counts, by name."""

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            self.heartbeats.beat(thread.name)
            thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; True once every stage is done.

        Raises:
            Exception: whatever a stage's thread raised.
        """
        ended = self._done.wait(timeout_s)
        if ended:
            self.check()
        return ended

    def check(self) -> None:
        """Raise what a stage's thread raised, also before what is under way has gone out."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End from any thread: nothing new is captured, what is under way is dropped."""
        self._source.close()
        self._abort()
        self._done.set()

    def join(self, timeout_s: float) -> None:
        """Give the threads this long in all to return after ``stop`` or the end."""
        deadline_s = time.monotonic() + timeout_s
        for thread in filter(threading.Thread.is_alive, self._threads):
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _guard(self, name: str, stage: Callable[[], None]) -> None:
        try:
            stage()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it
            try:
                self._fail(error)
            finally:
                self._abort()
                self._done.set()
        finally:
            self.heartbeats.end(name)
            if self._turn is not None and name in INVOKES:
                self._turn.leave()

    def _fail(self, error: BaseException) -> None:
        """Take nothing new; ``wait`` raises the error when what is under way has gone out."""
        if self._error is None:
            self._error = error
        self._source.close()

    def _captured(self, stage: str) -> Iterator[Frame]:
        """The source's frames; where it fails they end, and those before go on their way."""
        try:
            frames = self._source.frames(lambda: self.heartbeats.beat(stage))
            # Not "yield from": what goes wrong while it is closed early is no failure of the run.
            while (frame := next(frames, None)) is not None:
                yield frame
        except Exception as error:  # noqa: BLE001 - handed to the main thread, which raises it
            self._fail(error)

    def _wait_for_rate(self, last_s: float, stage: str) -> None:
        """Wait until the next invoke may begin."""
        while (left_s := last_s + self._interval_s() - time.monotonic()) > 0:
            if self._done.wait(min(left_s, BEAT_S)):
                return
            self.heartbeats.beat(stage)

    def _prepare_one(
        self, frame: Frame, buffers: Sequence[Image], looks: Sequence[bool]
    ) -> Prepared:
        staged: list[ModelImage | None] = []
        times_ms = []
        for model, buffer, look in zip(self._models, buffers, looks, strict=True):
            started_s = time.perf_counter()
            staged.append(model.preprocess(frame, buffer) if look else None)
            times_ms.append((time.perf_counter() - started_s) * 1e3)
        return Prepared(frame, buffers, staged, times_ms)

    def _infer_one(
        self, prepared: Prepared, models: Sequence[Model], looks: Sequence[bool], stage: str
    ) -> Inferred:
        """Invoke each model that looks at the frame.

        Raises:
            ModelError: none is left that works.
        """
        tensors: list[list[Tensor] | None] = []
        times_ms = []
        for place, (model, staged) in enumerate(zip(models, prepared.staged, strict=True)):
            started_s = time.perf_counter()
            look = staged is not None and looks[place]
            found = self._invoke(place, model, staged, prepared.frame) if look and staged else None
            tensors.append(found)
            times_ms.append((time.perf_counter() - started_s) * 1e3)
            self.heartbeats.beat(stage)
        self._meter.inferred(time.monotonic())
        return Inferred(prepared, tensors, times_ms)

    def _invoke(
        self, place: int, model: Model, staged: ModelImage, frame: Frame
    ) -> list[Tensor] | None:
        if self._turn is not None and not self._turn.is_held and not self._take(self._turn):
            return None
        try:
            if self.schedule.is_retry(place):
                model.reload()
            tensors = model.invoke(staged)
        except (ModelError, DelegateError) as error:
            self.schedule.failed(place, frame.time_s, error)
            return None
        self.schedule.worked(place)
        return tensors

    def _take(self, turn: Turn) -> bool:
        """Wait for the camera's turn; False where the run is over before."""

        def go_on() -> bool:
            self.heartbeats.beat(threading.current_thread().name)
            return not self._done.is_set()

        return turn.take(go_on)

    @contextmanager
    def _one_turn(self, asks_again: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Give back, at the end, the turn that was taken within: at the first invoke at the latest.

        What is within waits for no other stage, for the other cameras wait for it. ``asks_again``
        says then whether the camera wants the next turn too.
        """
        try:
            yield
        finally:
            if self._turn is not None and self._turn.is_held:
                self._turn.give_back(asks_again())

    def _decode_one(self, inferred: Inferred) -> Result:
        prepared, options = inferred.prepared, self._options()
        by_model: dict[str, Decoded] = {}
        times: dict[str, StageTimes] = {}
        for place, model in enumerate(self._models):
            tensors, staged = inferred.tensors[place], prepared.staged[place]
            if tensors is None or staged is None:
                continue
            started_s = time.perf_counter()
            by_model[model.name] = model.decode(tensors, staged, prepared.frame, options)
            decode_ms = (time.perf_counter() - started_s) * 1e3
            times[model.name] = StageTimes(
                prepared.preprocess_ms[place], inferred.invoke_ms[place], decode_ms
            )
        return Result(prepared.frame, by_model, times)

    def _publish_one(self, decoded: Result) -> None:
        result = self._followed(decoded)
        if result is None:
            self._release(decoded.frame)
            return
        for sink in self._sinks:
            sink.publish(result)
        self._meter.published(result, time.monotonic())
        self._published += 1
        self._release(result.frame)

    def _followed(self, decoded: Result) -> Result | None:
        """The result with what follows; None where the model that should have looked failed."""
        return self._analyse(decoded) if decoded.by_model or decoded.repeated else None


def _let_go(frame: Frame) -> None:
    """Most sources hold on to nothing."""
