"""Where the live page listens, and under which names it is known."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pages import BEARER, FORM, TOKEN, LivePage
from programs import CLIP, edgecam, environment, error_line

from edgecam.core.errors import PageError
from edgecam.settings.access import WebSettings
from edgecam.sinks.web.security import Address, Guard
from edgecam.sinks.web.sink import open_page


def test_it_is_reached_through_a_proxy_under_the_names_it_was_given(far: LivePage) -> None:
    form = {"Content_Type": FORM}
    for host in (
        "camera.example",
        f"camera.example:{far.port}",
        "door.example:8443",
        "tls.example",
    ):
        headers = {"Host": host, "Origin": f"https://{host}", **form}
        status, sent, _ = far.ask("POST", "/login", f"token={TOKEN}", **headers)
        assert status == 303, host
        # Such a cookie never travels without TLS.
        assert "Secure" in sent["Set-Cookie"]
        assert sent["Set-Cookie"].startswith(f"edgecam-{far.port}=")
    for host in ("camera.example:1", "door.example", "door.example:443", "x.camera.example"):
        assert far.ask("GET", "/", Host=host, Authorization=BEARER)[0] == 421, host


def test_without_its_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['aiohttp'] = None; from edgecam.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--model", "posenet", "--source", CLIP, "--web"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert "pip install 'edgecam[web]'" in error_line(done)


def test_it_does_not_listen_beyond_loopback_without_a_token(tmp_path: Path) -> None:
    done = edgecam("--model", "posenet", "--source", CLIP, "--web", "0.0.0.0:0")
    assert "needs a token, found none" in error_line(done)
    weak = tmp_path / "token"
    weak.write_text("1234")
    with pytest.raises(PageError, match="16 or more characters, found 4"):
        open_page(WebSettings(listen="0.0.0.0:0", token_file=str(weak)), "a", "b")


def refused(listen: str) -> str:
    with pytest.raises(PageError) as caught:
        open_page(WebSettings(listen=listen), "a", "b")
    return caught.value.line()


def test_what_cannot_be_listened_on_is_reported_in_our_own_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(f"127.0.0.1:{port}")
    assert said == (
        f"--web 127.0.0.1:{port}: port {port} is taken by another program; end it, or give "
        f"another such as {port + 1} (see: edgecam help live-page)"
    )
    # Of the net for examples (RFC 5737), and a name that never is one (RFC 6761).
    with_token = "is reached from other machines and needs a token"
    assert with_token in refused("192.0.2.1:8080")
    assert with_token in refused("camera.invalid:8080")


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("192.0.2.1:8080", "192.0.2.1 is no address of this machine"),
        ("camera.invalid:8080", "expected a name with an address, found none"),
    ],
)
def test_an_address_that_is_not_ours_is_reported_as_well(
    tmp_path: Path, listen: str, said: str
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with pytest.raises(PageError, match=said) as caught:
        open_page(WebSettings(listen=listen, token_file=str(token)), "a", "b")
    assert "Errno" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "*", "http://camera.example", "camera.example/", "camera.example:", "a b"),
        *("camera.example:0", "camera.example:65536", "camera.example:http", "a..b", ".a"),
        *("::1", "[::1", "[1::2::3]", "kamera.müller.example", "user@camera.example", "a\nb"),
        "x" * 64,
    ],
)
def test_a_name_that_no_browser_sends_is_refused(name: str) -> None:
    with pytest.raises(PageError, match=r"web\.hosts: expected names .*, found") as caught:
        open_page(WebSettings(listen="127.0.0.1:0", hosts=("good.example", name)), "a", "b")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Camera.Example", "camera.example"),
        ("camera.example", "camera.example:8080"),
        ("camera.example:80", "camera.example"),
        ("camera.example:443", "camera.example"),
        ("camera_1.lan:8443", "camera_1.lan:8443"),
        ("10.0.0.9", "10.0.0.9:8080"),
        ("[FE80:0::1]:8443", "[fe80::1]:8443"),
    ],
)
def test_a_name_is_known_as_a_browser_sends_it(name: str, sent: str) -> None:
    guard = Guard(Address("127.0.0.1", 8080), (name,), None)
    assert guard.knows_host(sent, "127.0.0.1")
    assert not guard.knows_host(f"x{sent}", "127.0.0.1")


def test_a_bad_value_fails_before_anything_is_opened() -> None:
    """Neither the model nor the source is there: they would be missed first."""
    done = edgecam("--model", "missing.tflite", "--source", "missing.mp4", "--web", "8080x")
    assert error_line(done).startswith("edgecam: error: --web")
    assert error_line(done).endswith("(see: edgecam help live-page)")


def test_both_kinds_of_addresses_are_listened_on(far: LivePage) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this system has no IPv6")
    for host in ("127.0.0.1", "localhost", "[::1]"):
        with socket.create_connection((host.strip("[]"), far.port), timeout=5) as connection:
            line = f"GET /page.js HTTP/1.1\r\nHost: {host}:{far.port}\r\n"
            connection.sendall(f"{line}Authorization: {BEARER}\r\n\r\n".encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 "), host


@pytest.mark.parametrize(
    "text", ["8080", "localhost", "a b:80", "host:99999", "::1:80", "[1::2::3]:80", "a..b:1", ""]
)
def test_a_listen_address_is_host_and_port(text: str) -> None:
    with pytest.raises(PageError, match="HOST:PORT"):
        Address.parse(text)


def test_loopback_is_known_from_the_rest() -> None:
    for near in ("127.0.0.1:1", "[::1]:1", "localhost:1", "127.9.9.9:1"):
        assert Address.parse(near).is_loopback
    for far in ("0.0.0.0:1", "[::]:1", "192.168.1.2:1", "board.local:1"):
        assert not Address.parse(far).is_loopback


@pytest.mark.parametrize(
    ("listen", "named", "is_known"),
    [
        ("camera.lan:8080", "camera.lan:8080", True),
        ("192.168.1.2:80", "192.168.1.2", True),
        ("[fe80::2]:8080", "[fe80::2]:8080", True),
        ("camera.lan:8080", "other.lan:8080", False),
        ("0.0.0.0:8080", "0.0.0.0:8080", False),
        ("[::]:8080", "[::]:8080", False),
    ],
)
def test_the_name_that_it_listens_under_is_its_own(listen: str, named: str, is_known: bool) -> None:
    address = Address.parse(listen)
    assert Guard(address, (), TOKEN).knows_host(named, "10.0.0.7") is is_known
    own = f"{socket.gethostname().lower()}:{address.port}"
    assert address.url == f"http://{own if address.is_wildcard else listen}/"
    assert Guard(address, (), TOKEN).knows_host(own, "10.0.0.7")


def test_the_log_names_an_address_that_a_browser_can_use(far: LivePage, near: LivePage) -> None:
    assert f"live page on http://{socket.gethostname().lower()}:{far.port}/ " in far.daemon.log
    assert f"live page on http://127.0.0.1:{near.port}/\n" in near.daemon.log
