"""What ships under models/ is what its cards say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgecam.inference import catalog as bundled
from edgecam.sources.video import VideoFile

MODELS = Path(__file__).parent.parent / "models"
CARDS = sorted(path for path in MODELS.rglob("*.toml") if path.parent.name != "published")


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_card_fits_its_file_and_says_where_it_is_from(path: Path) -> None:
    card = bundled.read_card(path)
    assert hashlib.sha256(card.file.read_bytes()).hexdigest() == card.fields["sha256"]
    for field in ("description", "origin", "licence", "copyright", "command"):
        assert card.fields[field], field


def test_every_binary_has_a_card() -> None:
    files = [*MODELS.rglob("*.tflite"), *MODELS.rglob("*.mp4")]
    assert [file for file in files if not file.with_suffix(".toml").is_file()] == []


def test_the_clip_holds_a_hundred_frames_that_differ() -> None:
    source = VideoFile(str(bundled.clip()))
    frames = list(source.frames())
    assert len(frames) == 100
    assert {(frame.width_px, frame.height_px) for frame in frames} == {(768, 576)}
    assert frames[-1].media_time_s == pytest.approx(9.9, abs=0.05)
    assert abs(frames[0].image.astype(int) - frames[-1].image).max() > 100
