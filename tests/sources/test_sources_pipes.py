"""Videos from another program: standard input, a FIFO, TCP."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from brokers import free_port

from edgecam.core.errors import SourceError
from edgecam.core.frame import Frame
from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
from edgecam.sources.ffmpeg_opening import ENVIRONMENT


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "a.ts"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=4"]
    subprocess.run([*command, "-c:v", "libx264", "-g", "5", path], check=True)
    return path


@pytest.mark.parametrize("is_file", [True, False])
def test_standard_input_is_read_to_its_end(stream: Path, is_file: bool) -> None:
    code = (
        "from edgecam.sources import open_source;"
        "from edgecam.settings.schema import SourceSettings;"
        "source = open_source(SourceSettings(url='-'));"
        "print(source.description, len(list(source.frames())), source.status().state)"
    )
    command = [sys.executable, "-c", code]
    if is_file:
        with stream.open("rb") as file:
            done = subprocess.run(command, stdin=file, capture_output=True, check=True)
    else:
        done = subprocess.run(command, input=stream.read_bytes(), capture_output=True, check=True)
    assert (
        done.stdout.splitlines()[-1]
        == (b"/dev/stdin" if is_file else b"standard input") + b" 20 ended"
    )


def test_a_fifo_is_opened_once_and_read_to_its_end(stream: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "video"
    os.mkfifo(fifo)

    def feed() -> None:
        with stream.open("rb") as source, fifo.open("wb") as sink:
            shutil.copyfileobj(source, sink)

    threading.Thread(target=feed, daemon=True).start()
    found = open_source(SourceSettings(url=str(fifo)))
    assert len(list(found.frames())) == 20
    with pytest.raises(SourceError, match=r"a pipe is read once; drop source\.loop"):
        open_source(SourceSettings(url=str(fifo), loop=True))


def test_a_fifo_that_nothing_writes_is_waited_for_and_left_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.mp4")
    source, waited = open_source(SourceSettings(url=str(tmp_path / "x.mp4"))), threading.Event()
    found: list[Frame] = []
    reader = threading.Thread(target=lambda: found.extend(source.frames(waited.set)))
    reader.start()
    assert waited.wait(60)
    assert (source.status().state, source.status().reason) == ("offline", "nothing has come yet")
    source.close()
    reader.join(60)
    assert (found, reader.is_alive()) == ([], False)


def test_a_writer_that_pauses_is_waited_for_and_can_be_left(stream: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    source, waited = open_source(SourceSettings(url=str(tmp_path / "x"))), threading.Event()
    found: list[Frame] = []
    reader = threading.Thread(target=lambda: found.extend(source.frames(waited.set)))
    reader.start()
    with (tmp_path / "x").open("wb") as writer:
        writer.write(stream.read_bytes())
        writer.flush()
        for _ in range(600):
            if len(found) >= 10:
                break
            threading.Event().wait(0.1)
        waited.clear()
        assert waited.wait(60)
        assert len(found) >= 10
        source.close()
        reader.join(60)
        assert not reader.is_alive()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "which ended and wrote nothing"),
        (b"no video at all\n", "a text file"),
        (bytes(4) + b"ftypisom" + bytes(900), "found an MP4, whose index stands at its end"),
        (bytes(range(256)) * 20, "not a video that can be read"),
        (b"#EXTM3U\n\x01\n#EXTINF:1,\nfile:///etc/hostname\n", "not a video that can be read"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    os.mkfifo(tmp_path / "x")
    threading.Thread(target=(tmp_path / "x").write_bytes, args=(content,), daemon=True).start()
    with pytest.raises(SourceError, match=says):
        list(open_source(SourceSettings(url=str(tmp_path / "x"))).frames())


def test_tcp_is_connected_to_once_and_its_options_are_for_it_alone(stream: Path) -> None:
    viewers = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            viewers.append(connection)
            connection.sendall(stream.read_bytes())

        threading.Thread(target=serve, daemon=True).start()
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        source = open_source(SourceSettings(url=url, open_timeout_s=30.0, read_timeout_s=30.0))
        frame = next(iter(source.frames()))
        source.close()
        assert (frame.width_px, frame.height_px) == (64, 48)
        assert len(viewers) == 1
        viewers[0].close()
    # Neither another source nor another process gets the list of what FFmpeg may open.
    assert ENVIRONMENT not in os.environ
    assert len(list(open_source(SourceSettings(url=str(stream))).frames())) == 20


@pytest.mark.parametrize(
    ("scheme", "path", "form"),
    [("udp", "", ("mpegts",)), ("rtmp", "/live/cam", ("flv", "-listen", "1"))],
)
def test_what_ffmpeg_sends_is_read(
    stream: Path, scheme: str, path: str, form: tuple[str, ...]
) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}{path}"
    send = ["ffmpeg", "-v", "quiet", "-re", "-stream_loop", "-1", "-i", stream, "-c", "copy"]
    with subprocess.Popen([*send, "-f", *form, url], stdin=subprocess.DEVNULL) as sender:
        try:
            # It may begin before FFmpeg listens.
            timeouts = {"open_timeout_s": 30.0, "read_timeout_s": 30.0}
            source = open_source(SourceSettings(url=url, wait=True, **timeouts))
            found = [frame for frame, _ in zip(source.frames(), range(3), strict=False)]
            source.close()
        finally:
            sender.kill()
    assert {(frame.width_px, frame.height_px) for frame in found} == {(64, 48)}


@pytest.mark.parametrize("url", ["tcp://127.0.0.1", "udp://camera", "rtmp:///live"])
def test_a_stream_without_a_place_is_refused_with_its_form(url: str) -> None:
    with pytest.raises(SourceError, match="expected tcp://HOST:PORT, udp://HOST:PORT or rtmp://"):
        open_source(SourceSettings(url=url))
