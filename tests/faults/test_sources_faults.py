"""Live sources through real faults: seen in time, reported with a reason, and over soon after."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
from tests.servers import Server
from tests.servers.viewer import Viewer, wait_for

SYSTEM_PYTHON = "/usr/bin/python3"
# Far beyond what any test waits: who comes back or ends before it did not wait for it.
FAR_OFF_S = 1000.0
MODEL = Path(__file__).parents[3] / "shared" / "models" / "mobilenet_v1_0.25_128_quant.tflite"
SECRET = "s3cret"


@dataclass
class Story:
    """What one fault looked like from the consumer's side."""

    reason: str
    reconnects: int
    faults: dict[str, int]


# What a look between two attempts finds, where it is not what the outage began with.
FOUND_BY_LOOKS = {
    ("mjpeg", "refuse"): "refuses connections",
    ("rtsp", "refuse"): "refuses connections",
    ("rtsp", "mute"): "says nothing",
}


def live_through(server: Server, kind: str, mode: str, url: str) -> Story:
    """Watch a healthy stream, break it, fix it.

    Where looks find the fault the next attempt is far off: what comes back was looked at.
    """
    found_by_looks = FOUND_BY_LOOKS.get((kind, mode))
    wait_s = FAR_OFF_S if found_by_looks else 1.0
    settings = SourceSettings(url=url, backoff_min_s=wait_s, backoff_max_s=wait_s)
    viewer = Viewer(open_source(settings))
    viewer.wait_for_frames(5)
    server.tell(mode)
    viewer.wait_for_state("offline")
    reason = viewer.source.status().reason or ""
    if found_by_looks:
        wait_for(lambda: found_by_looks in (viewer.source.status().reason or ""))
    if mode == "close":
        wait_for(lambda: viewer.source.status().faults.get("closed", 0) >= 2, 20.0)
    server.tell("good")
    viewer.wait_for_frames(3)
    viewer.wait_for_state("online")
    viewer.wait_for_frames(20)  # it must also last
    status = viewer.source.status()
    assert status.state == "online"
    viewer.close()
    return Story(reason, status.reconnects, dict(status.faults))


def check(story: Story) -> None:
    assert story.reason
    assert story.reconnects >= 1
    assert sum(story.faults.values()) >= 1


def gstreamer() -> bool:
    ask = "import gi; gi.require_version('GstRtspServer', '1.0')"
    command = [SYSTEM_PYTHON, "-c", ask]
    found = Path(SYSTEM_PYTHON).exists()
    return found and not subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture
def gst() -> None:
    if not gstreamer():
        pytest.skip("GStreamer's RTSP server is absent: apt install gir1.2-gst-rtsp-server-1.0")


@pytest.fixture
def rtsp(gst: None) -> Iterator[Server]:
    del gst
    with Server("rtsp.py", python=SYSTEM_PYTHON) as server:
        yield server


def mjpeg_story(mode: str) -> tuple[Story, list[str]]:
    logged = collect_log()
    with Server("mjpeg.py") as server:
        url = f"http://eva:{SECRET}%2F%40@127.0.0.1:{server.port}/digest"
        return live_through(server, "mjpeg", mode, url), logged


def rtsp_story(mode: str) -> tuple[Story, list[str]]:
    logged = collect_log()
    with (
        Server("rtsp.py", python=SYSTEM_PYTHON) as server,
        Server("proxy.py", [str(server.port)]) as proxy,
    ):
        url = f"rtsp://eva:{SECRET}@127.0.0.1:{proxy.port}/locked"
        return live_through(proxy, "rtsp", mode, url), logged


def collect_log() -> list[str]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    return lines


def run_story(kind_and_mode: tuple[str, str]) -> tuple[Story, list[str]]:
    kind, mode = kind_and_mode
    return {"mjpeg": mjpeg_story, "rtsp": rtsp_story}[kind](mode)


def all_at_once(wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Story]:
    """The faults side by side, each mostly waiting, in a process of its own as a camera has.

    (OpenCV opens one FFmpeg stream at a time in a process.) Nothing logged holds the password.
    """
    with ProcessPoolExecutor(len(wanted), multiprocessing.get_context("spawn")) as pool:
        reported = dict(zip(wanted, pool.map(run_story, wanted), strict=True))
    for which, (story, lines) in reported.items():
        print(f"{which}: {story}")
        assert any("offline" in line for line in lines)
        assert any("back after" in line for line in lines)
        assert not [line for line in [*lines, repr(story)] if SECRET in line]
    return {which: story for which, (story, _) in reported.items()}


MJPEG_FAULTS = ("mute", "stall", "drip", "close", "refuse")
RTSP_FAULTS = ("mute", "stall", "drip", "close", "refuse", "hush")


@pytest.fixture(scope="module")
def stories() -> dict[tuple[str, str], Story]:
    wanted = [("mjpeg", mode) for mode in MJPEG_FAULTS]
    if gstreamer():
        wanted += [("rtsp", mode) for mode in RTSP_FAULTS]
    return all_at_once(wanted)


