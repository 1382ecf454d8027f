"""What is asked of a V4L2 camera by what it lists, and damaged JPEGs of one.

The lists are those that people published of their cameras (``v4l2-ctl --list-formats-ext``), named
by the issue; the camera itself is OpenCV's own V4L2 on a device that a library makes of a FIFO.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doctors import compiled
from programs import ROOT, environment

from edgecam.core.opencv import cv2
from edgecam.core.protocols import CaptureFormat
from edgecam.settings.schema import SourceSettings
from edgecam.sources.camera import CameraEndpoint
from edgecam.sources.camera_formats import Mode, alternatives, choose

# (format, its sizes with their rates)
Listed = tuple[tuple[str, str], ...]
# jacksonliam/mjpg-streamer issue 169
HD_WEBCAM: Listed = (
    ("YUYV", "640x480:30,20,15,10,7.5 1280x720:10,7.5 960x544:20,15,10,7.5 800x448:30,20,15,10"),
    ("MJPG", "640x480:30,20,15,10,7.5 1920x1080:30,20,15 1280x720:30,20,15 960x544:30,20,15"),
)
# Motion-Project/motion issue 86, jacksonliam/mjpg-streamer issue 167: Logitech C920
C920: Listed = (
    (
        "YUYV",
        "640x480:30,24,20,15,10,7.5,5 160x90:30,24 160x120:30,24 1920x1080:5 "
        "2304x1296:2 2304x1536:2",
    ),
    ("H264", "640x480:30,24,20 1280x720:30,24 1920x1080:30,24"),
    ("MJPG", "640x480:30,24,20 1280x720:30,24 1920x1080:30,24"),
)
# ros-drivers/usb_cam issue 287: Logitech C930e, of which the first size is listed twice
C930E_RAW: Listed = (
    (
        "YUYV",
        "640x480:30,25,20,15,10,5 640x480:30,25,20,15,10,5 1920x1080:5 1600x896:5 1280x720:10 "
        "1024x576:10 960x720:10 864x480:10 800x600:20,15,10,5 800x448:10 640x360:30",
    ),
)
# soyersoyer/cameractrls issue 30: JPEG listed first
JPEG_FIRST: Listed = (
    ("MJPG", "640x480:30,25,20,15 320x240:30,25,20,15 1280x720:30,25,20"),
    ("YUYV", "640x480:30,25,20,15 320x240:30,25,20,15 1280x720:10,5"),
)
# jacksonliam/mjpg-streamer issue 234: an Orange Pi's own camera, which lists no rates
ORANGE_PI: Listed = tuple(
    (form, "2592x1936 2048x1536 1920x1080 1600x1200 1280x960 1280x720 1024x768 800x600 640x480")
    for form in ("YV12", "NV16", "NV12")
)
# Motion-Project/motion issue 940: a Raspberry Pi's camera by its old driver, any even size
STEPPED = [
    Mode(form, 2592, 1944, (90.0, 1.0), (32, 32), (2, 2))
    for form in ("YU12", "YUYV", "RGB3", "JPEG", "H264", "MJPG", "YVYU")
]


def modes(listed: Listed) -> list[Mode]:
    found = []
    for form, sizes in listed:
        for size in sizes.split():
            sides, _, rates = size.partition(":")
            width, height = map(int, sides.split("x"))
            found.append(
                Mode(form, width, height, tuple(float(rate) for rate in rates.split(",") if rate))
            )
    return found


@pytest.mark.parametrize(
    ("listed", "wish", "chosen"),
    [
        (HD_WEBCAM, {}, ("YUYV", 640, 480, 30.0)),
        (HD_WEBCAM, {"width_px": 1280}, ("MJPG", 1280, 720, 30.0)),
        (HD_WEBCAM, {"width_px": 1280, "rate_hz": 10.0}, ("YUYV", 1280, 720, 10.0)),
        (HD_WEBCAM, {"width_px": 1280, "rate_hz": 12.0}, ("MJPG", 1280, 720, 15.0)),
        (HD_WEBCAM, {"height_px": 1080}, ("MJPG", 1920, 1080, 30.0)),
        (HD_WEBCAM, {"width_px": 1300, "height_px": 700}, ("MJPG", 1280, 720, 30.0)),
        (HD_WEBCAM, {"rate_hz": 8.0}, ("YUYV", 640, 480, 10.0)),
        (HD_WEBCAM, {"rate_hz": 60.0}, ("YUYV", 640, 480, 30.0)),
        (C920, {"width_px": 1920}, ("MJPG", 1920, 1080, 30.0)),
        (C920, {"width_px": 2304}, ("YUYV", 2304, 1536, 2.0)),
        (C920, {"width_px": 160}, ("YUYV", 160, 120, 30.0)),
        (C920, {"width_px": 160, "height_px": 90}, ("YUYV", 160, 90, 30.0)),
        (C930E_RAW, {}, ("YUYV", 640, 480, 30.0)),
        (C930E_RAW, {"width_px": 1280}, ("YUYV", 1280, 720, 10.0)),
        (C930E_RAW, {"width_px": 800}, ("YUYV", 800, 448, 10.0)),
        (JPEG_FIRST, {}, ("YUYV", 640, 480, 30.0)),
        (JPEG_FIRST, {"height_px": 720}, ("MJPG", 1280, 720, 30.0)),
        (ORANGE_PI, {}, ("NV12", 640, 480, None)),
        (ORANGE_PI, {"width_px": 1280}, ("NV12", 1280, 960, None)),
    ],
)
def test_the_choice_among_what_people_published(
    listed: Listed, wish: dict[str, Any], chosen: tuple[Any, ...]
) -> None:
    settings = SourceSettings(url="0", **wish)
    assert choose(modes(listed), settings) == CaptureFormat(*chosen)


@pytest.mark.parametrize(
    ("wish", "chosen"),
    [
        ({}, ("YU12", 640, 480)),
        ({"width_px": 1281, "height_px": 721}, ("YU12", 1280, 720)),
        ({"width_px": 1296}, ("YU12", 1296, 972)),
        ({"height_px": 4000}, ("YU12", 2592, 1944)),
        ({"width_px": 16, "height_px": 16}, ("YU12", 32, 32)),
    ],
)
def test_the_choice_among_any_size(wish: dict[str, Any], chosen: tuple[Any, ...]) -> None:
    found = choose(STEPPED, SourceSettings(url="0", rate_hz=50.0, **wish))
    assert found == CaptureFormat(*chosen, 90.0)


def test_what_opencv_does_not_decode_is_not_chosen() -> None:
    assert choose([], SourceSettings(url="0")) is None
    only = [Mode("H264", 1920, 1080, (30.0,)), Mode("BA81", 640, 480, (30.0,))]
    assert choose(only, SourceSettings(url="0")) is None
    assert alternatives(only) == (
        "BA81 (not decoded) 640x480 at 30; H264 (not decoded) 1920x1080 at 30"
    )


@pytest.mark.parametrize("form", ["YUYV", "MJPG", "BGR3", "NV12", "RGB3", "GREY"])
def test_one_format_alone_is_taken(form: str) -> None:
    found = choose([Mode(form, 320, 240, (12.5,))], SourceSettings(url="0", width_px=1280))
    assert found == CaptureFormat(form, 320, 240, 12.5)


def test_alternatives_are_one_line() -> None:
    assert alternatives(modes(HD_WEBCAM)) == (
        "MJPG 640x480 at 30, 1920x1080 at 30, 1280x720 at 30, 960x544 at 30; "
        "YUYV 640x480 at 30, 1280x720 at 10, 960x544 at 20, 800x448 at 30"
    )
    assert alternatives(STEPPED[:1]) == "YU12 32x32 to 2592x1944 at 90"


SCRIPT = """
import json, logging, sys
from collections import Counter
from edgecam.settings.schema import SourceSettings
from edgecam.sources.camera import CameraEndpoint
from edgecam.sources.supervised import StreamError

