"""RTSP servers that redirect, against FFmpeg itself: it takes user and password along."""

from __future__ import annotations

import base64

import pytest
from servers.scripted import rtsp, scripted

from edgecam.settings.schema import SourceSettings
from edgecam.sources import url as urls
from edgecam.sources.ffmpeg import FfmpegEndpoint
from edgecam.sources.rtsp import MAX_BODY_BYTES, redirects_refused
from edgecam.sources.supervised import StreamError

LOGIN = base64.b64encode(b"eva:s3cret")
CHALLENGE = b'401 Unauthorized|WWW-Authenticate: Basic realm="camera"'


def attempt(port: int) -> StreamError:
    """What FFmpeg with its check before it makes of a server that gives no stream."""
    url = urls.parse(f"rtsp://eva:s3cret@127.0.0.1:{port}/live")
    endpoint = FfmpegEndpoint(url, SourceSettings(url=url.full, open_timeout_s=20.0))
    with pytest.raises(StreamError) as failure:
        endpoint.open(lambda _: None)
    return failure.value


@pytest.mark.parametrize("method", [b"OPTIONS", b"DESCRIBE"])
@pytest.mark.parametrize("knows_the_user", [False, True])
@pytest.mark.parametrize("host", [b"127.0.0.1", b"localhost"])
def test_user_and_password_stay_with_the_camera_that_redirects(
    method: bytes, knows_the_user: bool, host: bytes
) -> None:
    theirs: list[bytes] = []
    ours: list[bytes] = []
    with scripted(rtsp(lambda _: CHALLENGE, theirs)) as other:

        def answer(request: bytes) -> bytes:
            if knows_the_user and LOGIN not in request:
                return CHALLENGE
            if request.startswith(method):
                return b"302 Found|Location: rtsp://%s:%d/there" % (host, other.port)
            return b"200 OK"

        with scripted(rtsp(answer, ours)) as camera:
            failure = attempt(camera.port)
    assert theirs == []
    assert any(LOGIN in request for request in ours) == knows_the_user
    assert failure.kind == "unauthorised"
    assert failure.reason == (
        f"user and password go to rtsp://127.0.0.1:{camera.port} alone, and it redirects to "
        f"rtsp://{host.decode()}:{other.port}; name that in source.url"
    )


@pytest.mark.parametrize("location", ["", "/there", "rtsp://[x/", "mailto:eva", "rtsp://a:99999/"])
def test_a_redirect_to_what_is_no_address(location: str) -> None:
    script = rtsp(lambda _: f"302 Found|Location: {location}".encode(), [])
    with scripted(script) as camera:
        failure = attempt(camera.port)
    assert failure.kind == "rejected"
    assert failure.reason == "the server redirects to what is no address"


def test_a_redirect_on_the_same_server_is_followed_five_times_at_most() -> None:
    asked: list[bytes] = []
    with scripted(lambda connection, request: script(connection, request)) as camera:
        here = b"302 Found|Location: rtsp://127.0.0.1:%d/there" % camera.port
        script = rtsp(lambda _: here, asked)
        failure = attempt(camera.port)
    assert failure.reason == "the server redirects more than 5 times"
    assert len(asked) == 5


def test_an_answer_that_states_a_large_body_is_not_read() -> None:
    url = "rtsp://eva:s3cret@127.0.0.1:{}/live"
    large = b"200 OK|Content-Length: %d" % (MAX_BODY_BYTES + 1)
    with (
        scripted(rtsp(lambda _: large, [])) as camera,
        pytest.raises(StreamError, match="an answer of 65537 bytes"),
        redirects_refused(urls.parse(url.format(camera.port)), 20.0),
    ):
        pass


def test_a_wrong_password_is_tried_once_an_opening() -> None:
    """Cameras lock out who tries more often."""
    asked: list[bytes] = []
    with scripted(rtsp(lambda _: CHALLENGE, asked)) as camera:
        failure = attempt(camera.port)
    assert failure.reason == "the server refuses the user name or password"
    assert [LOGIN in request for request in asked] == [False, True]


def test_what_looks_for_a_camera_sends_no_password() -> None:
    asked: list[bytes] = []
    with scripted(rtsp(lambda _: CHALLENGE, asked)) as camera:
        url = urls.parse(f"rtsp://eva:s3cret@127.0.0.1:{camera.port}/live")
        FfmpegEndpoint(url, SourceSettings(url=url.full)).recheck()
    assert [request.startswith(b"OPTIONS") for request in asked] == [True]
    assert LOGIN not in asked[0]
