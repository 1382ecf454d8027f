"""HTTP cameras that redirect, drip, flood and speak dialects, on real sockets."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecam.settings.schema import SourceSettings
from edgecam.sources import open_source
from edgecam.sources import url as urls
from edgecam.sources.http_get import REDIRECTS
from edgecam.sources.mjpeg import HttpEndpoint
from edgecam.sources.multipart import MAX_HEADER_BYTES, MAX_PART_BYTES, MultipartReader
from edgecam.sources.supervised import StreamError
from tests.servers.mjpeg import jpeg
from tests.servers.scripted import Script, Scripted, drips, floods, says, scripted
from tests.servers.viewer import Viewer, wait_for

LOGIN = "eva:geheim@"
EMPTY = b"Content-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
MULTIPART = OK + b"Content-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n"
BASIC = b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="cam"\r\n' + EMPTY
DIGEST = (
    b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="cam", nonce="n", qop="auth"\r\n' + EMPTY
)


def server_context(folder: Path) -> ssl.SSLContext:
    """A server of TLS for localhost, by a certificate that it signed itself."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    if shutil.which("openssl") is None:
        pytest.skip("no openssl: apt install openssl")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run(command, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def trust(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    context = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: context)


def redirect(location: str | bytes) -> bytes:
    where = location if isinstance(location, bytes) else location.encode()
    return b"HTTP/1.1 302 Found\r\nLocation: " + where + b"\r\n" + EMPTY


def part(number: int) -> bytes:
    data = jpeg(number)
    return b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data) + data


def streams(connection: socket.socket, request: bytes) -> None:
    """A healthy MJPEG camera."""
    del request
    connection.sendall(MULTIPART)
    for number in range(100_000):
        connection.sendall(part(number % 256) + b"\r\n")
        time.sleep(0.05)


def by_path(**scripts: Script) -> Script:
    """One script for each first word of the path."""

    def script(connection: socket.socket, request: bytes) -> None:
        word = request.split(b" ")[1].decode().strip("/").split("/")[0]
        scripts[word](connection, request)

    return script


def endpoint(url: str, **others: float) -> HttpEndpoint:
    return HttpEndpoint(urls.parse(url), SourceSettings(url=url, **others))


def fault(url: str, **others: float) -> StreamError:
    """Why no picture comes from ``url``: of its opening or, where it opens, of a reading."""
    with pytest.raises(StreamError) as caught:
        endpoint(url, **others).open(lambda _: None).read()
    assert "geheim" not in caught.value.reason
    assert len(caught.value.reason) < 300
    return caught.value


def logins(server: Scripted) -> list[bytes]:
    """What every request said in Authorization; empty for one that said nothing."""
    lines = [request.split(b"\r\n") for request in server.asked()]
    return [
        next((line for line in header if line.lower().startswith(b"authorization:")), b"")
        for header in lines
    ]


def here(server: Scripted, path: str = "video", login: str = LOGIN) -> str:
    return f"http://{login}127.0.0.1:{server.port}/{path}"


# Redirects and who gets the password


@pytest.mark.parametrize("challenge", [BASIC, DIGEST])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_password_does_not_go_to_another_host_or_port(challenge: bytes, host: str) -> None:
    with scripted(says(challenge)) as other:
        target = f"http://{host}:{other.port}/steal"
        with scripted(says(redirect(target))) as camera:
            found = fault(here(camera))
    assert found.kind == "unauthorised"
    assert f"user and password go to http://127.0.0.1:{camera.port} alone" in found.reason
    assert target.removesuffix("/steal") in found.reason
    assert logins(other) == [b""]


def test_password_does_not_follow_from_https_to_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = server_context(tmp_path)
    trust(monkeypatch, tmp_path)
    with scripted(says(BASIC)) as plain:
        there = says(redirect(f"http://localhost:{plain.port}/video"))
        with scripted(there, context) as camera:
            found = fault(f"https://{LOGIN}localhost:{camera.port}/video")
    assert found.kind == "unauthorised"
    assert logins(plain) == [b""]


