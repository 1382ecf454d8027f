"""Recordings: the same bytes however many frames are under way, and a clean end."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
from programs import CLIP

from edgecam.core.result import (
    DecodeOptions,
    Frame,
    Result,
    Sink,
    Source,
    SourceStatus,
    be_idle,
)
from edgecam.daemon.session import load_models, pipeline_for
from edgecam.inference.model import Model
from edgecam.pipeline.base import Pipeline
from edgecam.pipeline.batching import MAX_BYTES, MAX_FRAMES, Look, batch
from edgecam.pipeline.meter import Meter
from edgecam.pipeline.single_interpreter import RelayPipeline
from edgecam.pipeline.staged import StagedPipeline
from edgecam.pipeline.worker_pool import LanesPipeline
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
    return pipeline_for(source, loaded)(source, loaded, sinks, meter, DecodeOptions, frames)


def test_any_spread_over_threads_gives_the_same_bytes_in_order(tmp_path: Path) -> None:
    found = []
    for threads, may_twin, kind in (
        (1, True, RelayPipeline),
        (1, False, StagedPipeline),
        (2, True, LanesPipeline),
        (3, True, LanesPipeline),
    ):
        path = tmp_path / f"{threads}.jsonl"
        places, lines = Places(), JsonLinesSink(str(path), "camera", "boot")
        loaded = models(threads)
        # As with a delegate.
        loaded[0].may_twin = may_twin
        run = pipeline(loaded, lines, places)
        assert type(run) is kind
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


@pytest.mark.parametrize("threads", [1, 2])
def test_large_pictures_behind_small_ones_are_not_read_by_the_eight(threads: int) -> None:
    large_px = 1200
    source = Pictures([64] * 24 + [large_px] * 12)
    sink = Ahead(source)
    run = pipeline(models(threads), sink, frames=None, source=source)
    run.start()
    assert run.wait(300.0)
    assert sink.sequences == list(range(36))
    # A batch for each worker, or that is inferred and published, and one that waits.
    assert max(sink.held_bytes) <= 3 * (MAX_BYTES + 3 * large_px**2)


def test_a_batch_ends_early_where_frames_come_slowly_or_are_large() -> None:
    def frames(*sides_px: int) -> Iterator[Look]:
        return ((frame, [True]) for frame in Pictures(sides_px).frames())

    def late() -> Iterator[Look]:
        for frame in frames(*repeat(8, 20)):
            time.sleep(0.03)
            yield frame

    assert len(batch(frames(*repeat(8, 20)), MAX_FRAMES)) == MAX_FRAMES
    assert len(batch(frames(*chain(repeat(8, 3), repeat(2000, 9))), MAX_FRAMES)) == 4
    assert len(batch(frames(*repeat(1000, 9)), MAX_FRAMES)) == 2
    assert len(batch(late(), MAX_FRAMES)) <= 2
    assert batch(frames(), MAX_FRAMES) == []


def test_the_first_result_waits_for_no_third_frame() -> None:
    source = Pictures([64] * 30)
    sink = Ahead(source)
    run = pipeline(models(1), sink, source=source)
    run.start()
    assert run.wait(300.0)
    assert sink.read[0] == 2


def test_whoever_publishes_for_all_to_a_slow_sink_is_not_taken_for_stuck() -> None:
    source = Pictures([64] * 60)
    sink = Ahead(source, pause_s=0.05)
    run = pipeline(models(2), sink, frames=None, source=source)
    run.start()
    stuck = set()
    while not run.wait(0.02):
        stuck |= set(run.heartbeats.older_than(time.monotonic() - 1.2))
    assert sink.sequences == list(range(60))
    assert not stuck


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
