"""The pipeline on recordings: the same bytes on every run, bounded memory, a clean end."""

import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from brokers import wait_until
from programs import CLIP

from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions, Sink, Source, SourceStatus, be_idle
from edgecam.core.result import Result
from edgecam.daemon.build import load_models
from edgecam.inference.model import Model
from edgecam.pipeline.base import Pipeline
from edgecam.pipeline.meter import Meter
from edgecam.pipeline.staged import StagedPipeline
from edgecam.pipeline.turns import Turns
from edgecam.settings.schema import InferenceSettings, ModelSettings, Settings, SourceSettings
from edgecam.sinks.jsonl import JsonLinesSink
from edgecam.sources import is_recording
from edgecam.sources.video import VideoFile

FRAMES = 30


class Places:
    """A sink that keeps the order; it fails at the result ``fails_at``."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.sequences: list[int] = []
        self._fails_at = fails_at

    def publish(self, result: Result) -> None:
        if len(self.sequences) == self._fails_at:
            raise OSError("no room")
        self.sequences.append(result.frame.sequence)

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        return


class Pictures:
    """A recording of black pictures of these sides; it counts the bytes that were read."""

    live = False
    description = "pictures"

    def __init__(self, sides_px: Sequence[int]) -> None:
        self._sides_px = sides_px
        self.read = self.read_bytes = 0

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        del idle
        for number, side_px in enumerate(self._sides_px):
            frame = Frame(np.zeros((side_px, side_px, 3), np.uint8), number, 0.0, float(number))
            self.read += 1
            self.read_bytes += frame.image.nbytes
            yield frame

    def status(self) -> SourceStatus:
        return SourceStatus("online")

    def close(self) -> None:
        return


class Ahead(Places):
    """A sink that notes how far the source is ahead of it."""

    def __init__(self, source: Pictures, pause_s: float = 0.0) -> None:
        super().__init__()
        self._source, self._pause_s, self._published_bytes = source, pause_s, 0
        self.read: list[int] = []
        self.held_bytes: list[int] = []

    def publish(self, result: Result) -> None:
        time.sleep(self._pause_s)
        super().publish(result)
        self.read.append(self._source.read)
        self.held_bytes.append(self._source.read_bytes - self._published_bytes)
        self._published_bytes += result.frame.image.nbytes


def models(threads: int) -> list[Model]:
    inference = InferenceSettings(threads=threads, probe=False)
    return load_models(
        Settings(
            model=(ModelSettings(path="posenet-int8", input_size="257x257"),),
            source=SourceSettings(url=str(CLIP)),
            inference=inference,
        )
    )


def pipeline(
    loaded: list[Model],
    *sinks: Sink,
    frames: int | None = FRAMES,
    source: Source | None = None,
) -> Pipeline:
    source = source or VideoFile(str(CLIP))
    meter = Meter(10.0, time.monotonic())
    return StagedPipeline(source, loaded, sinks, meter, DecodeOptions, frames)


def test_pipeline_gives_the_same_bytes_in_order_with_any_number_of_threads(tmp_path: Path) -> None:
    found = []
    for threads in (1, 2, 3):
        path = tmp_path / f"{threads}.jsonl"
        places, lines = Places(), JsonLinesSink(str(path), "camera", "boot")
        run = pipeline(models(threads), lines, places)
        run.start()
        assert run.wait(300.0)
        run.join(60.0)
        lines.close()
        assert places.sequences == list(range(FRAMES))
        found.append(path.read_bytes())
    assert len(found[0].splitlines()) == FRAMES
    assert len(set(found)) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_sink_that_fails_ends_the_run_with_its_error(threads: int) -> None:
    places = Places(fails_at=5)
    run = pipeline(models(threads), places)
    run.start()
    with pytest.raises(OSError, match="no room"):
        run.wait(300.0)
    run.join(60.0)
    assert places.sequences == list(range(5))


def test_pipeline_reads_no_further_ahead_than_its_slots_hold() -> None:
    source = Pictures([64] * 36)
    sink = Ahead(source)
    run = pipeline(models(1), sink, frames=None, source=source)
    run.start()
    assert run.wait(300.0)
    assert sink.sequences == list(range(36))
    # Two are read, one each is prepared, waits and is inferred, two are inferred, one published.
    most = 10
    assert all(read - number <= most for number, read in enumerate(sink.read))


def test_pipeline_behind_a_slow_sink_is_not_taken_for_stuck() -> None:
    source = Pictures([64] * 60)
    sink = Ahead(source, pause_s=0.05)
    run = pipeline(models(2), sink, frames=None, source=source)
    beats: list[float] = []
    publish = sink.publish

    def watched(result: Result) -> None:
        beats.append(run.heartbeats.at_s["publish"])
        publish(result)

    sink.publish = watched
    run.start()
    assert run.wait(300.0)
    assert sink.sequences == list(range(60))
    # It gives a sign of life between any two results.
    assert all(there > here for here, there in itertools.pairwise(beats[1:]))


@pytest.mark.parametrize("threads", [1, 2])
def test_stop_ends_every_thread_soon_wherever_it_is(threads: int) -> None:
    before, loaded = threading.active_count(), models(threads)
    for results in range(12):
        places = Places()
        run = pipeline(loaded, places, frames=None)
        run.start()
        while len(places.sequences) <= results % 4:
            time.sleep(0.001)
        run.stop()
        assert run.wait(0.0)
        run.join(60.0)
        assert threading.active_count() == before
        assert places.sequences == list(range(len(places.sequences)))
        assert not run.heartbeats.at_s


@pytest.mark.parametrize(
    ("url", "realtime", "recording"),
    [
        ("clip.mp4", False, True),
        ("12:30.mp4", False, True),
        ("file:///clip.mp4", False, True),
        ("clip.mp4", True, False),
        ("0", False, False),
        ("/dev/video0", False, False),
        ("picamera:1", False, False),
        ("rtsp://camera/stream", False, False),
    ],
)
def test_what_will_be_a_recording_is_known_before_it_is_opened(
    url: str, realtime: bool, recording: bool
) -> None:
    assert is_recording(SourceSettings(url=url, realtime=realtime)) is recording


class Camera(Pictures):
    """A live source that gives its next picture when it is asked to, and keeps none."""

    live = True

    def __init__(self, number: int) -> None:
        super().__init__([64] * number)
        self.asked = threading.Semaphore(0)
        self.kept: list[weakref.ref[np.ndarray]] = []

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        for frame in super().frames(idle):
            self.kept.append(weakref.ref(frame.image))
            self.asked.acquire()
            yield frame

    @property
    def alive(self) -> list[int]:
        """The pictures that something still holds."""
        return [number for number, image in enumerate(self.kept) if image() is not None]


def test_a_camera_that_waits_for_its_turn_holds_no_picture_but_the_newest() -> None:
    source, places, turns = Camera(9), Places(), Turns()
    meter = Meter(10.0, time.monotonic())
    own, other = turns.of_camera(), turns.of_camera()
    run = StagedPipeline(source, models(1), (places,), meter, DecodeOptions, turn=own)
    run.start()
    try:
        source.asked.release()
        assert wait_until(lambda: places.sequences == [0], 60.0)
        assert other.take(lambda: True)
        for number in range(1, 8):
            source.asked.release()
            assert wait_until(lambda n=number: source.read == n + 2, 60.0)
        # The one that waits for its turn, the one that may displace it, and the next one's own.
        assert wait_until(lambda: len(source.alive) <= 3, 60.0), source.alive
        assert min(source.alive) >= 6
        other.give_back()
        assert wait_until(lambda: places.sequences == [0, 7], 60.0)
    finally:
        other.leave()
        run.stop()
        source.asked.release()
        run.join(10.0)