@pytest.mark.parametrize("challenge", [BASIC, DIGEST])
def test_password_does_not_go_to_another_host_of_the_same_port(challenge: bytes) -> None:
    with scripted(says(b"")) as camera:
        target = f"http://localhost:{camera.port}/steal"
        camera.script = by_path(video=says(redirect(target)), steal=says(challenge))
        assert fault(here(camera)).kind == "unauthorised"
    assert logins(camera) == [b"", b""]


def test_scheme_alone_keeps_the_password_back() -> None:
    """Same host and port: only a rule on the scheme tells them apart."""
    asked, other = (urls.parse(f"{scheme}://cam:8443/") for scheme in ("https", "http"))
    assert asked.origin != other.origin
    assert urls.parse("http://CAM/").origin == urls.parse("http://cam:80/x").origin


@pytest.mark.parametrize("challenge", [BASIC, DIGEST])
def test_password_goes_to_the_same_host_again_after_a_redirect(challenge: bytes) -> None:
    def locked(connection: socket.socket, request: bytes) -> None:
        says(OK, b"Content-Type: image/jpeg\r\n\r\n", jpeg(3))(connection, request)

    def asks(connection: socket.socket, request: bytes) -> None:
        known = b"Authorization: " in request
        (locked if known else says(challenge))(connection, request)

    script = by_path(video=says(redirect("locked/picture")), locked=asks)
    with scripted(script) as camera:
        capture = endpoint(here(camera), rate_hz=60).open(lambda _: None)
        assert capture.read().shape == (120, 160, 3)
    assert [bool(line) for line in logins(camera)] == [False, False, True] * 2


def test_another_host_that_wants_no_login_is_followed_without_one() -> None:
    with scripted(streams) as other, scripted(says(b"")) as camera:
        camera.script = says(redirect(f"http://localhost:{other.port}/video"))
        capture = endpoint(here(camera)).open(lambda _: None)
        assert capture.read().shape == (120, 160, 3)
        capture.close()
    assert logins(other) == [b""]


def test_password_that_comes_back_to_the_first_host_is_used_there() -> None:
    def asks(connection: socket.socket, request: bytes) -> None:
        (streams if b"Authorization" in request else says(BASIC))(connection, request)

    with scripted(says(b"")) as other:
        script = by_path(video=says(redirect(f"http://localhost:{other.port}/there")), locked=asks)
        with scripted(script) as camera:
            other.script = says(redirect(f"http://127.0.0.1:{camera.port}/locked"))
            endpoint(here(camera)).open(lambda _: None).close()
    assert logins(other) == [b""]
    assert base64.b64decode(logins(camera)[-1].split()[-1]) == b"eva:geheim"


# How cameras word a challenge; the first three from Axis, Dahua and GoAhead.
DIGESTS = {
    "axis": 'Digest realm="cam", nonce="n1/=", algorithm=MD5, qop="auth"',
    "dahua": 'Digest realm="cam",qop="auth",nonce="1013271036", opaque="", stale="false"',
    "goahead": 'Digest realm="cam", domain="host", qop="auth", nonce="a60e", opaque="5c", '
    'algorithm="MD5", stale="FALSE"',
    "no qop": 'Digest realm="cam", nonce="n"',
    "two qops": 'digest realm="cam", nonce="n", qop="auth,auth-int"',
    "SHA-256": 'Digest realm="cam", nonce="n", qop="auth", algorithm=SHA-256',
    "behind Basic": 'Basic realm="x"\r\nWWW-Authenticate: Digest realm="cam", nonce="n"',
    "behind Basic in one line": 'Basic realm="x", Digest realm="cam", nonce="n", qop="auth"',
    "before Basic in one line": 'Digest realm="cam", nonce="n", qop="auth", Basic realm="x"',
    "broken into lines": 'Digest realm="cam",\r\n nonce="n",\r\n\tqop="auth"',
}


