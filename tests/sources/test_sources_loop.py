"""A recording that begins again at its end."""

from __future__ import annotations

import itertools
import threading

import numpy as np

from edgecam.core.protocols import SourceStatus
from edgecam.inference import catalog as bundled
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
from edgecam.sources.loop import Loop
from edgecam.sources.video import VideoFile


def test_counts_on_over_the_end_and_shows_the_same_pictures_again() -> None:
    source = open_source(SourceSettings(url=str(bundled.clip()), loop=True))
    frames = list(itertools.islice(source.frames(), 203))
    source.close()
    assert [frame.sequence for frame in frames] == list(range(203))
    assert frames[100].media_time_s == frames[0].media_time_s
    assert np.array_equal(frames[102].image, frames[2].image)
    assert not np.array_equal(frames[2].image, frames[50].image)
    assert source.status().faults == {"laps": 2}
    assert not source.live


def test_ends_when_closed_from_another_thread() -> None:
    source = open_source(SourceSettings(url=str(bundled.clip()), loop=True, realtime=True))
    assert source.live
    threading.Timer(0.3, source.close).start()
    assert 1 <= len(list(source.frames())) <= 6


def test_is_never_ended_between_two_laps() -> None:
    between: list[SourceStatus] = []

    def opened() -> VideoFile:
        if loops:
            between.append(loops[0].status())
        return VideoFile(str(bundled.clip()))

    loops: list[Loop] = []
    source = Loop(opened)
    loops.append(source)
    assert len(list(itertools.islice(source.frames(), 101))) == 101
    assert [(status.state, status.reason) for status in between] == [("online", None)]
    source.close()