logging.basicConfig(level=logging.INFO, format="%(message)s")
settings = SourceSettings(url=sys.argv[1], read_timeout_s=1.0, **json.loads(sys.argv[2]))
counts, shapes, kind = Counter(), [], None
endpoint = CameraEndpoint(settings)
capture = endpoint.open(lambda kind: counts.update([kind]))
try:
    for _ in range(4):
        shapes.append(capture.read().shape)
except StreamError as error:
    kind = error.kind
asked, got = endpoint.formats
print(json.dumps([shapes, counts, kind, str(asked), str(got)]))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not Path("/usr/include/linux/videodev2.h").exists():
        pytest.skip("no linux/videodev2.h (Debian: apt install linux-libc-dev)")
    text = (ROOT / "tests/native/video_camera.c").read_text()
    return compiled(tmp_path_factory.mktemp("driver"), "camera", text)


def taken(
    folder: Path, driver: Path, listed: Listed, wish: dict[str, Any], *jpegs: bytes
) -> tuple[list[Any], str]:
    """What a camera with such a list gives in four reads, and what was logged."""
    lines = [
        " ".join(map(str, (each.form, each.width_px, each.height_px, *map(round, each.rates_hz))))
        for each in modes(listed)
    ]
    (folder / "list").write_text("\n".join(lines) + "\n")
    names = []
    for number, data in enumerate(jpegs):
        (folder / f"{number}.jpg").write_bytes(data)
        names.append(str(folder / f"{number}.jpg"))
    os.mkfifo(folder / "video0")
    around = {"LD_PRELOAD": str(driver), "CAMERA": "good", "CAMERA_LIST": str(folder / "list")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder / "video0"), json.dumps(wish)],
        env={**environment(), **around, "CAMERA_JPEGS": ":".join(names)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout), done.stderr


