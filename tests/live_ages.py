"""How old live frames are when they are inferred and published, for test and benchmark alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgecam.core import board
from edgecam.core.frame import Frame, Image
from edgecam.core.opencv import cv2
from edgecam.core.protocols import DecodeOptions, SourceStatus, be_idle
from edgecam.core.result import Result
from edgecam.inference import catalog as bundled
from edgecam.inference.model import Model
from edgecam.pipeline.base import Inferred, Prepared
from edgecam.pipeline.meter import Meter
from edgecam.pipeline.staged import StagedPipeline


class Camera:
    """The bundled clip's pictures at a camera's rate."""

    live = True
    description = "clip at a camera's rate"

    def __init__(self, rate_hz: float) -> None:
        capture = cv2.VideoCapture(str(bundled.clip()))
        self._images: list[Image] = [capture.read()[1] for _ in range(20)]
        self.period_s = 1.0 / rate_hz
        self.given = 0
        self._closed = threading.Event()

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        began_s = time.monotonic()
        for sequence in range(1_000_000):
            idle()
            due_s = began_s + sequence * self.period_s
            if self._closed.wait(max(0.0, due_s - time.monotonic())):
                return
            image = self._images[sequence % len(self._images)].copy()
            self.given += 1
            yield Frame(image, sequence, time.monotonic(), time.time())

    def status(self) -> SourceStatus:
        return SourceStatus("online")

    def close(self) -> None:
        self._closed.set()


@dataclass(slots=True)
class Ages:
    """A sink that notes how old each frame is, and what its invoke took; milliseconds."""

    published_ms: list[float] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    invoke_ms: list[float] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)

    def publish(self, result: Result) -> None:
        self.published_ms.append((time.monotonic() - result.frame.captured_s) * 1e3)
        self.sequences.append(result.frame.sequence)
        self.invoke_ms += [times.invoke_ms for times in result.times.values()]
        self.rss_bytes.append(board.rss_bytes() or 0)

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        return


class Watched(StagedPipeline):
    """Notes how old a frame is when its inference begins, and how many are inside by then."""

    begun_ms: list[float]
    inside: list[int]
    camera: Camera

    def _infer_one(
        self, prepared: Prepared, models: Sequence[Model], looks: Sequence[bool], stage: str
    ) -> Inferred:
        self.begun_ms.append((time.monotonic() - prepared.frame.captured_s) * 1e3)
        # In this order: what is dropped or published meanwhile makes it no more than it is.
        captured = self.camera.given
        self.inside.append(captured - self._published - self.dropped)
        return super()._infer_one(prepared, models, looks, stage)


def run(model: Model, camera: Camera, frames: int) -> tuple[Watched, Ages]:
    """The pipeline, with the age at the beginning of each inference, and what the sink noted."""
    ages, meter = Ages(), Meter(10.0, time.monotonic())
    pipeline = Watched(camera, [model], [ages], meter, DecodeOptions, frames)
    pipeline.begun_ms, pipeline.inside, pipeline.camera = [], [], camera
    pipeline.start()
    assert pipeline.wait(300.0)
    pipeline.stop()
    pipeline.join(60.0)
    return pipeline, ages
