"""FFmpeg never has a camera's password: not when it is redirected behind edgecam's own check."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from authority import Authority
from servers.scripted import rtsp, scripted

from edgecam.core.opencv import cv2
from edgecam.settings.schema import SourceSettings
from edgecam.sources import rtsp_relay
from edgecam.sources import url as urls
from edgecam.sources.ffmpeg import FfmpegEndpoint
from edgecam.sources.rtsp import MAX_BODY_BYTES, MAX_HEADER_BYTES, RtspClient
from edgecam.sources.rtsp_relay import TRIES, RtspRelay, _Reader
from edgecam.sources.supervised import StreamError
from tests.servers.viewer import wait_for

LOGIN = base64.b64encode(b"eva:s3cret")
BASIC = b'401 Unauthorized|WWW-Authenticate: Basic realm="camera"'
DIGEST = b'401 Unauthorized|WWW-Authenticate: Digest realm="camera", nonce="%s"%s'


def is_ffmpegs(request: bytes) -> bool:
    return b"User-Agent: Lavf" in request


@pytest.mark.parametrize("method", [b"OPTIONS", b"DESCRIBE"])
def test_a_server_that_redirects_ffmpeg_alone_learns_nothing_more(method: bytes) -> None:
    theirs: list[bytes] = []
    ours: list[bytes] = []
    with scripted(rtsp(lambda _: BASIC, theirs)) as other:

        def answer(request: bytes) -> bytes:
            if is_ffmpegs(request) and request.startswith(method):
                return b"302 Found|Location: rtsp://localhost:%d/there" % other.port
            return b"200 OK" if LOGIN in request else BASIC

        with scripted(rtsp(answer, ours)) as camera:
            url = urls.parse(f"rtsp://eva:s3cret@127.0.0.1:{camera.port}/live")
            endpoint = FfmpegEndpoint(url, SourceSettings(url=url.full, open_timeout_s=20.0))
            with pytest.raises(StreamError) as failure:
                endpoint.open(lambda _: None)
    assert any(map(is_ffmpegs, ours))
    assert theirs == []
    assert failure.value.kind == "unauthorised"
    assert f"it redirects to rtsp://localhost:{other.port}" in failure.value.reason


def test_ffmpeg_by_itself_takes_user_and_password_along() -> None:
    """Should it stop doing so, the relay is for nothing."""
    theirs: list[bytes] = []
    with scripted(rtsp(lambda _: BASIC, theirs)) as other:
        there = b"302 Found|Location: rtsp://localhost:%d/there" % other.port
        with scripted(rtsp(lambda _: there, [])) as camera:
            cv2.VideoCapture(f"rtsp://eva:s3cret@127.0.0.1:{camera.port}/live", cv2.CAP_FFMPEG)
    assert any(LOGIN in request for request in theirs)


def test_a_redirect_within_the_camera_is_followed() -> None:
    asked: list[bytes] = []

    def answer(request: bytes) -> bytes:
        if is_ffmpegs(request) and b"/live " in request:
            return b"302 Found|Location: rtsp://127.0.0.1:%d/second" % camera.port
        return b"200 OK" if LOGIN in request else BASIC

    with scripted(rtsp(answer, asked)) as camera:
        url = urls.parse(f"rtsp://eva:s3cret@127.0.0.1:{camera.port}/live")
        endpoint = FfmpegEndpoint(url, SourceSettings(url=url.full, open_timeout_s=20.0))
        with pytest.raises(StreamError):
            endpoint.open(lambda _: None)
        there = b" rtsp://127.0.0.1:%d/second RTSP/1.0" % camera.port
    assert any(there in request and LOGIN in request for request in asked)


class Viewer:
    """Speaks to a relay as FFmpeg does."""

    def __init__(self, relay: RtspRelay) -> None:
        port = int(re.search(r":(\d+)/", relay.url)[1])
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.reader = _Reader(self.connection)

    def ask(self, target: str, number: int = 7, method: str = "DESCRIBE") -> bytes:
        self.connection.sendall(f"{method} {target} RTSP/1.0\r\nCSeq: {number}\r\n\r\n".encode())
        return self.reader.part()


def relay_to(port: int) -> RtspRelay:
    return RtspRelay(urls.parse(f"rtsp://eva:s3cret@127.0.0.1:{port}/live?a=b"), 60.0, None)


def test_each_request_goes_on_with_a_login_and_its_own_number() -> None:
    asked: list[bytes] = []
    with scripted(rtsp(lambda r: b"200 OK" if LOGIN in r else BASIC, asked)) as camera:
        relay = relay_to(camera.port)
        viewer = Viewer(relay)
        assert viewer.ask(relay.url) == b"RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n"
        control = f"rtsp://127.0.0.1:{camera.port}/live/track1"
        assert viewer.ask(control, 8, "SETUP") == b"RTSP/1.0 200 OK\r\nCSeq: 8\r\n\r\n"
        relay.close()
        here = b"rtsp://127.0.0.1:%d/live" % camera.port
    lines = [request.split(b"\r\n")[0] for request in asked]
    assert lines == [
        *[b"DESCRIBE " + here + b"?a=b RTSP/1.0"] * 2,
        b"SETUP " + here + b"/track1 RTSP/1.0",
    ]
    assert [LOGIN in request for request in asked] == [False, True, True]
    assert [re.search(rb"CSeq: (\d+)", request)[1] for request in asked] == [b"1", b"2", b"3"]


def test_a_digest_answers_for_the_cameras_own_address_and_again_when_stale() -> None:
    asked: list[bytes] = []

    def answer(request: bytes) -> bytes:
        if b'nonce="new"' in request:
            return b"200 OK"
        return DIGEST % ((b"new", b", stale=true") if b"Digest" in request else (b"old", b""))

    with scripted(rtsp(answer, asked)) as camera:
        relay = relay_to(camera.port)
        assert Viewer(relay).ask(relay.url).startswith(b"RTSP/1.0 200 OK")
        relay.close()
        uri = b'uri="rtsp://127.0.0.1:%d/live?a=b"' % camera.port
    assert [uri in request for request in asked] == [False, True, True]


def strict() -> Callable[[bytes], bytes]:
    """Takes each count of a nonce once, in order, with the answer that RFC 7616 asks for."""
    counts = [0]

    def answer(request: bytes) -> bytes:
        found = dict(re.findall(rb'(\w+)="?([^",\r]+)"?', request.partition(b"Digest ")[2]))
        method, target, _ = request.split(b" ", 2)
        user, there = b"eva:camera:s3cret", method + b":" + found.get(b"uri", b"")
        count = b"%08x" % (counts[0] + 1)
        parts = (user, b"n", count, found.get(b"cnonce", b""), b"auth", there)
        hashed = [hashlib.md5(part).hexdigest().encode() for part in (parts[0], parts[-1])]
        right = hashlib.md5(b":".join((hashed[0], *parts[1:-1], hashed[1]))).hexdigest().encode()
        if found.get(b"nc") != count or found[b"response"] != right or found[b"uri"] != target:
            return DIGEST % (b"n", b', qop="auth"')
        counts[0] += 1
        return b"200 OK"

    return answer


def test_a_camera_that_takes_no_count_twice_is_answered_again_and_again() -> None:
    asked: list[bytes] = []
    with scripted(rtsp(strict(), asked)) as camera:
        relay = relay_to(camera.port)
        viewer = Viewer(relay)
        for number in range(1, 20):
            assert viewer.ask(relay.url, number).startswith(b"RTSP/1.0 200 OK")
        relay.close()
        camera.script = rtsp(strict(), [])
        client = RtspClient(urls.parse(f"rtsp://eva:s3cret@127.0.0.1:{camera.port}/live"), 60.0)
        answers = [client.ask_with_login(method).status for method in ("OPTIONS", "DESCRIBE")]
        client.close()
    assert answers == ["200 OK", "200 OK"]
    # The first alone was asked without a login.
    assert len(asked) == 20


def test_requests_and_pictures_pass_each_other_over_tls(tmp_path: Path) -> None:
    """One thread reads what floods in while another sends; a byte that is lost would show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path, "ca").issue("server"))
    packet = b"$\0\x04\0" + bytes(1024)

    def script(connection: socket.socket, request: bytes) -> None:
        parts = _Reader(connection)
        parts._received += request
        while part := parts.part():
            if number := re.search(rb"CSeq: \d+", part):
                answer = b"RTSP/1.0 200 OK\r\n" + number[0] + b"\r\n\r\n"
                connection.sendall(packet * 50 + answer)

    with scripted(script, context) as camera:
        url = urls.parse(f"rtsps://eva:s3cret@127.0.0.1:{camera.port}/live")
        relay = RtspRelay(url, 60.0, None)
        viewer = Viewer(relay)
        for number in range(1, 40):
            request = f"GET_PARAMETER {relay.url} RTSP/1.0\r\nCSeq: {number}\r\n\r\n"
            viewer.connection.sendall(request.encode() + b"$\1\0\x02xx")
        found = bytearray()
        while not found.endswith(b"CSeq: 39\r\n\r\n") and (part := viewer.connection.recv(65_536)):
            found += part
        relay.close()
        assert viewer.reader.part() == b""
    answers = [b"RTSP/1.0 200 OK\r\nCSeq: %d\r\n\r\n" % number for number in range(1, 40)]
    assert bytes(found) == b"".join(packet * 50 + answer for answer in answers)
    assert relay.fault is None


