"""A source or the last model fails in the middle: what was seen before is published."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from programs import ROOT
from test_pipeline import Places

from edgecam.api import results
from edgecam.core.errors import EdgecamError, ModelError, SourceError
from edgecam.core.frame import Frame
from edgecam.core.protocols import DecodeOptions, SourceStatus, be_idle
from edgecam.core.result import Result
from edgecam.daemon.run import run as run_daemon
from edgecam.daemon.stopping import Stop
from edgecam.inference.model import Model
from edgecam.pipeline.meter import Meter
from edgecam.pipeline.roi.controller import RoiController
from edgecam.pipeline.staged import StagedPipeline
from edgecam.settings.schema import InferenceSettings, ModelSettings, Settings, SourceSettings

FAILING = ROOT / "tests" / "data" / "models" / "fails_on_bright.tflite"
GOOD = 21
MORE = 40


class Breaking:
    """Dark pictures, then bright ones; it fails after ``fails_at`` of them."""

    description = "pictures"

    def __init__(self, fails_at: int | None = None, *, live: bool = False) -> None:
        self.live, self._fails_at = live, fails_at
        self._closed = False

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        del idle
        for number in range(GOOD + MORE):
            if number == self._fails_at:
                raise SourceError("the card is gone")
            if self._closed:
                return
            image = np.full((32, 32, 3), 255 * (number >= GOOD), np.uint8)
            yield Frame(image, number, time.monotonic(), float(number), float(number))
            if self.live:
                time.sleep(0.02)

    def status(self) -> SourceStatus:
        return SourceStatus("online")

    def close(self) -> None:
        self._closed = True


def run(
    kind: str, source: Breaking, *, paused: Callable[[], bool] = lambda: False
) -> tuple[list[int], EdgecamError]:
    inference = InferenceSettings(threads=1, probe=False)
    models = [Model(ModelSettings(path=str(FAILING)), inference)]
    places = Places()
    meter = Meter(10.0, time.monotonic())
    settings = Settings(
        model=(ModelSettings(path=str(FAILING)),), source=SourceSettings(url=str(Path("x")))
    )
    pipeline = StagedPipeline(
        *(source, models, [places], meter, DecodeOptions, None, lambda: 0.0, paused),
        roi=RoiController(settings, models) if kind == "roi" else None,
    )
    pipeline.start()
    with pytest.raises(EdgecamError) as raised:
        pipeline.wait(300.0)
    pipeline.join(60.0)
    assert pipeline.heartbeats.at_s == {}, "a thread did not end"
    return places.sequences, raised.value


@pytest.mark.parametrize("kind", ["staged", "roi"])
def test_all_before_a_model_fails_is_published_and_nothing_behind(kind: str) -> None:
    found, error = run(kind, Breaking())
    assert isinstance(error, ModelError)
    assert "gather index out of bounds" in str(error)
    assert found == list(range(GOOD))


@pytest.mark.parametrize("kind", ["staged", "roi"])
def test_all_before_a_source_fails_is_published(kind: str) -> None:
    found, error = run(kind, Breaking(fails_at=13))
    assert isinstance(error, SourceError)
    assert found == list(range(13))


@pytest.mark.parametrize("kind", ["staged", "roi"])
def test_a_live_source_too(kind: str) -> None:
    found, error = run(kind, Breaking(fails_at=13, live=True))
    assert isinstance(error, SourceError)
    assert found[-1] == 12
    found, error = run(kind, Breaking(live=True))
    assert isinstance(error, ModelError)
    # On a busy machine a bright one may overtake the last dark one.
    assert 0 < found[-1] < GOOD


@pytest.mark.parametrize("kind", ["staged", "roi"])
def test_a_live_source_that_fails_while_no_frame_is_taken_ends_the_run(kind: str) -> None:
    began_s = time.monotonic()
    _, error = run(
        kind, Breaking(fails_at=13, live=True), paused=lambda: time.monotonic() > began_s + 0.1
    )
    assert isinstance(error, SourceError)


def test_a_program_gets_the_last_result_too(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"inference.probe": False, "inference.threads": 1}
    for source, wanted in ((Breaking(fails_at=13), 13), (Breaking(), GOOD)):
        monkeypatch.setattr("edgecam.api.open_source", lambda *_, source=source: source)
        found: list[int] = []
        with results("pictures", FAILING, settings=settings) as seen:
            numbers = (each.frame.sequence for each in seen)
            with pytest.raises(EdgecamError):
                found.extend(numbers)
        assert found == list(range(wanted))


def test_who_stops_a_run_that_breaks_off_gets_to_know_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Places):
        def publish(self, result: Result) -> None:
            super().publish(result)
            time.sleep(0.1)
            if len(self.sequences) == 8:
                stop.set()

    monkeypatch.setattr("edgecam.daemon.session.open_source", lambda *_: Breaking(fails_at=13))
    settings = Settings(
        model=(ModelSettings(path=str(FAILING)),),
        source=SourceSettings(url="/pictures"),
        inference=InferenceSettings(threads=1, probe=False),
    )
    stop, slow = Stop(), Slow()
    with pytest.raises(SourceError):
        run_daemon(settings, stop, extra_sinks=[slow])
    assert len(slow.sequences) < 13
