"""FFmpeg refuses a large picture itself, whatever its container or stream stated before."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from servers.scripted import scripted

from edgecam.core.errors import SourceError
from edgecam.core.opencv import cv2
from edgecam.settings.schema import SourceSettings
from edgecam.sources import ffmpeg_bound
from edgecam.sources import url as urls
from edgecam.sources.ffmpeg import FfmpegEndpoint
from edgecam.sources.ffmpeg_bound import bound_pixels
from edgecam.sources.picture_limits import FILE_PIXELS
from edgecam.sources.supervised import StreamError
from edgecam.sources.video import VideoFile

TESTS = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not bound_pixels(FILE_PIXELS), reason="this OpenCV's FFmpeg is of no known kind"
)


WIDTH, HEIGHT = 128, 96
FRAME_HEADER = b"\xff\xc0\x00\x11\x08"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """What is written is bounded too."""
    yield
    bound_pixels(FILE_PIXELS)


def film(path: Path, code: str) -> bytes:
    bound_pixels(FILE_PIXELS)
    kind = cv2.VideoWriter.fourcc(*code)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, kind, 25, (WIDTH, HEIGHT))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {code} into {path.suffix}")
    noise = np.random.default_rng(1)
    for _ in range(4):
        writer.write(noise.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    writer.release()
    return path.read_bytes()


def with_larger_jpegs(data: bytes, side: int) -> bytes:
    """An AVI that states the size it had, and whose JPEGs state another."""
    sides = struct.pack(">HH", side, side)
    larger, count = re.subn(FRAME_HEADER + rb"....", FRAME_HEADER + sides, data, flags=re.DOTALL)
    assert count == 4
    return larger


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *(("a.avi", "MJPG"), ("a.avi", "XVID"), ("a.ts", "mp4v"), ("a.mpg", "mpg1")),
        *(("a.flv", "FLV1"), ("a.wmv", "WMV2"), ("a.mp4", "mp4v"), ("a.mkv", "FFV1")),
    ],
)
def test_every_container_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str
) -> None:
    film(tmp_path / name, code)
    path = str(tmp_path / name)
    video = VideoFile(path, max_pixels=WIDTH * HEIGHT)
    assert next(iter(video.frames())).image.shape == (HEIGHT, WIDTH, 3)
    video.close()
    monkeypatch.setattr(ffmpeg_bound, "_PADDING", 0)
    bound_pixels(WIDTH * HEIGHT - 1)
    assert not cv2.VideoCapture(path, cv2.CAP_FFMPEG).read()[0]
    with pytest.raises(SourceError, match=r"more than 0\.01\d* million pixels"):
        VideoFile(path, max_pixels=WIDTH * HEIGHT - 1)


def test_a_video_whose_pictures_are_larger_than_it_states_takes_no_memory(tmp_path: Path) -> None:
    """8000x8000 takes 460 MB where it is decoded."""
    data = with_larger_jpegs(film(tmp_path / "small.avi", "MJPG"), 8000)
    (tmp_path / "large.avi").write_bytes(data)
    script = """
import re, sys
from pathlib import Path
from edgecam.core.errors import SourceError
from edgecam.sources.video import VideoFile

def peak_kb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

small, large = sys.argv[1:]
VideoFile(small, max_pixels=25_000_000).close()
before = peak_kb()
try:
    VideoFile(large, max_pixels=25_000_000)
except SourceError as error:
    print(peak_kb() - before, error)
"""
    files = [str(tmp_path / name) for name in ("small.avi", "large.avi")]
    done = subprocess.run(
        [sys.executable, "-c", script, *files],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=True,
    )
    taken_kb, _, message = done.stdout.partition(" ")
    assert int(taken_kb) < 60_000
    assert "more than 25 million pixels: raise source.max_megapixels" in message


def test_a_picture_that_grows_within_a_video_ends_it(tmp_path: Path) -> None:
    data = film(tmp_path / "small.avi", "MJPG")
    second = with_larger_jpegs(data, 9000)[data.index(FRAME_HEADER) + 10 :]
    path = tmp_path / "grows.avi"
    path.write_bytes(data[: -len(second)] + second)
    video = VideoFile(str(path), max_pixels=25_000_000)
    assert [frame.image.shape for frame in video.frames()] == [(HEIGHT, WIDTH, 3)]


def test_every_copy_of_ffmpeg_in_the_process_is_bounded(tmp_path: Path) -> None:
    """As picamera2 loads the system's beside OpenCV's own."""
    script = """
import ctypes, shutil, sys
from edgecam.core.opencv import cv2
from edgecam.sources import ffmpeg_bound as bound

own = bound._loaded("avcodec")
copy = sys.argv[1] + "/" + own[0].rsplit("/", 1)[1]
shutil.copyfile(own[0], copy)
ctypes.CDLL(copy)
paths = bound._loaded("avcodec")
assert sorted(paths) == sorted([*own, copy]), paths
assert bound.bound_pixels(1_000_000)
util = bound._loaded("avutil")[0]
print({bound._option(path, util).default - bound._PADDING for path in paths})
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=True)
    assert done.stdout == "{1000000}\n"


def test_a_stream_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = film(tmp_path / "a.ts", "mp4v")
    answer = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + data * 20
    with scripted(lambda connection, _: connection.sendall(answer)) as server:
        url = urls.parse(f"http://127.0.0.1:{server.port}/live.ts")

        def opened(megapixels: float) -> FfmpegEndpoint:
            return FfmpegEndpoint(url, SourceSettings(url=url.full, max_megapixels=megapixels))

        capture = opened(0.02).open(lambda _: None)
        assert capture.read().shape == (HEIGHT, WIDTH, 3)
        capture.close()
        monkeypatch.setattr(ffmpeg_bound, "_PADDING", 0)
        with pytest.raises(StreamError, match=r"source\.max_megapixels"):
            opened(0.001).open(lambda _: None).read()
