"""What cameras really send, as their users report it: each dialect on a real socket."""

from __future__ import annotations

import socket
import time

import pytest
from brokers import wait_until

from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
from tests.servers.mjpeg import jpeg
from tests.servers.scripted import scripted
from tests.sources.test_sources_network import number_in

OK = b"HTTP/1.1 200 OK\r\n"
TYPE = b"Content-Type: multipart/x-mixed-replace;boundary="
JPEG = b"Content-Type: image/jpeg\r\n"
END = b"\r\n\r\n"
N = b"Content-Length: %(n)d\r\n\r\n"
ESP = b"123456789000000000000987654321"

# Name: the answer's header, what stands before each picture (%(n)d is its length), and behind it.
STREAMS: dict[str, tuple[bytes, bytes, bytes]] = {
    "mjpg-streamer": (
        b"HTTP/1.0 200 OK\r\nServer: MJPG-Streamer/0.2\r\n" + TYPE + b"boundarydonotcross\r\n\r\n"
        b"--boundarydonotcross\r\n",
        JPEG + b"Content-Length: %(n)d\r\nX-Timestamp: 1.5\r\n\r\n",
        b"\r\n--boundarydonotcross\r\n",
    ),
    "esp32-camera": (
        OK + TYPE + ESP + END,
        b"\r\n--"
        + ESP
        + b"\r\n"
        + JPEG
        + b"Content-Length: %(n)d\r\nX-Timestamp: 5.000001\r\n\r\n",
        b"",
    ),
    "esp32cam and older Tasmota: no boundary before the first part": (
        OK + TYPE + ESP + END,
        JPEG + N,
        b"\r\n--" + ESP + b"\r\n",
    ),
    "Sony, Panasonic, Limelight: dashes in the header too": (
        OK + TYPE + b"--myboundary" + END,
        b"--myboundary\r\n" + JPEG + N,
        b"\r\n",
    ),
    "doubled dashes": (OK + TYPE + b"--b" + END, b"----b\r\n" + JPEG + N, b"\r\n"),
    "D-Link: blanks in it": (
        OK + TYPE + b"--video boundary--" + END,
        b"--video boundary--\r\n" + JPEG + b"\r\n",
        b"\r\n",
    ),
    "dashes behind it each time": (
        OK + TYPE + b"data-boundary" + END,
        b"--data-boundary--\r\n" + JPEG + b"X-FrameRate: 15.0\r\n" + N,
        b"\r\n",
    ),
    "Viseron: no line's end behind it": (
        OK + TYPE + b"--jpgboundary" + END,
        b"--jpgboundaryContent-type: image/jpeg\r\nContent-length: %(n)d\r\n\r\n",
        b"\r\n",
    ),
    "another one than named": (OK + TYPE + b"one" + END, b"--other\r\n" + JPEG + N, b"\r\n"),
    "none named": (
        OK + b"Content-Type: multipart/x-mixed-replace" + END,
        b"--other\r\n" + JPEG + N,
        b"\r\n",
    ),
    "an empty one named": (OK + TYPE + END, b"--other\r\n" + JPEG + b"\r\n", b"\r\n"),
    "no dashes at all": (OK + TYPE + b"ipcamera" + END, b"ipcamera\r\n" + JPEG + N, b"\r\n"),
    "no content type": (OK + b"Server: Boa\r\n\r\n", b"--cut\r\n" + JPEG + N, b"\r\n"),
    "text/plain": (OK + b"Content-Type: text/plain" + END, b"--cut\r\n" + JPEG + N, b"\r\n"),
    "capitals, quotes and blanks": (
        OK + b'CONTENT-TYPE: Multipart/X-Mixed-Replace ; Boundary="cut here" ;' + END,
        b"--cut here\r\nCONTENT-LENGTH:%(n)d\r\n\r\n",
        b"\r\n",
    ),
    "bare line feeds": (
        b"HTTP/1.0 200 OK\n" + TYPE + b"cut\n\n",
        b"--cut\nContent-type: image/jpeg\nContent-length: %(n)d\n\n",
        b"\n",
    ),
    "an HTTP header in the body": (
        OK + TYPE + b"--mjpegstream" + END + OK + TYPE + b"--mjpegstream" + END,
        b"--mjpegstream\r\n" + JPEG + N,
        b"\r\n",
    ),
    "junk in the header": (
        OK + b"Server: \x80\xff\x01\r\nno colon here\r\n" + TYPE + b"cut" + END,
        b"--cut\r\n\x80\xff: \x01\r\nno colon\r\n" + JPEG + N,
        b"\r\n",
    ),
    "no reason": (b"HTTP/1.1 200\r\n" + TYPE + b"cut" + END, b"--cut\r\n" + JPEG + N, b"\r\n"),
    "an empty line before the picture": (
        OK + TYPE + b"cut" + END,
        b"--cut\r\n" + JPEG + N + b"\r\n",
        b"\r\n",
    ),
    "no length, no header": (OK + TYPE + b"cut" + END, b"--cut\r\n\r\n", b"\r\n"),
    "length 0": (
        OK + TYPE + b"cut" + END,
        b"--cut\r\n" + JPEG + b"Content-Length: 0\r\n\r\n",
        b"\r\n",
    ),
    "length -1": (
        OK + TYPE + b"cut" + END,
        b"--cut\r\n" + JPEG + b"Content-Length: -1\r\n\r\n",
        b"\r\n",
    ),
    "length too large": (
        OK + TYPE + b"cut" + END,
        b"--cut\r\n" + JPEG + b"Content-Length: 9%(n)d\r\n\r\n",
        b"\r\n",
    ),
    "two lengths": (
        OK + TYPE + b"cut" + END,
        b"--cut\r\nContent-Length: 0\r\n" + JPEG + N,
        b"\r\n",
    ),
    "padding": (OK + TYPE + b"cut" + END, b"--cut\r\n" + JPEG + b"\r\n", b"\0" * 64 + b"\r\n"),
    "a length of everything": (
        OK + b"Content-Length: 999999999\r\n" + TYPE + b"cut" + END,
        b"--cut\r\n" + JPEG + N,
        b"\r\n",
    ),
}