def test_a_camera_that_takes_no_login_is_asked_three_times_at_most() -> None:
    asked: list[bytes] = []
    stale = DIGEST % (b"x", b", stale=true")
    with scripted(rtsp(lambda _: stale, asked)) as camera:
        relay = relay_to(camera.port)
        assert Viewer(relay).ask(relay.url).startswith(b"RTSP/1.0 401 Unauthorized")
        relay.close()
    assert len(asked) == TRIES


def test_who_does_not_know_the_address_is_let_nowhere() -> None:
    asked: list[bytes] = []
    with scripted(rtsp(lambda _: b"200 OK", asked)) as camera:
        relay = relay_to(camera.port)
        assert Viewer(relay).ask(f"rtsp://127.0.0.1:{camera.port}/live") == b""
        relay.close()
    assert asked == []


def test_who_asks_nothing_gets_little_time_and_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp_relay, "_STRANGER_S", 0.5)
    monkeypatch.setattr(rtsp_relay, "_MAX_STRANGERS", 4)
    with scripted(rtsp(lambda _: b"200 OK", [])) as camera:
        relay = relay_to(camera.port)
        strangers = [Viewer(relay) for _ in range(rtsp_relay._MAX_STRANGERS + 3)]
        # Those that there is no room for, then those whose time is up.
        assert [stranger.reader.part() for stranger in strangers] == [b""] * len(strangers)
        assert Viewer(relay).ask(relay.url).startswith(b"RTSP/1.0 200 OK")
        relay.close()


