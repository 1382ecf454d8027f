"""A video's size is read from its container, and refused, before FFmpeg sees the file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from programs import ROOT

from edgecam.core.errors import SourceError
from edgecam.core.opencv import cv2
from edgecam.sources import video
from edgecam.sources.video import VideoFile
from edgecam.sources.video_size import Size, stated_sizes

SHARED = ROOT.parent / "shared"


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def mp4(width: int, height: int) -> bytes:
    """A sound track and a picture track, each with a sample entry."""
    sound = box(b"mp4a", bytes(24), struct.pack(">I", 48_000 << 16), bytes(8))
    picture = box(b"avc1", bytes(24), struct.pack(">HH", width, height), bytes(50))
    tracks = []
    for head, entry in ((b"smhd", sound), (b"vmhd", picture)):
        table = box(b"stbl", box(b"stsd", bytes(4), struct.pack(">I", 1), entry))
        tracks.append(
            box(
                b"trak",
                box(b"tkhd", bytes(84)),
                box(b"mdia", box(b"minf", box(head, bytes(12)), table)),
            )
        )
    return box(b"ftyp", b"isom", bytes(4)) + box(b"mdat", bytes(100)) + box(b"moov", *tracks)


def element(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return kind + struct.pack(">Q", 1 << 56 | len(content)) + content


def matroska(width: int, height: int, *, is_live: bool = False) -> bytes:
    sides = [
        element(mark, struct.pack(">H", side))
        for mark, side in ((b"\xb0", width), (b"\xba", height))
    ]
    track = element(
        b"\x16\x54\xae\x6b", element(b"\xae", element(b"\xd7", b"\1"), element(b"\xe0", *sides))
    )
    head = element(b"\x1a\x45\xdf\xa3", element(b"\x42\x82", b"webm"))
    cluster = element(b"\x1f\x43\xb6\x75", bytes(100))
    if is_live:
        return head + b"\x18\x53\x80\x67" + b"\x01" + b"\xff" * 7 + track + cluster
    return head + element(b"\x18\x53\x80\x67", track, cluster)


def sizes(path: Path) -> list[Size]:
    with path.open("rb") as file:
        return stated_sizes(file)


@pytest.mark.parametrize(
    ("ending", "code"), [("mp4", "mp4v"), ("mov", "mp4v"), ("mkv", "mp4v"), ("webm", "VP80")]
)
def test_the_size_is_that_of_the_pictures_that_ffmpeg_wrote(
    tmp_path: Path, ending: str, code: str
) -> None:
    path = tmp_path / f"clip.{ending}"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 5, (96, 64))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {code}")
    for _ in range(3):
        writer.write(np.zeros((64, 96, 3), np.uint8))
    writer.release()
    assert sizes(path) == [(96, 64)]


@pytest.mark.parametrize(
    "data",
    [mp4(16_000, 16_000), matroska(16_000, 16_000), matroska(16_000, 16_000, is_live=True)],
    ids=["mp4", "matroska", "live"],
)
def test_a_huge_video_is_refused_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    path = tmp_path / "huge"
    path.write_bytes(data)
    monkeypatch.setattr(video.cv2, "VideoCapture", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(SourceError, match="16000x16000 is more than 100 million pixels"):
        VideoFile(str(path))


@pytest.mark.parametrize("whole", [mp4(640, 480), matroska(640, 480)], ids=["mp4", "matroska"])
def test_a_container_cut_anywhere_states_its_size_or_nothing(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "cut"
    found = set()
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        found |= set(sizes(path))
    assert (640, 480) in found
    assert all(width <= 640 and height <= 480 for width, height in found)


def test_boxes_within_boxes_end(tmp_path: Path) -> None:
    path = tmp_path / "deep"
    path.write_bytes(
        box(b"ftyp", bytes(8)) + box(b"moov", *[struct.pack(">I", 0) + b"moov"] * 50_000)
    )
    assert sizes(path) == []


def test_real_videos_state_what_they_show() -> None:
    paths = [path for ending in ("mp4", "mkv") for path in sorted(SHARED.glob(f"**/*.{ending}"))]
    if not paths:
        pytest.skip("no shared videos here")
    for path in paths:
        capture = cv2.VideoCapture(str(path))
        shown = tuple(int(capture.get(key)) for key in (3, 4))
        assert sizes(path) == [shown], path
