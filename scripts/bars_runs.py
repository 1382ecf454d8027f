"""What runs over a recording keep of what they could reach, for benchmark_bars.py."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import benchmark_many
import msgspec
import numpy as np

from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.core.tensors import Tensor
from edgecam.daemon.build import load_models
from edgecam.inference import catalog as bundled
from edgecam.inference.model import Model, ModelImage
from edgecam.pipeline.roi.controller import RoiController
from edgecam.pipeline.roi.inference_steps import run_steps
from edgecam.settings.scene import CropSettings, MotionSettings
from edgecam.settings.schema import InferenceSettings, ModelSettings, Settings, SourceSettings
from edgecam.sources.video import VideoFile
from edgecam.tools.evaluate.throughput import TimingSink, measure, run_recording

FRAMES = 60
STILL_FRAMES, STILL_HZ = 200, 10.0


def _settings(*models: str, clip: str, frames: int, threads: int = 1) -> Settings:
    return Settings(
        model=tuple(ModelSettings(path=model) for model in models),
        source=SourceSettings(url=clip),
        inference=InferenceSettings(threads=threads, probe=False),
        max_frames=frames,
    )


def efficiency(threads: int) -> float:
    """The whole pipeline over the bare interpreter, as ``edgecam bench`` has it."""
    settings = _settings("posenet-int8", clip=str(bundled.clip()), frames=FRAMES, threads=threads)
    return measure(settings, rounds=3).efficiency


def crops() -> float:
    """Time in the interpreter, in turns: whole frames over crops; 2.4 to 2.8 were measured."""
    settings = msgspec.structs.replace(
        _settings("posenet", clip=str(bundled.clip()), frames=50), crop=CropSettings(enabled=True)
    )
    (model,) = load_models(settings)
    attention, buffer = RoiController(settings, [model]), model.buffer()
    spent_s = {"whole": 0.0, "crops": 0.0}

    def timed(which: str, one: Model, staged: ModelImage) -> Sequence[Tensor]:
        began_s = time.thread_time()
        tensors = one.invoke(staged)
        spent_s[which] += time.thread_time() - began_s
        return tensors

    for frame in islice(VideoFile(str(bundled.clip())).frames(), 50):
        timed("whole", model, model.preprocess(frame, buffer))
        looking = attention.infer(frame, [True], settings.decode.options())
        run_steps(looking, lambda _place, one, staged, _frame: timed("crops", one, staged))
    return spent_s["whole"] / spent_s["crops"]


def _still() -> Iterator[Image]:
    """640x480 without people, with a sensor's noise."""
    capture, images = cv2.VideoCapture(str(bundled.clip())), []
    while (read := capture.read())[0]:
        images.append(read[1])
    empty = np.median(images[::5], axis=0).astype(np.uint8)
    image = cv2.resize(empty[:150, 280:480], (640, 480))
    random = np.random.default_rng(3)
    for _ in range(STILL_FRAMES):
        noise = random.normal(0.0, 2.0, image.shape)
        yield np.clip(image + noise, 0, 255).astype(np.uint8)


def still_scene() -> float:
    """Processor time of a frame in which nothing moves: the cascade with and without its gate."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "still.avi"
        code = cv2.VideoWriter.fourcc(*"MJPG")
        writer = cv2.VideoWriter(str(film), code, STILL_HZ, (640, 480))
        for image in _still():
            writer.write(image)
        writer.release()
        costs = []
        for gated in (True, False):
            settings = msgspec.structs.replace(
                _settings("ssdlite", "posenet", clip=str(film), frames=STILL_FRAMES),
                crop=CropSettings(enabled=True, look="detector"),
                motion=MotionSettings(enabled=gated),
            )
            marks = TimingSink(several=True)
            run_recording(settings, load_models(settings), marks)
            costs.append(marks.cost_ms()[1])
    return costs[0] / costs[1]


def instances() -> float:
    """Eight replays at the same time over one; by rate or by processor time, whichever is more.

    Other programs on the machine take from the rate, and the virtual machine's from both.
    """
    found = benchmark_many.instances(8, seconds=4.0, rounds=3, model="posenet")
    return max(float(found["ratio"]), float(found["cpu_ratio"]))
