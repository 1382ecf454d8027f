"""``edgecam doctor`` beside poor builds of OpenCV and beside cameras that give no picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from doctors import Report, compiled, examine, in_own_devices, toml
from programs import ROOT

from edgecam.sources.remedies import OF_CAMERA
from edgecam.tools.doctor import cameras as vision

WHEELS = "pip install opencv-python, whose wheels have it"


@pytest.fixture(scope="session")
def headless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same OpenCV from its wheel without windows."""
    folder = tmp_path_factory.mktemp("headless")
    version = next((Path(cv2.__file__).parent.parent).glob("opencv_python-*.dist-info"))
    wanted = version.name.removeprefix("opencv_python-").removesuffix(".dist-info")
    command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(folder)]
    done = subprocess.run(
        [*command, f"opencv-python-headless=={wanted}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"opencv-python-headless cannot be installed: {done.stderr.strip()[-200:]}")
    return folder


def test_opencv_without_windows(tmp_path: Path, headless: Path) -> None:
    text, remedy = examine("opencv", PYTHONPATH=str(headless)).only("opencv", "warn")
    assert text == "built without windows: --show cannot work"
    assert remedy == "pip uninstall opencv-python-headless && pip install opencv-python"
    config = toml(tmp_path, "output.show = true\n")
    report = examine("opencv", config=config, PYTHONPATH=str(headless))
    assert report.only("opencv", "fail") == (text, remedy)
    assert report.code == 1


def test_windows_without_a_display(tmp_path: Path) -> None:
    config = toml(tmp_path, "output.show = true\n")
    report = examine("opencv", config=config, DISPLAY="", WAYLAND_DISPLAY="")
    text, remedy = report.only("opencv", "fail")
    assert text.endswith("but there is no display")
    assert remedy == "log in to a desktop, or drop output.show"
    assert report.code == 1
    shown = examine("opencv", config=config, DISPLAY=":97")
    assert [finding["level"] for finding in shown.findings] == ["ok", "ok"]


def test_opencv_without_ffmpeg_and_v4l2(tmp_path: Path) -> None:
    """No such wheel is published: the real one, with what its build says of itself taken out."""
    package = tmp_path / "cv2"
    package.mkdir()
    (package / "__init__.py").write_text(f"""
import importlib, sys
del sys.modules["cv2"]
sys.path.remove({str(tmp_path)!r})
real = importlib.import_module("cv2")
said = real.getBuildInformation().splitlines()
parts = [line.partition(":")[0] for line in said]
poor = [
    f"{{part}}:   NO" if part.strip() in ("FFMPEG", "v4l/v4l2") else line
    for part, line in zip(parts, said)
]
real.getBuildInformation = lambda: "\\n".join(poor)
""")
    report = examine("opencv", PYTHONPATH=str(tmp_path))
    streams, remedy = report.only("opencv", "fail")
    assert (streams, remedy) == ("built without FFmpeg: no RTSP, no video files", WHEELS)
    devices, remedy = report.only("opencv", "warn")
    assert (devices, remedy) == ("built without V4L2: no USB cameras", WHEELS)
    assert "with windows;" in report.of("opencv", "ok")[0]["text"]
    assert report.code == 1


@pytest.fixture
def driver(tmp_path: Path) -> str:
    """What makes each FIFO below /dev a camera, through OpenCV's own V4L2."""
    header = Path("/usr/include/linux/videodev2.h")
    if not header.exists():
        pytest.skip(f"no {header} (Debian: apt install linux-libc-dev)")
    text = (ROOT / "tests" / "native" / "video_camera.c").read_text()
    return str(compiled(tmp_path, "driver", text))


def beside_cameras(folder: Path, driver: str, mode: str, config: Path | None = None) -> Report:
    """One at /dev/video0, and one at /dev/video1 that only root's group could open."""
    made = "mkfifo video0 && mkfifo -m 0 video1"
    prefix = in_own_devices(folder, made)
    checks = ("camera", "source")
    return examine(*checks, config=config, prefix=prefix, LD_PRELOAD=driver, CAMERA=mode)


@pytest.mark.parametrize(
    ("mode", "said", "remedy"),
    [
        ("silent", "opens, but gave no picture in 5 s", OF_CAMERA["silent"]),
        (
            "busy",
            "does not open as a camera, or another program has it",
            "close the program that uses it, or plug it in again",
        ),
    ],
)
def test_a_camera_that_gives_no_picture(
    tmp_path: Path, driver: str, mode: str, said: str, remedy: str
) -> None:
    config = toml(tmp_path, 'source.url = "/dev/video1"\n')
    report = beside_cameras(tmp_path, driver, mode, config)
    faults = {f["text"]: f["remedy"] for f in report.of("camera", "fail")}
    may_not = "sudo usermod -aG video $USER, then log in again"
    assert faults == {f"/dev/video0: {said}": remedy, "/dev/video1: no permission": may_not}
    text, reported = report.only("source", "fail")
    assert text.startswith("/dev/video1: no permission")
    assert reported == may_not
    assert report.code == 1


def test_a_camera_that_works(tmp_path: Path, driver: str) -> None:
    config = toml(tmp_path, 'source.url = "/dev/video0"\n')
    report = beside_cameras(tmp_path, driver, "good", config)
    (text,) = (finding["text"] for finding in report.of("camera", "ok"))
    assert text.startswith("Camera 9000, /dev/video0: a picture of 64x48 after ")
    assert "a picture of 64x48" in report.only("source", "ok")[0]


def test_what_a_camera_lists_is_said(tmp_path: Path, driver: str) -> None:
    (tmp_path / "list").write_text("YUYV 640 480 30\nYUYV 1280 720 10\nH264 1280 720 30\n")
    prefix = in_own_devices(tmp_path, "mkfifo video0")
    around = {"LD_PRELOAD": driver, "CAMERA": "good", "CAMERA_LIST": str(tmp_path / "list")}
    texts = [each["text"] for each in examine("camera", prefix=prefix, **around).of("camera", "ok")]
    assert texts[0].startswith("Camera 9000, /dev/video0: a picture of 640x480 after ")
    assert texts[1] == (
        "/dev/video0 lists H264 (not decoded) 1280x720 at 30; YUYV 640x480 at 30, 1280x720 at 10"
    )


@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="this environment has NumPy 1")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="it has no wheel for this Python")
def test_a_picamera2_that_was_built_for_numpy_1(tmp_path: Path) -> None:
    """What it imports on Bookworm, from its real wheel; the rest of it needs the Pi."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-qq",
        "--no-deps",
        "--target",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*command, "simplejpeg==1.6.6"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"simplejpeg cannot be installed: {done.stderr.strip()[-200:]}")
    (tmp_path / "picamera2.py").write_text("import simplejpeg\nPicamera2 = object\n")
    report = examine("camera", PYTHONPATH=str(tmp_path))
    text, remedy = report.only("camera", "fail")
    assert text.startswith("picamera2 was built for an older NumPy (numpy.dtype size changed")
    assert remedy == "pip install 'numpy<2' 'opencv-python<4.12'"
    assert report.code == 1


def test_a_pi_whose_camera_needs_picamera2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model"
    model.write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    monkeypatch.setattr(vision, "BOARD_MODEL", model)
    monkeypatch.setattr(vision, "DEVICES", tmp_path)
    (line,) = vision.cameras(vision.Settings())
    assert line.text == "none attached"
    assert "apt install python3-picamera2" in (line.remedy or "")
