"""What a file is, its bytes say: pictures of every format, their turning, animations, names."""

from __future__ import annotations

import binascii
import logging
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from edgecam.core.errors import SourceError
from edgecam.core.frame import Frame
from edgecam.core.opencv import cv2
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
from edgecam.sources.picture import decode_image, read_image

DATA = Path(__file__).parents[1] / "data" / "pictures"
FIELD = Path(__file__).resolve().parents[3] / "shared" / "field"
needs_field = pytest.mark.skipif(not FIELD.is_dir(), reason=f"no files at {FIELD}")
needs_avif = pytest.mark.skipif(
    not cv2.haveImageReader(str(DATA / "orientation_2.avif")), reason="this OpenCV reads no AVIF"
)
RED, GREEN, BLUE, WHITE = "red", "green", "blue", "white"
# Corners from the upper left clockwise, as they are stored.
STORED = (RED, GREEN, WHITE, BLUE)


def colours() -> np.ndarray:
    """Four colours in quarters, 48x32, BGR."""
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :24], image[:16, 24:] = (0, 0, 255), (0, 255, 0)
    image[16:, :24], image[16:, 24:] = (255, 0, 0), (255, 255, 255)
    return image


def corners(image: np.ndarray) -> tuple[str, ...]:
    """The colours from the upper left clockwise."""
    names = {(0, 0, 1): RED, (0, 1, 0): GREEN, (1, 0, 0): BLUE, (1, 1, 1): WHITE}
    places = ((4, 4), (4, -5), (-5, -5), (-5, 4))
    return tuple(names[tuple((image[place] > 128).astype(int).tolist())] for place in places)


def read(path: Path | str, **settings: object) -> list[Frame]:
    return list(open_source(SourceSettings(url=str(path), **settings)).frames())


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def exif(orientation: int) -> bytes:
    entry = struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0)
    return b"MM\0*\0\0\0\x08\0\x01" + entry + b"\0\0\0\0"


def webp(orientation: int, prefix: bytes) -> bytes:
    ok, data = cv2.imencode(".webp", colours(), [cv2.IMWRITE_WEBP_QUALITY, 101])
    assert ok
    picture, body = data.tobytes()[12:], prefix + exif(orientation)
    size = struct.pack("<HBHB", 47, 0, 31, 0)
    head = b"VP8X" + struct.pack("<II", 10, 0x08) + size
    content = b"WEBP" + head + picture + b"EXIF" + struct.pack("<I", len(body)) + body
    content += b"\0" * (len(body) & 1)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def png(orientation: int, kind: bytes) -> bytes:
    ok, data = cv2.imencode(".png", colours())
    assert ok
    body = exif(orientation)
    if kind == b"zTXt":
        digits = binascii.hexlify(b"Exif\0\0" + body)
        text = b"\nexif\n%8d\n%s\n" % (len(body) + 6, digits)
        body = b"Raw profile type exif\0\0" + zlib.compress(text)
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    whole: bytes = data.tobytes()
    return whole[:33] + chunk + whole[33:]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, STORED),
        (2, (GREEN, RED, BLUE, WHITE)),
        (3, (WHITE, BLUE, RED, GREEN)),
        (4, (BLUE, WHITE, GREEN, RED)),
        (5, (RED, BLUE, WHITE, GREEN)),
        (6, (BLUE, RED, GREEN, WHITE)),
        (7, (WHITE, GREEN, RED, BLUE)),
        (8, (GREEN, WHITE, BLUE, RED)),
    ],
)
def test_every_orientation_of_webp_and_png_is_turned(
    orientation: int, expected: tuple[str, ...]
) -> None:
    written = {
        "webp": webp(orientation, b""),
        "webp as JPEG's": webp(orientation, b"Exif\0\0"),
        "png": png(orientation, b"eXIf"),
        "png by ImageMagick": png(orientation, b"zTXt"),
    }
    found = {name: corners(decode_image(data)) for name, data in written.items()}
    assert found == dict.fromkeys(written, expected)