def test_pictures_pass_as_they_are_whatever_lies_between() -> None:
    packets = b"$\0\0\x05hello$\1\0\x02xx"
    sent = packets + b"junk that is none of it" + packets + b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n"
    sent += b"Content-Length: 3\r\n\r\nv=0" + packets

    def script(connection: socket.socket, request: bytes) -> None:
        del request
        for byte in sent:
            connection.sendall(bytes((byte,)))

    with scripted(script) as camera:
        relay = relay_to(camera.port)
        viewer = Viewer(relay)
        viewer.connection.sendall(f"PLAY {relay.url} RTSP/1.0\r\nCSeq: 42\r\n\r\n".encode())
        found = bytearray()
        while part := viewer.connection.recv(4096):
            found += part
        relay.close()
    assert bytes(found) == sent.replace(b"CSeq: 1\r", b"CSeq: 42\r")


def test_udp_comes_from_the_camera_itself() -> None:
    transport = b"200 OK|Transport: RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001"
    with scripted(rtsp(lambda _: transport, [])) as camera:
        relay = relay_to(camera.port)
        answer = Viewer(relay).ask(relay.url, method="SETUP")
        relay.close()
    assert b";server_port=6000-6001;source=127.0.0.1\r\n" in answer


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 4000, f"more than {MAX_HEADER_BYTES} bytes"),
        (
            b"RTSP/1.0 200 OK\r\nContent-Length: 99999\r\n\r\n",
            "an answer of 99999 bytes",
        ),
    ],
)
def test_what_a_camera_says_is_bounded(sent: bytes, reason: str) -> None:
    assert MAX_BODY_BYTES < 99_999
    with scripted(lambda connection, _: connection.sendall(sent)) as camera:
        relay = relay_to(camera.port)
        assert Viewer(relay).ask(relay.url) == b""
        wait_for(lambda: relay.fault is not None)
        relay.close()
    assert relay.fault.kind == "garbage"
    assert reason in relay.fault.reason


def test_closing_ends_every_thread() -> None:
    with scripted(rtsp(lambda _: b"200 OK", [])) as camera:
        relay = relay_to(camera.port)
        viewer = Viewer(relay)
        viewer.ask(relay.url)
        relay.close()
        assert viewer.reader.part() == b""
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("rtsp-")])
