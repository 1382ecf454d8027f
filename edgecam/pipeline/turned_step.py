"""The turned looks of a run: one step behind the upright look at each frame.

What the analysis made of all frames before decides where to look, so the step waits for it: that
is done while the network works on the upright look, and the same recording is looked at in the
same way on every run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from edgecam.analysis.places import Attention
from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions
from edgecam.core.result import Result, StageTimes, TurnedLook
from edgecam.pipeline.roi.inference_steps import Invoke, run_steps
from edgecam.pipeline.roi.turned_looks import TurnedLooks

# What the analysis knows for the next look of a model at a frame of (width, height).
Ask = Callable[[str, tuple[int, int]], Attention]


class TurnedStep:
    """Makes the turned looks of frames; ``attention`` says where to look."""

    def __init__(self, looks: TurnedLooks, attention: Ask) -> None:
        self._looks, self._attention = looks, attention
        self._changed = threading.Condition()
        self._under_way = 0
        self._has_ended = False

    @property
    def place(self) -> int:
        """The number of the model that looks."""
        return self._looks.place

    def begin(self) -> None:
        """One more frame is on its way to the analysis."""
        with self._changed:
            self._under_way += 1

    def has_analysed(self) -> None:
        """A frame is analysed."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """Let go of who waits: the run ends, and what is under way is not analysed any more."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended."""
        return self._has_ended

    def wait(self, timeout_s: float) -> bool:
        """Wait until every frame that was begun is analysed, or the end; False after so long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._has_ended or self._under_way == 0, timeout_s
            )

    def infer(
        self, frame: Frame, options: DecodeOptions, invoke: Invoke
    ) -> Callable[[Result], Result]:
        """Look at a frame, where it is time to; returns what adds that to its result."""
        size_px = frame.width_px, frame.height_px
        attention = self._attention(self._looks.model, size_px)
        found, times = run_steps(self._looks.infer(frame, attention, options), invoke)
        return lambda result: self._added(result, found, times) if found else result

    def _added(self, result: Result, found: tuple[TurnedLook, ...], times: StageTimes) -> Result:
        name = self._looks.model
        if name not in result.by_model:
            return result
        part = replace(result.by_model[name], turned=found)
        took = result.times.get(name, StageTimes(0.0, 0.0, 0.0)).plus(times)
        by_model = {**result.by_model, name: part}
        return replace(result, by_model=by_model, times={**result.times, name: took})

    def counters(self) -> Mapping[str, int]:
        """How many turned looks there were, and how often they invoked the model."""
        return self._looks.counters()