@needs_avif
def test_avif_is_turned_by_its_own_properties() -> None:
    assert corners(read_image(DATA / "orientation_2.avif")) == (GREEN, RED, BLUE, WHITE)
    assert corners(read_image(DATA / "orientation_6.avif")) == (BLUE, RED, GREEN, WHITE)


def test_heic_is_read_whole_or_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    message = refusal(DATA / "colours.heic")
    assert message.endswith(
        "a HEIC picture, for which the package pillow-heif is missing: "
        "pip install 'edgecam[heif]', or convert it to JPEG"
    )
    monkeypatch.undo()
    pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    assert corners(read_image(DATA / "colours.heic")) == STORED


@needs_field
def test_a_telephones_tiles_are_one_picture() -> None:
    pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    (frame,) = read(FIELD / "pictures" / "arrow.heic")
    assert (frame.width_px, frame.height_px) == (3024, 4032)


@pytest.mark.parametrize("name", ["colours.mp4", "colours.jpg", "colours"])
def test_a_tile_grid_is_never_a_video_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    data = (DATA / "colours.heic").read_bytes()
    for brand in (b"heic", b"mif1", b"heim", b"miaf", b"heif", b"1pic"):
        (tmp_path / name).write_bytes(data[:8] + brand + data[12:])
        try:
            assert [frame.width_px for frame in read(tmp_path / name)] == [48]
        except SourceError as error:
            assert "HEI" in str(error)  # noqa: PT017 - either is right, by what is installed


def test_a_raw_photographs_preview_is_not_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "a.dng"
    cv2.imwrite(str(tmp_path / "a.tif"), colours())
    data = bytearray((tmp_path / "a.tif").read_bytes())
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    # The first entry states a smaller copy of another picture.
    struct.pack_into(f"{order}HHII", data, at + 2, 254, 4, 1, 1)
    path.write_bytes(data)
    assert "a camera's raw photograph" in refusal(path)


@pytest.mark.skipif(not hasattr(cv2, "imwriteanimation"), reason="this OpenCV writes none")
def test_an_animated_webp_gives_every_picture_with_its_time(tmp_path: Path) -> None:
    film = cv2.Animation()
    film.frames = [np.full((32, 48, 4), 40 * number, np.uint8) for number in range(5)]
    film.durations = [100, 50, 200, 0, 100]
    cv2.imwriteanimation(str(tmp_path / "a.webp"), film, [cv2.IMWRITE_WEBP_QUALITY, 101])
    # Its bytes decide.
    shutil.copy(tmp_path / "a.webp", tmp_path / "a.jpg")
    for name in ("a.webp", "a.jpg"):
        frames = read(tmp_path / name)
        assert [int(frame.image[0, 0, 0]) // 10 for frame in frames] == [0, 4, 8, 12, 16]
        assert [frame.media_time_s for frame in frames] == [0.0, 0.1, 0.15, 0.35, 0.45]


@needs_field
def test_others_animations_give_as_many_pictures_as_they_have() -> None:
    assert len(read(FIELD / "pictures" / "iss634.webp")) == 42


def test_a_folder_names_once_what_it_skips(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), colours())
    cv2.imwrite(str(tmp_path / "b.png"), colours())
    (tmp_path / "b.png").rename(tmp_path / "picture")
    for name in ("c.txt", "d.mp4", ".hidden"):
        (tmp_path / name).write_text("none")
    with caplog.at_level(logging.WARNING):
        assert [frame.file for frame in read(tmp_path)] == ["a.jpg", "picture"]
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: 2 of 4 files are no pictures and are skipped: c.txt, d.mp4"
    ]


def test_names_in_other_charsets_are_read_and_printed_in_unicode(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    cv2.imwrite(str(tmp_path / "a.jpg"), colours())
    shutil.copy(folder + b"/a.jpg", folder + b"/b\xfcrger.jpg")
    assert [frame.file for frame in read(tmp_path)] == ["a.jpg", "b\\xfcrger.jpg"]
    film = folder + b"/cl\xfcp.avi"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=1", film]
    subprocess.run(command, check=True)
    source = open_source(SourceSettings(url=os.fsdecode(film)))
    assert source.description.endswith("cl\\xfcp.avi")
    assert len(list(source.frames())) == 5
