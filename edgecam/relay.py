"""A recording on one thread of inference: two interpreters take turns on it.

One thread does nothing but invoke. The other reads, prepares, fills the interpreter whose turn is
next, and decodes and publishes what the last one found, all while the first one infers. So an
invoke begins as soon as the one before it has ended, and two cores never hand a frame on more
often than they must.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue

from edgecam.model import Model
from edgecam.pipeline import BEAT_S, Inferred, Pipeline, Prepared
from edgecam.types import Frame, ModelError


@dataclass(slots=True, eq=False)
class _Turn:
    """One frame in one set of interpreters.

    ``invoke_ms`` and ``worked`` are per model, once it is inferred.
    """

    prepared: Prepared
    models: Sequence[Model]
    invoke_ms: list[float] = field(default_factory=list)
    worked: list[bool] = field(default_factory=list)


class RelayPipeline(Pipeline):
    """Every frame, in order, nothing dropped: the same bytes on every run."""

    def _stages(self) -> Mapping[str, Callable[[], None]]:
        self._filled: SimpleQueue[_Turn | None] = SimpleQueue()
        self._inferred: SimpleQueue[_Turn | None] = SimpleQueue()
        return {"infer": self._infer, "work": self._work}

    def _abort(self) -> None:
        self._filled.put(None)
        self._inferred.put(None)

    def _infer(self) -> None:
        began_s = 0.0
        while (turn := self._next(self._filled, "infer")) is not None:
            self._wait_for_turn(began_s, "infer")
            began_s = time.monotonic()
            for place, staged in enumerate(turn.prepared.staged):
                started_s = time.perf_counter()
                turn.worked.append(staged is not None and self._invoke_filled(place, turn))
                turn.invoke_ms.append((time.perf_counter() - started_s) * 1e3)
                self.heartbeats.beat("infer")
            self._inferred.put(turn)
            self._meter.inferred(time.monotonic())

    def _invoke_filled(self, place: int, turn: _Turn) -> bool:
        try:
            turn.models[place].interpreter.invoke()
        except ModelError as error:
            self.turns.failed(place, turn.prepared.frame.time_s, error)
            return False
        self.turns.worked(place)
        return True

    def _next(self, turns: SimpleQueue[_Turn | None], stage: str) -> _Turn | None:
        while not self._done.is_set():
            try:
                turn = turns.get(timeout=BEAT_S)
            except Empty:
                self.heartbeats.beat(stage)
                continue
            self.heartbeats.beat(stage)
            return turn
        return None

    def _work(self) -> None:
        buffers = [model.buffer() for model in self._models]
        prepared = (self._prepare_one(frame, buffers, looks) for frame, looks in self._looks())
        under_way = self._fill(next(prepared, None), self._models)
        ready = next(prepared, None)
        has_twins = False
        while under_way and (turn := self._next(self._inferred, "work")) is not None:
            tensors = [
                model.interpreter.read(model.decoder.outputs) if worked else None
                for model, worked in zip(turn.models, turn.worked, strict=True)
            ]
            # The interpreter goes back into the queue before anything else.
            under_way += self._fill(ready, turn.models) - 1
            self._publish_one(self._decode_one(Inferred(turn.prepared, tensors, turn.invoke_ms)))
            self.heartbeats.beat("work")
            ready = next(prepared, None)
            # Behind the first result, which should not wait for it; a single picture never needs
            # a second interpreter.
            if ready is not None and not has_twins:
                has_twins = True
                under_way += self._fill(ready, [model.twin() for model in self._models])
                ready = next(prepared, None)
        self._filled.put(None)
        self._done.set()

    def _looks(self) -> Iterator[tuple[Frame, Sequence[bool]]]:
        """The frames that a model looks at, and which do."""
        frames = iter(self._source.frames(lambda: self.heartbeats.beat("work")))
        for frame in islice(frames, self._max_frames):
            if self._done.is_set():
                return
            self._meter.captured(time.monotonic())
            self.heartbeats.beat("work")
            looks = self.turns.take(frame)
            if any(looks):
                yield frame, looks

    def _fill(self, prepared: Prepared | None, models: Sequence[Model]) -> int:
        """Put a frame's pixels into its interpreters and queue them; how many frames that were."""
        if prepared is None:
            return 0
        for place, (model, staged) in enumerate(zip(models, prepared.staged, strict=True)):
            if staged is None:
                continue
            started_s = time.perf_counter()
            model.interpreter.fill(staged.image, model.fill)
            prepared.preprocess_ms[place] += (time.perf_counter() - started_s) * 1e3
        self._filled.put(_Turn(prepared, models))
        return 1
