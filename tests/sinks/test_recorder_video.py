"""An event as an MP4: made at once beside its recording, or by replay, and gone with it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from programs import CLIP, edgecam, error_line

from edgecam.core.frame import Image
from edgecam.sinks.recorder.file import SUFFIX, RecordingError, read
from edgecam.sinks.recorder.folder import Folder
from edgecam.sinks.recorder.video import RATE_HZ, mp4


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recorder that kept one event of the clip, with pictures and a video."""
    folder = tmp_path_factory.mktemp("flown")
    config = folder / "settings.toml"
    config.write_text(
        f'[recorder]\nenabled = true\ndirectory = "{folder / "kept"}"\npictures = "image"\n'
        'video = "pictures"\nevents = ["appeared"]\nbefore_s = 1\nafter_s = 1\nmax_files = 1\n'
    )
    done = edgecam(
        *("--config", config, "--model", "ssdlite", "--source", CLIP, "--realtime"),
        *("--max-frames", "25"),
    )
    assert done.returncode == 0, done.stderr
    return folder / "kept"


def frames_of(path: Path) -> list[Image]:
    capture, found = cv2.VideoCapture(str(path)), []
    while (step := capture.read())[0]:
        found.append(np.asarray(step[1], np.uint8))
    assert capture.get(cv2.CAP_PROP_FPS) == RATE_HZ
    return found


def test_a_video_stands_beside_the_recording_and_shows_the_street(flown: Path) -> None:
    recording, video = sorted(flown.iterdir(), key=lambda path: path.suffix)
    assert recording.name == video.name.removesuffix(".mp4") + SUFFIX
    assert video.stat().st_mode & 0o777 == 0o600
    shown = frames_of(video)
    kept = [record for record in read(recording).frames if record.jpeg is not None]
    span_s = kept[-1].time_s - kept[0].time_s
    assert len(shown) == pytest.approx(span_s * RATE_HZ, abs=RATE_HZ * 1.1)
    assert shown[0].shape == (240, 320, 3)
    first = cv2.imdecode(np.frombuffer(kept[0].jpeg or b"", np.uint8), cv2.IMREAD_COLOR)
    assert first is not None
    assert np.abs(shown[0].astype(int) - first).mean() < 8
    # By a program that has nothing of OpenCV.
    if (ffprobe := shutil.which("ffprobe")) is not None:
        asked = [ffprobe, "-v", "error", "-show_entries", "stream=codec_name", video]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        assert "codec_name=mpeg4" in done.stdout


def test_replay_makes_one_of_pictures_or_of_stick_figures_alone(
    flown: Path, tmp_path: Path
) -> None:
    (recording,) = flown.glob(f"*{SUFFIX}")
    done = edgecam("replay", recording, "--video", tmp_path / "event.mp4")
    assert done.returncode == 0, done.stderr
    assert frames_of(tmp_path / "event.mp4")[0].mean() > 40
    done = edgecam("replay", recording, "--video", tmp_path / "bare.mp4", "--skeleton")
    assert done.returncode == 0, done.stderr
    # A detector has no skeletons: nothing of the street is left.
    assert max(image.mean() for image in frames_of(tmp_path / "bare.mp4")) < 2


def test_what_makes_no_video_is_one_line(flown: Path, tmp_path: Path) -> None:
    (recording,) = flown.glob(f"*{SUFFIX}")
    assert "for the flight recorder's files" in error_line(
        edgecam("replay", CLIP, "--video", tmp_path / "x.mp4")
    )
    assert "expected --video" in error_line(edgecam("replay", recording, "--skeleton"))
    with pytest.raises(RecordingError, match="no pictures"):
        mp4([])


def test_pictures_come_at_the_pace_of_the_event_and_of_odd_sizes(tmp_path: Path) -> None:
    grey = [np.full((31, 41, 3), shade, np.uint8) for shade in (0, 120, 240)]
    path = tmp_path / "x.mp4"
    path.write_bytes(mp4(zip((0.0, 0.5, 2.0), grey, strict=True)))
    shades = [int(image.mean()) for image in frames_of(path)]
    assert np.allclose(shades, [0] * 5 + [120] * 15 + [240], atol=12), shades


def test_a_video_counts_and_goes_with_its_recording(tmp_path: Path) -> None:
    folder = Folder(tmp_path, max_files=2, max_bytes=1000)
    for number in range(3):
        contents = folder.add(f"{number}{SUFFIX}", b"r" * 100, b"v" * 200)
    assert (contents.files, contents.size_bytes, contents.dropped) == (2, 600, 1)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000002-1.mp4", f"000002-1{SUFFIX}", "000003-2.mp4", f"000003-2{SUFFIX}"]
    contents = folder.add(f"3{SUFFIX}", b"r" * 100, b"v" * 700)
    assert (contents.files, contents.size_bytes) == (1, 800)
    with pytest.raises(OSError, match="more than"):
        folder.add(f"4{SUFFIX}", b"r" * 500, b"v" * 501)
    assert len(list(tmp_path.iterdir())) == 2
