"""The registry of the sources."""

from __future__ import annotations

import subprocess
import sys
from pkgutil import resolve_name

import click
import pytest
from programs import ROOT

from edgecam.cli.main import cli
from edgecam.settings.load import describe
from edgecam.sources.kinds import SOURCES, expected, remedy, scheme_of


@pytest.mark.parametrize("scheme", SOURCES)
def test_a_source_names_functions_that_are_there(scheme: str) -> None:
    kind = SOURCES[scheme]
    names = [name for name in (kind.opener, kind.check, kind.several) if name is not None]
    assert all(callable(resolve_name(name)) for name in names)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("0", "camera"),
        ("/dev/v4l/by-id/usb-C920-video-index0", "camera"),
        ("picamera", "picamera"),
        ("picamera:1", "picamera"),
        ("picameras.mp4", "file"),
        ("mqtt.mp4", "file"),
        ("12:30.mp4", "file"),
        ("C:\\clip.mp4", "file"),
        ("RTSP://host/1", "rtsp"),
        ("file:///clip.mp4", "file"),
        ("ftp://host/clip.mp4", "ftp"),
    ],
)
def test_the_kind_of_a_source_is_known_from_its_url_alone(url: str, scheme: str) -> None:
    assert scheme_of(url) == scheme


def test_settings_and_options_name_every_way_to_write_a_source() -> None:
    words = ("index", "/dev/v4l/by-id/...", "picamera", "rtsp://", "http://", "mqtt://", "file")
    assert all(word in expected() for word in words)
    described = next(info for info in describe() if info.key == "source.url").description
    assert all(word in described for word in words)
    option = next(each for each in cli.params if each.name == "source")
    assert isinstance(option, click.Option)
    assert all(word in str(option.help) for word in words if word not in ("/dev/v4l/by-id/...",))


def test_a_remedy_is_that_of_the_kind_of_source() -> None:
    assert "ribbon" in str(remedy("picamera:1", "missing"))
    assert "broker" in str(remedy("mqtt://host/topic", "refused"))
    assert "ping" in str(remedy("mqtt://host/topic", "unreachable"))
    assert "by-id" in str(remedy("picamera.mp4", "missing"))
    assert remedy("0", None) is None
    assert remedy("ftp://host", "missing") is None


def test_naming_the_kinds_loads_neither_opencv_nor_any_source() -> None:
    code = (
        "import sys; from edgecam.sources import kinds; kinds.check('clip.mp4'); "
        "print(*sorted(n for n in sys.modules if n == 'cv2' or n.startswith('edgecam.sources.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        f"edgecam.sources.{name}" for name in ("kinds", "local_path", "remedies")
    ]
