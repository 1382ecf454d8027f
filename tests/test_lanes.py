"""Recordings: the same bytes however many frames are under way, and a clean end."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from programs import CLIP

from edgecam.lanes import LanesPipeline
from edgecam.model import Model
from edgecam.pipeline import Pipeline
from edgecam.relay import RelayPipeline
from edgecam.session import load_models, pipeline_for
from edgecam.settings import InferenceSettings, ModelSettings, Settings, SourceSettings
from edgecam.sinks.jsonl import JsonLinesSink
from edgecam.sources import is_recording
from edgecam.sources.video import VideoFile
from edgecam.staged import StagedPipeline
from edgecam.telemetry import Meter
from edgecam.types import DecodeOptions, Result, Sink

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


def models(threads: int) -> list[Model]:
    inference = InferenceSettings(threads=threads, probe=False)
    return load_models(
        Settings(
            model=(ModelSettings(path="posenet-int8", input_size="257x257"),),
            source=SourceSettings(url=str(CLIP)),
            inference=inference,
        )
    )


def pipeline(loaded: list[Model], *sinks: Sink, frames: int | None = FRAMES) -> Pipeline:
    source = VideoFile(str(CLIP))
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
        assert run.wait(60.0)
        run.join(1.0)
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
        run.wait(60.0)
    run.join(5.0)
    assert places.sequences == list(range(5))


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
        run.join(5.0)
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