def answers_digest(request: bytes, name: str, password: str) -> bool:
    """Whether a request answers a challenge rightly, computed from RFC 7616."""
    found = re.search(rb"^Authorization: Digest (.*?)\r$", request, re.MULTILINE)
    if found is None:
        return False
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', found[1].decode()))
    kind = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[fields.get("algorithm", "MD5")]

    def digest(*parts: str) -> str:
        return kind(":".join(parts).encode()).hexdigest()

    secret = digest(name, "cam", password)
    asked = digest("GET", request.split(b" ")[1].decode())
    middle = [fields["nc"], fields["cnonce"], fields["qop"]] if "qop" in fields else []
    expected = digest(secret, fields["nonce"], *middle, asked)
    return fields["username"] == name and fields["response"] == expected


@pytest.mark.parametrize("challenge", DIGESTS)
def test_digest_challenge_of_a_camera_is_answered(challenge: str) -> None:
    def asks(connection: socket.socket, request: bytes) -> None:
        right = answers_digest(request, "j\u00fcrgen", "p:w/\u00fc")
        words = f"HTTP/1.1 401 No\r\nWWW-Authenticate: {DIGESTS[challenge]}\r\n".encode()
        (streams if right else says(words, EMPTY))(connection, request)

    with scripted(asks) as camera:
        login = "j%C3%BCrgen:p%3Aw%2F%C3%BC@"
        capture = endpoint(here(camera, "video?channel=1&x=\u00fc", login)).open(lambda _: None)
        assert capture.read().shape == (120, 160, 3)
        capture.close()
        assert len(camera.asked()) == 2


def test_ffmpeg_keeps_the_password_from_another_host() -> None:
    """What is no JPEG is FFmpeg's, with its own redirects and log-ins."""
    with scripted(says(BASIC)) as other:
        target = redirect(f"http://localhost:{other.port}/steal")

        def script(connection: socket.socket, request: bytes) -> None:
            known = b"Authorization: " in request
            mine = b"User-Agent: edgecam" in request
            video = OK + b"Content-Type: video/mp2t\r\n\r\n"
            says(video if mine and known else target if known else BASIC)(connection, request)

        with scripted(script) as camera, pytest.raises(StreamError):
            endpoint(here(camera), open_timeout_s=3).open(lambda _: None)
        assert any(b"Lavf" in request for request in other.asked())
    assert set(logins(other)) == {b""}


ODD_LOCATIONS = {
    "ftp://nas/cam.jpg": "redirects to ftp:, not to http:",
    "ws://cam/stream": "redirects to ws:, not to http:",
    "file:///etc/passwd": "redirects to file:, not to http:",
    "rtsp://cam/stream": "redirects to rtsp:, not to http:",
    "mailto:x": "redirects to mailto:, not to http:",
    "http://[x/": "what is no address",
    "http://h:99999/": "what is no address",
    "http://h:port/": "what is no address",
    "http://eva%0d%0aX-Sent: it@h/": "what is no address",
    "http://eva%0d%0aX-Sent:%20it@h/": "what is no address",
    "http:///": "redirects more than",
    "//": "redirects more than",
    "": "does not say where to",
    "?": "redirects more than",
    "#": "redirects more than",
    "loop": "redirects more than",
    "x" * 10_000: "an address of 10000 characters",
    "http://" + "h" * 300 + "/": "what is no address",
    "http://b\u00fc.invalid/": "",
    "http://a..b/": "",
    "http://.../": "",
}


@pytest.mark.parametrize(("location", "says_why"), ODD_LOCATIONS.items())
def test_odd_redirect_is_an_error_with_a_reason(location: str, says_why: str) -> None:
    with scripted(says(redirect(location.encode("latin-1")))) as camera:
        found = fault(here(camera))
    assert says_why in found.reason
    assert found.kind != "internal"
    assert len(camera.asked()) <= 1 + REDIRECTS


