"""The thread that reads a live source: what kills others is an outage, and being stuck shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from brokers import free_port, wait_until

from edgecam.core.frame import Image
from edgecam.core.protocols import Source
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source, supervised
from edgecam.sources.live import LiveSource
from edgecam.sources.supervised import StreamError
from tests.servers import Server
from tests.servers.viewer import Viewer, wait_for

STEPS = ("probe", "open", "read", "close", "look")


class Planted:
    """A camera that does in one of its calls what a test wants, once it is armed."""

    description = "planted"

    formats = None

    def __init__(self, step: str, does: Callable[[], None]) -> None:
        self.step, self._does = step, does
        self.armed = threading.Event()

    def _reach(self, step: str) -> None:
        if step == self.step and self.armed.is_set():
            self._does()

    def probe(self) -> None:
        self._reach("probe")

    def recheck(self) -> None:
        self._reach("look")

    def open(self, count: Callable[[str], None]) -> Planted:
        del count
        self._reach("open")
        return self

    def read(self) -> Image:
        time.sleep(0.01)
        self._reach("read")
        if self.armed.is_set():
            raise StreamError("closed", "the server ended the stream")
        return np.random.default_rng().integers(0, 255, (48, 64, 3), np.uint8)

    def close(self) -> None:
        self._reach("close")


def planted(camera: Planted) -> Viewer:
    # Between attempts that are further apart than a second the camera is looked at.
    distance_s = 5 if camera.step == "look" else 0.2
    fast = SourceSettings(
        url="planted",
        wait=True,
        open_timeout_s=0.1,
        read_timeout_s=0.1,
        rate_hz=60,
        backoff_min_s=distance_s,
        backoff_max_s=distance_s,
    )
    return Viewer(LiveSource(camera, fast))


@pytest.mark.parametrize("step", STEPS)
def test_any_exception_in_a_reader_is_an_outage_that_ends(step: str) -> None:
    def fail() -> None:
        raise KeyError("rtsp://eva:geheim@cam/")

    camera = Planted(step, fail)
    viewer = planted(camera)
    viewer.wait_for_frames(3, 40)
    camera.armed.set()
    wait_for(lambda: "internal" in str(viewer.source.status()), 40)
    status = viewer.source.status()
    assert status.state == "offline"
    reason = status.reason or ""
    assert reason.startswith("internal error: KeyError('rtsp://")
    assert " in test_sources_reader.py:" in reason
    assert "geheim" not in reason
    camera.armed.clear()
    viewer.wait_for_frames(3, 40)
    assert viewer.source.status().state == "online"
    viewer.close()


class Idle:
    """Counts how often a source says that it waits."""

    def __init__(self, source: Source) -> None:
        self.count = self.frames = 0
        self.source = source
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        for _ in self.source.frames(self._beat):
            self.frames += 1

    def _beat(self) -> None:
        self.count += 1

    def goes_on(self) -> bool:
        before = self.count + self.frames
        return wait_until(lambda: self.count + self.frames >= before + 4, 40)

    def has_stopped(self) -> bool:
        """Says nothing for as long as it would say something eight times."""
        before = self.count + self.frames
        time.sleep(2.0)
        return self.count + self.frames == before


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "STUCK_AFTER_S", 1.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("step", STEPS)
def test_reader_that_hangs_no_longer_counts_as_waiting(step: str) -> None:
    released = threading.Event()
    camera = Planted(step, released.wait)
    viewer = planted(camera)
    idle = Idle(viewer.source)
    viewer.wait_for_frames(3, 40)
    assert idle.goes_on()
    camera.armed.set()
    wait_for(lambda: "hangs" in (viewer.source.status().reason or ""), 40)
    assert idle.has_stopped()
    assert viewer.source.status().state == "offline"
    camera.armed.clear()
    released.set()
    assert idle.goes_on()
    viewer.wait_for_state("online", 40)
    viewer.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("step", STEPS)
def test_reader_that_died_no_longer_counts_as_waiting(step: str) -> None:
    def die() -> None:
        raise SystemExit

    camera = Planted(step, die)
    viewer = planted(camera)
    idle = Idle(viewer.source)
    viewer.wait_for_frames(3, 40)
    camera.armed.set()
    wait_for(lambda: "has died" in (viewer.source.status().reason or ""), 40)
    assert idle.has_stopped()
    assert viewer.source.status().state == "offline"
    viewer.close()


@pytest.fixture
def mute() -> Iterator[Server]:
    with Server("mjpeg.py") as server:
        server.tell("mute")
        yield server


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "url",
    [
        "/dev/video97",
        "http://127.0.0.1:{closed}/x",
        "rtsp://127.0.0.1:{closed}/x",
        "mqtt://127.0.0.1:{closed}/front",
        "http://127.0.0.1:{mute}/stream",
        "rtsp://127.0.0.1:{mute}/stream",
        "mqtt://127.0.0.1:{mute}/front",
    ],
)
def test_reader_that_waits_for_a_camera_is_not_stuck(mute: Server, url: str) -> None:
    where = url.format(closed=free_port(), mute=mute.port)
    source = open_source(
        SourceSettings(
            url=where, wait=True, open_timeout_s=1, read_timeout_s=1, rate_hz=10, backoff_max_s=1
        )
    )
    idle = Idle(source)
    for _ in range(4):
        assert idle.goes_on()
        assert "started again" not in (source.status().reason or "")
    assert source.status().state == "offline"
    source.close()
