"""MJPEG and RTSP from real server processes on loopback."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from authority import Authority

from edgecam.core.errors import SourceError
from edgecam.settings.schema import SourceSettings
from edgecam.sources import mjpeg, open_source
from edgecam.sources.frozen_frame import Stillness
from edgecam.sources.multipart import MultipartReader
from edgecam.sources.supervised import StreamError
from edgecam.sources.url import parse
from tests.servers import Server
from tests.servers.mjpeg import jpeg
from tests.servers.tls import tls_before
from tests.servers.viewer import Viewer, wait_for

SYSTEM_PYTHON = "/usr/bin/python3"
LOGIN = "eva:s3cret%2F%40@"


def settings(url: str, **others: object) -> SourceSettings:
    return SourceSettings(url=url, **others)


def refusal(url: str, **others: object) -> str:
    with pytest.raises(SourceError) as caught:
        open_source(settings(url, **others))
    message = str(caught.value)
    assert "\n" not in message
    assert "s3cret" not in message
    return message


@pytest.fixture(scope="module")
def camera() -> Iterator[Server]:
    with Server("mjpeg.py") as server:
        yield server


@pytest.fixture(scope="module")
def rtsp() -> Iterator[Server]:
    ask = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if (
        not Path(SYSTEM_PYTHON).exists()
        or subprocess.run([SYSTEM_PYTHON, "-c", ask], capture_output=True, check=False).returncode
    ):
        pytest.skip("GStreamer's RTSP server is absent: apt install gir1.2-gst-rtsp-server-1.0")
    with Server("rtsp.py", python=SYSTEM_PYTHON) as server:
        yield server


def number_in(image: np.ndarray) -> int:
    width = image.shape[1]
    blocks = [image[:, bit * width // 8 + 3 : (bit + 1) * width // 8 - 3] for bit in range(8)]
    return sum(1 << bit for bit, block in enumerate(blocks) if block.mean() > 128)


def first_numbers(url: str, count: int) -> list[int]:
    source = open_source(settings(url))
    numbers = []
    for frame in source.frames():
        numbers.append(number_in(frame.image))
        if len(numbers) == count:
            break
    source.close()
    return numbers


def assert_in_order(numbers: list[int]) -> None:
    """Each picture at most once, in order; a live source may drop some on a busy machine."""
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("mode", ["good", "nolength"])
def test_mjpeg_gives_each_picture_once_in_order(camera: Server, mode: str) -> None:
    camera.tell(mode)
    assert_in_order(first_numbers(f"http://127.0.0.1:{camera.port}/stream", 8))


@pytest.mark.parametrize("path", ["basic", "digest", "moved"])
def test_mjpeg_behind_a_login_or_a_redirect(camera: Server, path: str) -> None:
    camera.tell("good")
    assert_in_order(first_numbers(f"http://{LOGIN}127.0.0.1:{camera.port}/{path}", 3))


def test_mjpeg_refusals_say_why(camera: Server) -> None:
    here = f"127.0.0.1:{camera.port}"
    camera.tell("good")
    assert "401" in refusal(f"http://{here}/digest")
    assert "401" in refusal(f"http://eva:wrong-s3cret@{here}/digest")
    assert "404" in refusal(f"http://{here}/nothing")
    camera.tell("page")
    assert "text/html" in refusal(f"http://{here}/stream")
    camera.tell("text")
    assert "does not speak HTTP" in refusal(f"http://{here}/stream")
    assert "is no RTSP server" in refusal(f"rtsp://{LOGIN}{here}/stream")


@pytest.mark.parametrize("mode", ["garbage", "truncated"])
def test_damaged_parts_are_passed_over_and_counted(camera: Server, mode: str) -> None:
    camera.tell("good")
    source = open_source(settings(f"http://127.0.0.1:{camera.port}/stream"))
    viewer = Viewer(source)
    viewer.wait_for_frames(3)
    camera.tell(mode)
    viewer.wait_for_frames(5)
    status = source.status()
    assert status.state == "online"
    assert status.reconnects == 0
    assert status.faults["damaged_pictures"] >= 3
    assert viewer.newest is not None
    assert number_in(viewer.newest.image) % 2 == 0  # the odd ones are the damaged ones
    viewer.close()


def test_resolution_may_change_in_mid_stream(camera: Server) -> None:
    camera.tell("good")
    viewer = Viewer(open_source(settings(f"http://127.0.0.1:{camera.port}/stream")))
    for mode, sizes in (("good", 1), ("small", 2), ("good", 3)):
        camera.tell(mode)
        wait_for(lambda sizes=sizes: len(viewer.sizes) == sizes)
    assert viewer.sizes == [(160, 120), (80, 60), (160, 120)]
    assert viewer.source.status().reconnects == 0
    viewer.close()


def test_frozen_picture_is_reported_and_still_delivered(camera: Server) -> None:
    camera.tell("good")
    url = f"http://127.0.0.1:{camera.port}/stream"
    viewer = Viewer(open_source(settings(url, frozen_after_s=1.0)))
    viewer.wait_for_frames(3)
    camera.tell("frozen")
    viewer.wait_for_state("frozen")
    assert viewer.source.status().reason == "the same picture for 1 s"
    viewer.wait_for_frames(5)
    camera.tell("good")
    viewer.wait_for_state("online")
    assert viewer.source.status().faults["frozen"] == 1
    viewer.close()


def test_a_picture_is_frozen_after_its_time_and_not_when_it_changes() -> None:
    still = Stillness(1.0)
    one, two = (np.full((60, 80, 3), level, np.uint8) for level in (40, 41))
    shown = [(one, 0.0), (one, 0.9), (one, 1.0), (one, 5.0), (two, 5.1), (two, 6.0), (two, 6.2)]
    seen = [still.seen(image, at_s) for image, at_s in shown]
    assert seen == [False, False, True, True, False, False, True]


def test_snapshots_are_fetched_again_and_again(camera: Server) -> None:
    camera.tell("good")
    url = f"http://127.0.0.1:{camera.port}/snapshot"
    viewer = Viewer(open_source(settings(url, rate_hz=10)))
    viewer.wait_for_frames(11)
    camera.tell("truncated")
    wait_for(lambda: viewer.source.status().faults.get("damaged_pictures", 0) >= 2)
    viewer.close()


def test_snapshots_are_as_far_apart_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, asked_s = 1000.0, []
    own = threading.get_ident()  # a reader of another test may still be on its way out

    class Camera:
        """Takes 20 ms for a picture, and once a second."""

        headers: Mapping[str, str] = {}

        def __init__(self, *_: object) -> None:
            nonlocal now_s
            if threading.get_ident() != own:
                raise StreamError("closed", "this test's camera answers this test alone")
            asked_s.append(now_s)
            now_s += 1.0 if len(asked_s) == 5 else 0.02
            self._parts = [jpeg(1)]

        def receive(self) -> bytes:
            if not self._parts:
                raise StreamError("closed", "the server ended the stream")
            return self._parts.pop()

        def close(self) -> None:
            return

    def sleep(seconds: float) -> None:
        nonlocal now_s
        if threading.get_ident() == own:
            now_s += seconds
        else:
            time.sleep(seconds)

    monkeypatch.setattr(mjpeg, "Answer", Camera)
    clock = SimpleNamespace(monotonic=lambda: now_s, sleep=sleep)
    monkeypatch.setattr(mjpeg, "time", clock)
    capture = mjpeg.SnapshotCapture(
        parse("http://h/snap"),
        SourceSettings(url="http://h/snap", read_timeout_s=4.0, rate_hz=10.0),
        lambda _: None,
    )
    for _ in range(8):
        capture.read()
    # The late one is not made up for.
    assert np.diff(asked_s) == pytest.approx([0.1] * 4 + [1.0] + [0.1] * 2)


@pytest.mark.parametrize("path", ["h264", "jpeg"])
def test_rtsp_gives_pictures_one_after_another(rtsp: Server, path: str) -> None:
    began_s = time.monotonic()
    viewer = Viewer(open_source(settings(f"rtsp://127.0.0.1:{rtsp.port}/{path}")))
    viewer.wait_for_frames(45)
    assert viewer.sizes == [(320, 240)]
    frame = viewer.newest
    assert frame is not None
    assert frame.image.dtype == np.uint8
    assert frame.media_time_s is None
    assert began_s < frame.captured_s <= time.monotonic()
    viewer.close()


def test_rtsp_login(rtsp: Server) -> None:
    here = f"127.0.0.1:{rtsp.port}"
    source = open_source(settings(f"rtsp://eva:s3cret@{here}/locked"))
    assert source.description == f"rtsp://{here}"
    assert next(source.frames()).width_px == 320
    source.close()
    assert "wants a user name and password" in refusal(f"rtsp://{here}/locked")
    assert "refuses the user name or password" in refusal(f"rtsp://eva:not-s3cret@{here}/locked")
    assert "404" in refusal(f"rtsp://{here}/nothing")


def test_rtsps_login(rtsp: Server, tmp_path: Path) -> None:
    with tls_before(rtsp.port, *Authority(tmp_path, "ca").issue("camera")) as port:
        slow = {"open_timeout_s": 60.0, "read_timeout_s": 60.0}
        viewer = Viewer(
            open_source(settings(f"rtsps://eva:s3cret@127.0.0.1:{port}/locked", **slow))
        )
        viewer.wait_for_frames(30, 60)
        assert viewer.sizes == [(320, 240)]
        viewer.close()
        wrong = f"rtsps://eva:no-s3cret@127.0.0.1:{port}/locked"
        assert "refuses the user name" in refusal(wrong, **slow)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("rtsp://127.0.0.1:1/x", "refuses connections"),
        (f"http://{LOGIN}127.0.0.1:1/x", "refuses connections"),
        (f"rtsp://{LOGIN}camera.invalid/x", "camera.invalid: "),
        ("http:///stream", "expected http://HOST"),
        (f"rtsp://{LOGIN}h:99999/", "not a URL"),
        ("http://[::1/", "not a URL"),
        ("http://host name/", "not a URL"),
        (f"rtsp://{LOGIN}h/x@y/z", "in a path @ as %40"),
        ("rtsp://eva:12/34@cam/live", "write / as %2F"),
    ],
)
def test_bad_addresses_are_refused_in_one_line(url: str, says: str) -> None:
    assert says in refusal(url)


def test_secrets_of_a_url_are_hidden() -> None:
    url = parse("rtsp://eva:s3cret%40@h/x?password=s3cret")
    assert url.password == "s3cret@"
    assert "s3cret" not in repr(url)
    assert url.shown == "rtsp://h"
    assert url.bare.startswith("rtsp://h/")


def test_multipart_takes_what_cameras_really_send() -> None:
    one, two = jpeg(1), jpeg(2)
    with_length = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    streams = {
        "dashes in the header too": ("--cut", b"--cut\r\n" + with_length % len(one) + one),
        "no headers at all": ("cut", b"--cut\n\n" + one),
        "preamble": ("cut", b"hello\r\n\r\n--cut\r\nX: y\r\n\r\n" + one + b"\r\n"),
        "wrong length": ("cut", b"--cut\r\n" + with_length % (len(one) + 500) + one + b"\r\n"),
    }
    for name, (boundary, stream) in streams.items():
        data = stream + b"--cut\r\n" + with_length % len(two) + two + b"\r\n" * 200
        pieces = iter([data[at : at + 37] for at in range(0, len(data), 37)])
        reader = MultipartReader(boundary, lambda pieces=pieces: next(pieces))
        assert reader.next_part().startswith(one), name
        assert reader.next_part().rstrip(b"\r\n") == two, name


def test_a_camera_that_is_not_there_yet_is_waited_for_when_asked() -> None:
    with Server("mjpeg.py") as server:
        server.tell("refuse")
        url = f"http://127.0.0.1:{server.port}/stream"
        viewer = Viewer(open_source(settings(url, wait=True)))
        wait_for(lambda: "refuses connections" in (viewer.source.status().reason or ""))
        assert viewer.source.status().state == "offline"
        server.tell("good")
        viewer.wait_for_frames(1)
        assert viewer.source.status().state == "online"
        viewer.close()


def test_sources_leave_no_thread_behind(camera: Server) -> None:
    camera.tell("good")
    before = threading.active_count()
    for _ in range(3):
        viewer = Viewer(open_source(settings(f"http://127.0.0.1:{camera.port}/stream")))
        viewer.wait_for_frames(1)
        viewer.close()
    wait_for(lambda: threading.active_count() <= before)


def test_nothing_is_printed_by_ffmpeg(rtsp: Server) -> None:
    code = (
        "import sys; from edgecam.sources import open_source\n"
        "from edgecam.settings.schema import SourceSettings\n"
        "from edgecam.core.errors import SourceError\n"
        "for url in sys.argv[1:]:\n"
        "    try:\n"
        "        open_source(SourceSettings(url=url))\n"
        "    except SourceError as error:\n"
        "        print(error)\n"
    )
    here = f"127.0.0.1:{rtsp.port}"
    urls = [f"rtsp://eva:s3cret@{here}/none", f"rtsp://eva:no-s3cret@{here}/locked"]
    command = [sys.executable, "-c", code, *urls]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert "s3cret" not in run.stdout
    assert len(run.stdout.splitlines()) == 2