@pytest.mark.parametrize("mode", MJPEG_FAULTS)
def test_mjpeg_fault(stories: dict[tuple[str, str], Story], mode: str) -> None:
    story = stories["mjpeg", mode]
    check(story)
    if mode in ("mute", "stall", "drip"):
        assert story.faults["silent"] == 1


@pytest.mark.usefixtures("gst")
@pytest.mark.parametrize("mode", RTSP_FAULTS)
def test_rtsp_fault(stories: dict[tuple[str, str], Story], mode: str) -> None:
    story = stories["rtsp", mode]
    check(story)
    if mode in ("mute", "stall", "drip", "hush"):
        assert story.faults["silent"] == 1
        assert story.reconnects == 1


def test_stopped_server_process_is_noticed_and_its_return_too() -> None:
    with Server("mjpeg.py") as server:
        viewer = Viewer(open_source(SourceSettings(url=f"http://127.0.0.1:{server.port}/stream")))
        viewer.wait_for_frames(3)
        server.signal(signal.SIGSTOP)
        viewer.wait_for_state("offline")
        server.signal(signal.SIGCONT)
        viewer.wait_for_frames(3)
        viewer.close()


def resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def grow(url: str, times: int, server: Server, mode: str) -> tuple[int, int, int]:
    """RSS in KiB, descriptors and threads gained from the tenth reconnect to the last."""
    fast = SourceSettings(url=url, backoff_min_s=0.05, backoff_max_s=0.05)
    viewer = Viewer(open_source(fast))
    viewer.wait_for_frames(3)
    server.tell(mode)

    def reconnected(count: int) -> bool:
        return viewer.source.status().reconnects >= count

    def measure() -> tuple[int, int, int]:
        gc.collect()
        return resident_kib(), len(os.listdir("/proc/self/fd")), threading.active_count()

    wait_for(lambda: reconnected(times // 10), 60)
    before = measure()
    wait_for(lambda: reconnected(times), 100)
    after = measure()
    viewer.close()
    rss, files, threads = (late - early for late, early in zip(after, before, strict=True))
    print(f"{times} reconnects: {rss:+d} KiB, {files:+d} descriptors, {threads:+d} threads")
    return rss, files, threads


def test_reconnecting_costs_nothing_for_mjpeg() -> None:
    with Server("mjpeg.py") as server:
        url = f"http://127.0.0.1:{server.port}/stream"
        rss, files, threads = grow(url, 100, server, "close")
    assert rss < 10 * 1024
    assert files <= 2
    assert threads <= 0


@pytest.mark.long
def test_reconnecting_costs_nothing_for_rtsp(rtsp: Server) -> None:
    with Server("proxy.py", [str(rtsp.port)]) as proxy:
        url = f"rtsp://127.0.0.1:{proxy.port}/h264"
        rss, files, threads = grow(url, 100, proxy, "close")
    assert rss < 10 * 1024
    assert files <= 2
    assert threads <= 0


def is_connected(port: int) -> bool:
    """Whether anything is connected to a port of ours, by Linux' table: state 01, from its end."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[2:4] == [f"0100007F:{port:04X}", "01"] for line in lines)


@pytest.mark.parametrize("wait", [[], ["--wait-for-source"]])
def test_command_line_ends_when_stopped_in_mid_open(rtsp: Server, wait: list[str]) -> None:
    if not MODEL.exists():
        pytest.skip(f"{MODEL.name} is not at hand")
    with Server("proxy.py", [str(rtsp.port)]) as proxy:
        proxy.tell("hush")
        url = f"rtsp://eva:{SECRET}@127.0.0.1:{proxy.port}/h264"
        command = [sys.executable, "-m", "edgecam", "--model", str(MODEL), "--source", url, *wait]
        far_off = {**os.environ, "EDGECAM_SOURCE_OPEN_TIMEOUT_S": f"{FAR_OFF_S:g}"}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=far_off)
        wait_for(lambda: is_connected(proxy.port), 20.0)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert SECRET not in said


STUCK = """
import sys, threading
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
source = open_source(SourceSettings(url=sys.argv[1], wait=True, open_timeout_s=float(sys.argv[2])))
sys.stdin.readline()
source.close()
print([thread.name for thread in threading.enumerate()], flush=True)
"""


def test_process_ends_while_an_opening_is_stuck_in_native_code(rtsp: Server) -> None:
    with Server("proxy.py", [str(rtsp.port)]) as proxy:
        proxy.tell("hush")  # greets, so that it is opened, and then says nothing
        url = f"rtsp://127.0.0.1:{proxy.port}/h264"
        process = subprocess.Popen(
            [sys.executable, "-c", STUCK, url, str(FAR_OFF_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: is_connected(proxy.port), 20.0)
        running, said = process.communicate("close\n", timeout=120)
    assert process.returncode == 0, said
    assert "source" in running  # it was stuck all the while