def play(connection: socket.socket, head: bytes, before: bytes, behind: bytes) -> None:
    connection.sendall(head)
    for number in range(100_000):
        data = jpeg(number % 256)
        connection.sendall(before.replace(b"%(n)d", str(len(data)).encode()) + data + behind)
        time.sleep(0.03)


def three(url: str) -> list[int]:
    source = open_source(SourceSettings(url=url, rate_hz=20))
    numbers = []
    for frame in source.frames():
        numbers.append(number_in(frame.image))
        if len(numbers) == 3:
            break
    assert source.status().state == "online"
    source.close()
    return numbers


@pytest.mark.parametrize("name", STREAMS)
def test_stream_of_a_dialect_is_read(name: str) -> None:
    head, before, behind = STREAMS[name]
    with scripted(lambda connection, _: play(connection, head, before, behind)) as camera:
        numbers = three(f"http://127.0.0.1:{camera.port}/")
        assert len(camera.asked()) == 1
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_stream_in_chunks_is_read_wherever_they_break(size: int) -> None:
    def script(connection: socket.socket, request: bytes) -> None:
        del request
        head = OK + TYPE + b"cut\r\nTransfer-Encoding: chunked" + END
        connection.sendall(head)
        for number in range(100):
            data = b"--cut\r\n" + JPEG + b"\r\n" + jpeg(number) + b"\r\n"
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            connection.sendall(b"".join(b"%x;a=b\r\n%b\r\n" % (len(p), p) for p in pieces))
            time.sleep(0.03)

    with scripted(script) as camera:
        numbers = three(f"http://127.0.0.1:{camera.port}/")
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("behind", [b"", b"\r\n"])
@pytest.mark.parametrize("named", [b"image/jpeg", b"application/octet-stream"])
def test_pictures_that_follow_one_another_without_a_boundary_are_read(
    named: bytes, behind: bytes
) -> None:
    """FFmpeg's -f mjpeg, and bridges to cameras of no standard (cam-reverse)."""
    head = OK + b"Content-Type: " + named + END
    with scripted(lambda connection, _: play(connection, head, b"", behind)) as camera:
        numbers = three(f"http://127.0.0.1:{camera.port}/")
        assert len(camera.asked()) == 2
    assert numbers == sorted(set(numbers))


def test_a_picture_with_another_behind_it_stays_one_where_its_length_is_stated() -> None:
    """The multi-picture format of phones: a preview behind the picture."""

    def script(connection: socket.socket, request: bytes) -> None:
        del request
        data = jpeg(7) + jpeg(200)
        connection.sendall(OK + JPEG + b"Content-Length: %d" % len(data) + END + data)

    with scripted(script) as camera:
        assert three(f"http://127.0.0.1:{camera.port}/") == [7, 7, 7]


def test_video_in_the_parts_is_named_and_not_called_damaged() -> None:
    def script(connection: socket.socket, request: bytes) -> None:
        del request
        part = b"--cut\nContent-Type: video/x-h264\nContent-Length: 9\n\n\0\0\0\1\x65abcd\n"
        connection.sendall(OK + TYPE + b"cut" + END + part * 3)
        time.sleep(1)

    with scripted(script) as camera:
        source = open_source(SourceSettings(url=f"http://127.0.0.1:{camera.port}/"))
        assert wait_until(lambda: "found video/x-h264; set" in (source.status().reason or ""))
        assert "damaged_pictures" not in source.status().faults
        source.close()


SNAPSHOTS = {
    "plain": b"Content-Type: image/jpeg",
    "Hikvision: a character set": b'Content-Type: image/jpeg; charset="UTF-8"',
    "uv4l: no type": b"Server: x",
    "octets": b"Content-Type: application/octet-stream",
    "ONVIF cameras: the type of a stream": TYPE + b"ipcam264",
    "CGI: a page's type": b"Content-Type: text/html",
    "image/jpg": b"Content-Type: image/jpg",
    "twice": b"Content-Type: image/jpeg\r\nContent-Type: text/html",
    "no such type": b"Content-Type: jpeg",
}


@pytest.mark.parametrize("with_length", [True, False])
@pytest.mark.parametrize("name", SNAPSHOTS)
def test_snapshot_of_a_dialect_is_read(name: str, with_length: bool) -> None:
    sent = [0]

    def script(connection: socket.socket, request: bytes) -> None:
        del request
        data = jpeg(sent[0] % 256)
        sent[0] += 1
        length = b"\r\nContent-Length: %d" % len(data) if with_length else b""
        connection.sendall(OK + SNAPSHOTS[name] + length + END + data)

    with scripted(script) as camera:
        numbers = three(f"http://127.0.0.1:{camera.port}/")
    assert numbers == sorted(set(numbers))