@pytest.mark.parametrize("location", ["ftp://nas/cam.jpg", "ws://h/", "http://[x/", ""])
def test_stream_comes_back_after_an_odd_redirect(location: str) -> None:
    well = threading.Event()
    well.set()

    def script(connection: socket.socket, request: bytes) -> None:
        del request
        if not well.is_set():
            connection.sendall(redirect(location))
            return
        connection.sendall(MULTIPART)
        number = 0
        while well.is_set():
            connection.sendall(part(number % 256) + b"\r\n")
            number += 1
            time.sleep(0.05)

    with scripted(script) as camera:
        fast = SourceSettings(url=here(camera), backoff_min_s=0.1, backoff_max_s=0.1)
        viewer = Viewer(open_source(fast))
        viewer.wait_for_frames(2, 40)
        well.clear()
        reported = lambda: "redirects" in (viewer.source.status().reason or "")  # noqa: E731
        wait_for(reported, 40)
        well.set()
        viewer.wait_for_frames(3, 40)
        assert viewer.source.status().state == "online"
        viewer.close()


def test_redirect_with_blanks_and_letters_beyond_ascii_is_followed() -> None:
    with scripted(says(redirect("/live view/b\u00fcro".encode("latin-1")))) as camera:
        fault(here(camera))
    assert b"GET /live%20view/b%FCro HTTP/1.1" in camera.asked()[1]


# What drips and what floods

