"""One model's look at a frame or at parts of it, in steps between invokes.

A look is a generator. It yields a ``Request`` for each invoke that it needs and gets the
``Answer``; the pipeline invokes, and handles a model that fails or is loaded again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Decoded, StageTimes
from edgecam.core.tensors import Tensor
from edgecam.inference.model import Model, ModelImage
from edgecam.inference.preprocess import Matrix

if TYPE_CHECKING:
    from edgecam.pipeline.roi.person_crop import Tile

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A picture for ``model``, the ``place``-th of all."""

    place: int
    model: Model
    staged: ModelImage
    frame: Frame


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the model returned, None where it failed, and what that took."""

    tensors: Sequence[Tensor] | None
    invoke_ms: float


Steps = Generator[Request, Answer, Value]
Found = tuple[Decoded, StageTimes]
# Runs a model on a picture made for it, the model being the n-th; None where it failed.
Invoke = Callable[[int, Model, ModelImage, Frame], Sequence[Tensor] | None]


def answer(request: Request, invoke: Invoke) -> Answer:
    """Do what a look waits for."""
    started_s = time.perf_counter()
    tensors = invoke(request.place, request.model, request.staged, request.frame)
    return Answer(tensors, (time.perf_counter() - started_s) * 1e3)


def run_steps(steps: Steps[Value], invoke: Invoke) -> Value:
    """Go through all steps of a look, one after the other."""
    try:
        request = next(steps)
        while True:
            request = steps.send(answer(request, invoke))
    except StopIteration as end:
        value: Value = end.value
        return value


def invoke_only(
    _place: int, model: Model, staged: ModelImage, _frame: Frame
) -> Sequence[Tensor] | None:
    """Run the model, and let a failure end the look.

    Raises:
        ModelError: it fails.
    """
    return model.invoke(staged)


@dataclass(slots=True)
class PartialResult:
    """What each model that looked at a frame found, in source-frame pixels, and what that took."""

    found: dict[str, Decoded] = field(default_factory=dict)
    times: dict[str, StageTimes] = field(default_factory=dict)

    def add(self, model: str, part: Found | None) -> None:
        """Nothing is added of a model that failed."""
        if part is not None:
            self.found[model], self.times[model] = part


class ModelRunner:
    """One model at one size, with the buffer that its pictures are made in."""

    def __init__(self, place: int, model: Model) -> None:
        self.place, self.model = place, model
        self._buffer = model.buffer()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    def whole(self, frame: Frame, options: DecodeOptions) -> Steps[Found | None]:
        """What is in a frame, in source-frame pixels; None where the model failed."""
        started_s = time.perf_counter()
        staged = self.model.preprocess(frame, self._buffer)
        staged_ms = (time.perf_counter() - started_s) * 1e3
        answer = yield Request(self.place, self.model, staged, frame)
        if answer.tensors is None:
            return None
        started_s = time.perf_counter()
        found = self.model.decode(answer.tensors, staged, frame, options)
        return found, _times(staged_ms, answer, started_s)

    def warped(self, frame: Frame, matrix: Matrix) -> ModelImage:
        """A part of the frame at model size; ``matrix`` as for ``Resizer.warp_into``."""
        self.model.resizer.warp_into(frame.image, matrix, self._buffer)
        return ModelImage(self._buffer, self.model.resizer.fit(frame.width_px, frame.height_px))

    def tiles(
        self, frame: Frame, tiles: Sequence[Tile], options: DecodeOptions
    ) -> Steps[Found | None]:
        """What is in parts of a frame put side by side, in pixels of the model input."""
        started_s = time.perf_counter()
        self._buffer[:] = 0
        for each in tiles:
            self.model.resizer.resize_tile_into(frame.image, each.part, each.fit, self._buffer)
        staged = ModelImage(self._buffer, tiles[0].fit)
        staged_ms = (time.perf_counter() - started_s) * 1e3
        answer = yield Request(self.place, self.model, staged, frame)
        if answer.tensors is None:
            return None
        started_s = time.perf_counter()
        found = self.model.find(answer.tensors, options, frame.is_mirrored)
        return found, _times(staged_ms, answer, started_s)


def _times(staged_ms: float, answer: Answer, decoding_s: float) -> StageTimes:
    return StageTimes(staged_ms, answer.invoke_ms, (time.perf_counter() - decoding_s) * 1e3)
