"""Cameras that hang upside down or on their side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgecam.core.frame import Frame
from edgecam.core.protocols import SourceStatus, be_idle
from edgecam.pipeline.base import HoldingSource
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
from edgecam.sources.turned import Turn, turned

# One row for each y; 2 high, 3 wide.
PICTURE = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, axis=2)
TURNED = {
    0: [[0, 1, 2], [3, 4, 5]],
    90: [[3, 0], [4, 1], [5, 2]],
    180: [[5, 4, 3], [2, 1, 0]],
    270: [[2, 5], [1, 4], [0, 3]],
}


class Held:
    """Two frames, and which of them were let go."""

    live = True
    description = "held"

    def __init__(self) -> None:
        self.made = [Frame(PICTURE, number, 0.0, 0.0) for number in range(2)]
        self.let_go: list[int] = []

    def frames(self, idle: Callable[[], None] = be_idle) -> Iterator[Frame]:
        idle()
        yield from self.made

    def release(self, frame: Frame) -> None:
        assert any(frame is each for each in self.made)
        self.let_go.append(frame.sequence)

    def status(self) -> SourceStatus:
        return SourceStatus("online")

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_source_turns_every_picture_clockwise(tmp_path: Path, degrees: int) -> None:
    path = tmp_path / "one.png"
    assert cv2.imwrite(str(path), PICTURE)
    settings = msgspec.convert({"url": str(path), "rotate": degrees}, SourceSettings)
    (frame,) = open_source(settings).frames()
    assert frame.image[:, :, 0].tolist() == TURNED[degrees]
    assert (frame.height_px, frame.width_px) == np.shape(TURNED[degrees])
    assert frame.image.flags.c_contiguous


def test_a_turned_source_lets_go_of_the_frames_that_its_own_are_made_of() -> None:
    held = Held()
    source = turned(held, Turn(90))
    assert isinstance(source, HoldingSource)
    first, second = source.frames()
    assert held.let_go == []
    source.release(second)
    source.release(first)
    source.release(first)
    assert held.let_go == [1, 0]
    assert source.status() == held.status()


def test_a_source_that_holds_nothing_is_turned_without_a_hold(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    assert cv2.imwrite(str(path), PICTURE)
    assert not isinstance(open_source(SourceSettings(url=str(path), rotate=180)), HoldingSource)


@pytest.mark.parametrize(
    ("degrees", "shown"),
    [(0, [[2, 1, 0], [5, 4, 3]]), (90, [[0, 3], [1, 4], [2, 5]]), (180, [[3, 4, 5], [0, 1, 2]])],
)
def test_a_source_is_mirrored_once_it_is_upright(
    tmp_path: Path, degrees: int, shown: list[list[int]]
) -> None:
    path = tmp_path / "one.png"
    assert cv2.imwrite(str(path), PICTURE)
    settings = msgspec.convert(
        {"url": str(path), "rotate": degrees, "mirror": True}, SourceSettings
    )
    (frame,) = open_source(settings).frames()
    assert frame.image[:, :, 0].tolist() == shown
    assert frame.is_mirrored
    assert frame.image.flags.c_contiguous


def test_a_camera_that_turns_and_mirrors_by_itself_is_left_alone() -> None:
    held = Held()
    for frame in turned(held, Turn(180, mirrors=True, is_done=True)).frames():
        assert frame.image is PICTURE
        assert frame.is_mirrored


def test_what_is_mirrored_twice_is_not_mirrored() -> None:
    mirrored = Turn(mirrors=True)
    twice = mirrored(mirrored(Frame(PICTURE, 0, 0.0, 0.0)))
    assert twice.image.tolist() == PICTURE.tolist()
    assert not twice.is_mirrored


@pytest.mark.parametrize("degrees", [45, -90, 360])
def test_another_angle_is_refused(degrees: int) -> None:
    with pytest.raises(msgspec.ValidationError, match="rotate"):
        msgspec.convert({"rotate": degrees}, SourceSettings)