CHUNKED = MULTIPART[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
SNAPSHOT = OK + b"Content-Type: image/jpeg\r\n\r\n"
DRIPS = {
    "status line": (b"HTTP/1.1 2", b"0"),
    "header field": (OK + b"X: ", b"a"),
    "header fields": (OK, b"A: b\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "preamble": (MULTIPART, b"hello\r\n"),
    "empty lines": (MULTIPART, b"\r\n"),
    "boundary": (MULTIPART + b"--c", b"u"),
    "part header field": (MULTIPART + b"--cut\r\nX: ", b"a"),
    "part header fields": (MULTIPART + b"--cut\r\n", b"A: b\r\n"),
    "picture": (MULTIPART + part(1)[:150], b"x"),
    "picture without length": (MULTIPART + b"--cut\r\n\r\n\xff\xd8", b"x"),
    "chunk size": (CHUNKED, b"0"),
    "chunk extension": (CHUNKED + b"5;", b"x"),
    "chunks of a byte": (CHUNKED, b"1\r\n-\r\n"),
    "trailer": (CHUNKED + b"0\r\n", b"A: b\r\n"),
    "snapshot": (SNAPSHOT + jpeg(1)[:100], b"x"),
    "challenge": (b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest ", b"x"),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: ", b"x"),
}


def ends(read: Callable[[], object]) -> None:
    """Whatever is waited for comes to an end."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            read()
        except BaseException as error:  # noqa: BLE001 - raised by the test
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "still waiting after 30 s"
    if failed:
        raise failed[0]


@pytest.mark.parametrize("what", DRIPS)
def test_what_drips_is_given_up_by_the_deadline(what: str) -> None:
    found: list[StreamError] = []
    with scripted(drips(*DRIPS[what])) as camera:
        ends(lambda: found.append(fault(here(camera), read_timeout_s=0.5)))
    assert found[0].kind == "silent"


def test_tls_handshake_that_drips_is_given_up_by_the_deadline() -> None:
    """The camera's part is a record that says it is long and comes a byte at a time."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        try:
            for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + b"x" * 100_000:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            return

    threading.Thread(target=drip, daemon=True).start()
    url = f"https://{LOGIN}127.0.0.1:{listener.getsockname()[1]}/video"
    found: list[StreamError] = []
    ends(lambda: found.append(fault(url, read_timeout_s=0.5)))
    assert (found[0].kind, found[0].reason) == ("silent", "127.0.0.1: no TLS in time")
    listener.close()


def test_body_of_a_challenge_that_never_ends_is_not_read() -> None:
    endless = BASIC.replace(EMPTY, b"\r\n")

    def script(connection: socket.socket, request: bytes) -> None:
        (streams if b"Authorization" in request else floods(endless, b"x" * 4096))(
            connection, request
        )

    with scripted(script) as camera:
        capture = endpoint(here(camera)).open(lambda _: None)
        assert capture.read().shape == (120, 160, 3)
        capture.close()


FLOODS = {
    "header fields": (OK, b"A: b\r\n" * 500),
    "header field": (OK + b"X: ", b"a" * 4096),
    "status line": (b"HTTP/1.1 ", b"2" * 4096),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "empty lines": (MULTIPART, b"\r\n" * 2048),
    "first line": (MULTIPART, b"x" * 4096),
    "part header fields": (MULTIPART + b"--cut\r\n", b"A:\n" * 2000),
    "part header field": (MULTIPART + b"--cut\r\n", b"A" * 4096),
    "part with a length": (
        MULTIPART + b"--cut\r\nContent-Length: 1000000000\r\n\r\n",
        b"x" * 65536,
    ),
    "part without a length": (MULTIPART + b"--cut\r\n\r\n\xff\xd8", b"x" * 65536),
    "snapshot": (SNAPSHOT + b"\xff\xd8", b"x" * 65536),
}


@pytest.mark.parametrize("what", FLOODS)
def test_what_floods_is_refused_by_its_bytes(what: str) -> None:
    found: list[StreamError] = []
    with scripted(floods(*FLOODS[what])) as camera:
        ends(lambda: found.append(fault(here(camera), read_timeout_s=25, open_timeout_s=25)))
    assert found[0].kind in ("garbage", "rejected")


def test_part_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    def first(stated: bytes) -> bytes:
        head = b"--cut\r\nContent-Length: %b\r\n\r\n" % stated
        pieces = iter([head, *[b"x" * 65536] * (MAX_PART_BYTES // 65536)])
        return MultipartReader("cut", lambda: next(pieces)).next_part()

    assert len(first(b"%d" % MAX_PART_BYTES)) == MAX_PART_BYTES
    # Python reads no number of more than 4300 digits.
    for stated in (b"%d" % (MAX_PART_BYTES + 1), b"9" * 40, b"9" * 5000):
        with pytest.raises(StreamError, match="is no camera picture"):
            first(stated)


def test_part_without_a_length_has_the_same_bound() -> None:
    received = 0

    def receive() -> bytes:
        nonlocal received
        received += 65536
        return b"\xff\xd8" + b"x" * 65534

    reader = MultipartReader("cut", receive)
    reader._buffer += b"--cut\r\n\r\n"
    with pytest.raises(StreamError, match="not the multipart stream"):
        reader.next_part()
    assert received <= MAX_PART_BYTES + 2 * 65536


def test_part_header_has_a_bound() -> None:
    received = 0

    def receive() -> bytes:
        nonlocal received
        received += 3000
        return b"A:\n" * 1000

    reader = MultipartReader("cut", receive)
    reader._buffer += b"--cut\r\n"
    with pytest.raises(StreamError, match="not the multipart stream"):
        reader.next_part()
    assert received <= 2 * MAX_HEADER_BYTES


def test_snapshot_has_the_same_bound_as_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg(5)
    monkeypatch.setattr("edgecam.sources.jpeg_stream.MAX_PART_BYTES", len(data))
    with scripted(says(SNAPSHOT, data)) as camera:
        assert endpoint(here(camera), rate_hz=60).open(lambda _: None).read().shape[2] == 3
        camera.script = says(SNAPSHOT, data, b"x")
        found = fault(here(camera), rate_hz=60)
    assert (found.kind, "no camera picture" in found.reason) == ("garbage", True)
