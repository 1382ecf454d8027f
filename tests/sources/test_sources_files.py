"""Video files and pictures: lossless, in order, timed, and refused in one line."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgecam.core.errors import EdgecamError, SourceError
from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.settings.schema import SourceSettings
from edgecam.sources import images, open_source
from edgecam.sources.images import find
from edgecam.sources.playback_clock import Pace

FRAMES, RATE_HZ = 50, 25.0


def picture(number: int, width: int = 160, height: int = 120) -> np.ndarray:
    """A picture that tells its number: brightness by eighths, large blocks that survive coding."""
    image = np.full((height, width, 3), 16, np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            image[:, bit * width // 8 : (bit + 1) * width // 8] = 235
    return image


def number_in(image: np.ndarray) -> int:
    width = image.shape[1]
    return sum(
        1 << bit
        for bit in range(8)
        if image[:, bit * width // 8 + 4 : (bit + 1) * width // 8 - 4].mean() > 128
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "counting.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, (160, 120))
    for number in range(FRAMES):
        writer.write(picture(number))
    writer.release()
    return path


def read(url: str | Path, **settings: object) -> list[Frame]:
    return list(open_source(SourceSettings(url=str(url), **settings)).frames())


def refusal(url: str | Path) -> str:
    with pytest.raises(SourceError) as caught:
        read(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_video_gives_every_frame_in_order_with_its_time(clip: Path) -> None:
    frames = read(clip)
    assert [number_in(frame.image) for frame in frames] == list(range(FRAMES))
    assert [frame.sequence for frame in frames] == list(range(FRAMES))
    assert [frame.media_time_s for frame in frames] == [n / RATE_HZ for n in range(FRAMES)]
    image = frames[0].image
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.shape == (120, 160, 3)


def test_video_reads_the_same_twice_and_ends(clip: Path) -> None:
    first, second = read(clip), read(clip)
    assert [f.media_time_s for f in first] == [f.media_time_s for f in second]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))
    source = open_source(SourceSettings(url=clip.as_uri()))
    assert not source.live
    assert source.status().state == "online"
    list(source.frames())
    assert source.status().state == "ended"
    assert source.status().reason is None


def test_variable_rate_keeps_the_containers_times(clip: Path, tmp_path: Path) -> None:
    sparse = tmp_path / "sparse.mkv"
    keep = "select='lt(n,10)+gte(n,40)'"
    command = ["ffmpeg", "-v", "error", "-i", clip, "-vf", keep, "-vsync", "vfr", sparse]
    subprocess.run(command, check=True)
    times = [frame.media_time_s for frame in read(sparse)]
    assert times == pytest.approx([n / RATE_HZ for n in [*range(10), *range(40, 50)]], abs=0.002)


def test_stream_without_times_counts_frames(clip: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw.m4v"
    command = ["ffmpeg", "-v", "error", "-i", clip, "-c:v", "mpeg4", "-f", "m4v", raw]
    subprocess.run(command, check=True)
    times = [frame.media_time_s for frame in read(raw)]
    assert len(times) == FRAMES
    assert times == pytest.approx([n / RATE_HZ for n in range(FRAMES)], abs=1e-3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("raw.h264", ["-c:v", "libx264"]),
        ("raw.mjpeg", ["-c:v", "mjpeg"]),
        # Whatever it is called.
        ("raw.bin", ["-c:v", "mjpeg", "-f", "mjpeg"]),
    ],
)
def test_a_recording_without_times_has_the_rate_that_is_set_or_says_which_it_assumes(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, options: list[str]
) -> None:
    raw = tmp_path / name
    command = ["ffmpeg", "-v", "error", "-i", clip, "-frames:v", "12", *options, raw]
    subprocess.run(command, check=True)
    times = [frame.media_time_s for frame in read(raw, rate_hz=10)]
    assert times == pytest.approx([n / 10 for n in range(12)])
    assert caplog.records == []
    times = [frame.media_time_s for frame in read(raw)]
    assert times == pytest.approx([n / 25 for n in range(12)])
    assert [record.message for record in caplog.records] == [
        f"{raw}: a recording without times: 25 frames a second are assumed; say at how many it "
        "was made with source.rate_hz"
    ]


def test_a_recording_with_times_keeps_them_whatever_rate_is_set(clip: Path) -> None:
    assert read(clip, rate_hz=5)[-1].media_time_s == (FRAMES - 1) / RATE_HZ


@pytest.mark.parametrize("name", ["sparse.mkv", "sparse.mp4", "edited.mp4"])
def test_a_whole_recording_does_not_break_off_whatever_its_rate(
    clip: Path, tmp_path: Path, name: str
) -> None:
    if name == "edited.mp4":
        # Cut without encoding: the frames before the cut are there, and no player shows them.
        whole = tmp_path / "whole.mp4"
        command = ["ffmpeg", "-v", "error", "-i", clip, "-c:v", "libx264", whole]
        subprocess.run(command, check=True)
        command = ["ffmpeg", "-v", "error", "-ss", "1.02", "-i", whole, "-c", "copy"]
    else:
        keep = "select='lt(n,3)+eq(n,40)+eq(n,49)'"
        command = ["ffmpeg", "-v", "error", "-i", clip, "-vf", keep, "-vsync", "vfr"]
    subprocess.run([*command, tmp_path / name], check=True)
    source = open_source(SourceSettings(url=str(tmp_path / name)))
    assert len(list(source.frames())) == (24 if name == "edited.mp4" else 5)
    assert source.status().reason is None


def test_matroska_that_is_cut_off_breaks_off(clip: Path, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.mkv", tmp_path / "half.mkv"
    subprocess.run(["ffmpeg", "-v", "error", "-i", clip, "-c", "copy", whole], check=True)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = open_source(SourceSettings(url=str(half)))
    assert 10 < len(list(source.frames())) < 40
    assert "the file breaks off after" in (source.status().reason or "")


def test_video_that_breaks_off_gives_what_it_has(clip: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.avi"
    half.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    source = open_source(SourceSettings(url=str(half)))
    numbers = [number_in(frame.image) for frame in source.frames()]
    assert 20 <= len(numbers) <= 27
    assert numbers[:-1] == list(range(len(numbers) - 1))
    assert source.status().state == "ended"
    assert source.status().reason == f"the file breaks off after {len(numbers)} of 50 frames"


def test_realtime_plays_at_its_own_rate_whatever_the_consumer_does(clip: Path) -> None:
    source = open_source(SourceSettings(url=str(clip), realtime=True))
    assert source.live
    frames = []
    for frame in source.frames():
        frames.append(frame)
        if frame.sequence == 5:
            time.sleep(0.5)  # late by 12 frames; the rest must not be
    due_s = np.array([frame.captured_s for frame in frames])
    assert np.diff(due_s) == pytest.approx(1 / RATE_HZ, abs=1e-6)


def test_a_late_frame_is_not_waited_for_and_the_rest_keep_their_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s, waits_s = 100.0, []

    class Closed(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal now_s
            now_s += timeout or 0.0
            waits_s.append(timeout)
            return False

    clock = SimpleNamespace(monotonic=lambda: now_s)
    monkeypatch.setattr("edgecam.sources.playback_clock.time", clock)
    pace = Pace(Closed(), lambda: None)
    due_s = [pace.wait(number * 0.125) for number in range(3)]
    now_s += 0.5  # late by four frames
    late = len(waits_s)
    due_s += [pace.wait(number * 0.125) for number in range(3, 9)]
    assert due_s == [100.0 + number * 0.125 for number in range(9)]
    assert waits_s[late:] == [0.125, 0.125]
    assert now_s == 101.0


def test_close_ends_a_realtime_video_at_once(clip: Path) -> None:
    source = open_source(SourceSettings(url=str(clip), realtime=True))
    frames = source.frames()
    next(frames)
    source.close()
    assert list(frames) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b"this is no video\n" * 50, "text file"),
        (bytes(range(256)) * 100, "not a video that can be read"),
    ],
)
def test_unreadable_video_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    message = refusal(path)
    assert says in message
    assert str(path) in message


def test_damaged_video_gives_what_can_be_decoded_and_prints_nothing(
    clip: Path, tmp_path: Path
) -> None:
    data = bytearray(clip.read_bytes())
    for offset in range(10_000, len(data), 5003):
        data[offset] ^= 0xFF
    damaged = tmp_path / "damaged.avi"
    damaged.write_bytes(data)
    code = (
        "import sys; from edgecam.sources import open_source;"
        "from edgecam.settings.schema import SourceSettings;"
        "print(len(list(open_source(SourceSettings(url=sys.argv[1])).frames())))"
    )
    command = [sys.executable, "-c", code, damaged]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert int(run.stdout) >= FRAMES - 3


def test_directory_is_read_in_order_of_name(tmp_path: Path) -> None:
    for number, name in enumerate(["a.jpg", "b.png", "c.bmp", "d.webp", "e.JPEG", "f.tiff"]):
        ok, data = cv2.imencode(Path(name).suffix.lower(), picture(number))
        assert ok
        (tmp_path / name).write_bytes(data.tobytes())
    (tmp_path / "notes.txt").write_text("not a picture")
    frames = read(tmp_path)
    assert [number_in(frame.image) for frame in frames] == list(range(6))
    assert [frame.file for frame in frames] == sorted(p.name for p in tmp_path.glob("[a-f].*"))
    assert [frame.media_time_s for frame in frames] == [None] * 6
    assert [frame.media_time_s for frame in read(tmp_path, rate_hz=10)] == [
        0,
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
    ]


def test_glob_names_files_below_what_they_share(tmp_path: Path) -> None:
    for number, name in enumerate(["x/1.png", "x/2.png", "y/1.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), picture(number))
    assert [frame.file for frame in read(tmp_path / "*" / "*.png")] == [
        "x/1.png",
        "x/2.png",
        "y/1.png",
    ]
    assert [frame.file for frame in read(tmp_path / "x" / "*.png")] == ["1.png", "2.png"]
    assert "no file matches" in refusal(tmp_path / "*.gif")


def test_looping_links_below_two_stars_give_each_file_once(tmp_path: Path) -> None:
    for number, name in enumerate(["a.png", "x/b.png", "x/y/c.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), picture(number))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "d.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "loop1").symlink_to(".")
    (tmp_path / "x" / "loop2").symlink_to("..")
    (tmp_path / "x" / "y" / "again.png").symlink_to("../b.png")
    (tmp_path / "gone").symlink_to("nowhere")
    every = ["a.png", "x/b.png", "x/y/c.png"]

    def names(pattern: str) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in find(f"{tmp_path}/{pattern}")]

    assert names("**/*.png") == every
    assert names("**") == every
    assert names("**/**/*.png") == every
    assert names("x/**/*.png") == ["x/b.png", "x/loop2/a.png", "x/y/c.png"]
    assert names("[x]/**/c.png") == ["x/y/c.png"]
    assert names("**/y/*.png") == ["x/y/again.png", "x/y/c.png"]
    assert names("*.png") == ["a.png"]


def test_a_pattern_below_which_too_many_folders_lie_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_FOLDERS", 3)
    for name in "abc":
        (tmp_path / name).mkdir()
    assert "at most 3 folders below **" in refusal(tmp_path / "**" / "*.png")


@pytest.mark.parametrize("name", ["z.jpg", "z.mp4"])
def test_what_is_no_regular_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    assert "not a regular file" in refusal(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(name)
    assert "symbolic links" in refusal(tmp_path / name)


def test_a_picture_file_of_more_bytes_than_its_pixels_can_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "z.jpg").write_bytes(b"\xff\xd8\xff" + bytes(500))
    with pytest.raises(SourceError, match="more than 400 bytes"):
        read(tmp_path / "z.jpg", max_megapixels=0.0001)


def test_pixels_of_files_are_bounded_by_a_setting(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture(1, 160, 120))
    assert len(read(tmp_path / "a.png", max_megapixels=0.0192)) == 1
    with pytest.raises(SourceError, match=r"160x120 is more than 0\.0191 million pixels"):
        read(tmp_path / "a.png", max_megapixels=0.0191)


def test_a_video_of_larger_pictures_is_refused_when_it_opens(clip: Path) -> None:
    assert len(read(clip, max_megapixels=0.0192)) == FRAMES
    with pytest.raises(SourceError, match=r"160x120 is more than 0\.0191 million pixels"):
        read(clip, max_megapixels=0.0191)


def test_damaged_picture_is_passed_over_in_a_directory_and_refused_alone(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), picture(number))
    middle = tmp_path / "1.jpg"
    middle.write_bytes(middle.read_bytes()[:-200])
    source = open_source(SourceSettings(url=str(tmp_path)))
    assert [frame.file for frame in source.frames()] == ["0.jpg", "2.jpg"]
    assert source.status().faults == {"unreadable": 1}
    message = refusal(middle)
    assert "cut short" in message
    assert "1.jpg" in message
    for path in tmp_path.iterdir():
        path.write_bytes(b"nothing")
    assert "no picture can be decoded" in refusal(tmp_path)


def test_empty_directory_is_refused(tmp_path: Path) -> None:
    assert "no pictures in this directory" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_picture_of_any_format_is_refused(
    tmp_path: Path, suffix: str, share: float
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    path = tmp_path / f"cut{suffix}"
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "cut short" in refusal(path)


def test_pictures_become_bgr_of_eight_bits(tmp_path: Path) -> None:
    colour = np.zeros((4, 6, 4), np.uint8)
    colour[:] = (10, 20, 30, 128)
    deep = np.full((4, 6), 40_000, np.uint16)
    cv2.imwrite(str(tmp_path / "alpha.png"), colour)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    alpha, grey = (frame.image for frame in read(tmp_path))
    assert alpha.shape == grey.shape == (4, 6, 3)
    assert alpha.dtype == grey.dtype == np.uint8
    assert alpha[0, 0].tolist() == [10, 20, 30]
    assert grey[0, 0].tolist() == [156, 156, 156]  # 40000 / 257


def test_exif_orientation_turns_the_picture(tmp_path: Path) -> None:
    ok, data = cv2.imencode(".jpg", picture(1))
    assert ok
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    path = tmp_path / "turned.jpg"
    path.write_bytes(data.tobytes()[:2] + segment + data.tobytes()[2:])
    image = read(path)[0].image
    assert image.shape == (160, 120, 3)  # orientation 6: a quarter turn clockwise
    assert image[4, 60, 0] > 128  # the bright left edge is on top now
    assert image[-4, 60, 0] < 128


@pytest.mark.parametrize("url", ["gopher://host/x", "srt://1.2.3.4:5"])
def test_unknown_scheme_is_refused_with_what_is_known(url: str) -> None:
    assert "expected a camera index" in refusal(url)


def test_missing_opencv_library_names_both_remedies() -> None:
    code = (
        "import sys, importlib.abc\n"
        "class Broken(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'cv2':\n"
        "            raise ImportError('libGL.so.1: cannot open shared object file')\n"
        "sys.meta_path.insert(0, Broken())\n"
        "from edgecam.core.errors import EdgecamError\n"
        "try:\n"
        "    import edgecam.core.opencv\n"
        "except EdgecamError as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "libgl1" in run.stdout
    assert "opencv-python-headless" in run.stdout
    assert issubclass(SourceError, EdgecamError)