def picture(width: int, height: int) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def without_tables(data: bytes) -> bytes:
    """As many webcams send it: decoders know the codes of Motion JPEG."""
    at, kept = 2, data[:2]
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xC4:
            kept += data[at:end]
        at = end
    return kept + data[at:]


def test_a_width_alone_is_asked_for_and_got(tmp_path: Path, driver: Path) -> None:
    wish = {"width_px": 1280}
    (shapes, counts, kind, asked, got), log = taken(
        tmp_path, driver, HD_WEBCAM, wish, picture(1280, 720)
    )
    assert shapes == [[720, 1280, 3]] * 4
    assert (counts, kind) == ({}, None)
    assert asked == got == "MJPG 1280x720 at 30 a second"
    assert log.count("asked for MJPG 1280x720 at 30 a second, takes MJPG 1280x720 at 30 a sec") == 1


def test_pixels_come_as_they_are_asked_for(tmp_path: Path, driver: Path) -> None:
    (shapes, counts, *_, got), _ = taken(tmp_path, driver, HD_WEBCAM, {"rate_hz": 15.0})
    assert shapes == [[480, 640, 3]] * 4
    assert counts == {}
    assert got == "YUYV 640x480 at 15 a second"


def test_jpegs_that_are_cut_to_half_are_counted_and_passed_over(
    tmp_path: Path, driver: Path
) -> None:
    whole = picture(960, 544)
    wish = {"width_px": 960, "height_px": 544}
    halves = (whole, whole[: len(whole) // 2], without_tables(whole))
    (shapes, counts, kind, *_), _ = taken(tmp_path, driver, HD_WEBCAM, wish, *halves)
    assert shapes == [[544, 960, 3]] * 4
    assert kind is None
    # Whole, half, whole without tables, whole, half, whole without tables.
    assert counts == {"damaged_pictures": 2}


def test_a_camera_that_gives_damaged_jpegs_alone_is_said(tmp_path: Path, driver: Path) -> None:
    half = picture(960, 544)[:9000]
    (shapes, counts, kind, *_), _ = taken(tmp_path, driver, HD_WEBCAM, {"width_px": 960}, half)
    assert (shapes, kind) == ([], "garbage")
    assert counts["damaged_pictures"] > 1


@pytest.mark.parametrize(
    ("width_px", "height_px", "said"),
    [
        (1000, 700, "expected a picture of 1000 x 700"),
        (1000, None, "expected a picture of 1000 x any"),
        (1280, None, None),
        (None, None, None),
    ],
)
def test_a_size_that_the_camera_lacks_is_said_once(
    caplog: pytest.LogCaptureFixture, width_px: int | None, height_px: int | None, said: str | None
) -> None:
    settings = SourceSettings(url="/dev/video0", width_px=width_px, height_px=height_px)
    endpoint, got = CameraEndpoint(settings), CaptureFormat("MJPG", 1280, 720, 30.0)
    for _ in range(2):
        endpoint._note(got, got)
    lines = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == (said is not None)
    assert said is None or (said in lines[0] and "the camera gives is 1280 x 720" in lines[0])
