"""Names, origins and tokens as the guard of the live page compares them, without a server."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from edgecam.core.errors import PageError
from edgecam.sinks.web import security
from edgecam.sinks.web.security import Address, Guard, bearer, further_name

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def host_name(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name that this machine has in these tests."""
    monkeypatch.setattr(security.socket, "gethostname", lambda: "Front.Some.Example")
    return "front.some.example"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("CAMERA.lan:8080", Address("camera.lan", 8080)),
        ("[FE80:0::1]:65535", Address("fe80::1", 65535)),
    ],
)
def test_listen_address_is_read_as_browsers_write_it(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["camera.lan:65536", "8080", "[1::2::3]:80", ""])
def test_listen_address_that_is_none_is_quoted_in_the_error(text: str) -> None:
    with pytest.raises(PageError) as caught:
        Address.parse(text)
    assert str(caught.value) == (
        f"--web: expected HOST:PORT such as 127.0.0.1:8080 or [::1]:8080, found {text!r}"
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Camera.Example", "camera.example"),
        ("camera.example:80", "camera.example"),
        ("camera.example:443", "camera.example"),
        ("camera.example:65535", "camera.example:65535"),
        ("[FE80:0::1]", "[fe80::1]"),
        ("[FE80:0::1]:8443", "[fe80::1]:8443"),
    ],
)
def test_further_name_is_kept_as_the_header_has_it(text: str, name: str) -> None:
    assert further_name(text) == name


@pytest.mark.parametrize(
    "text", ["camera.example:65536", "a b", "[1::2::3]", "[1::2::3]:80", "", "a" * 100]
)
def test_further_name_that_is_none_is_quoted_in_the_error(text: str) -> None:
    with pytest.raises(PageError) as caught:
        further_name(text)
    assert str(caught.value) == (
        "web.hosts: expected names as browsers send them, NAME or NAME:PORT such as "
        f"camera.example or camera.example:8443, found {text!r:.80}"
    )


NEAR = {"127.0.0.1", "localhost", "[::1]"}


@pytest.mark.parametrize(
    ("listen", "reached", "names"),
    [
        ("127.0.0.1", "127.0.0.1", NEAR),
        ("::1", "::1", NEAR),
        ("localhost", "127.0.0.1", NEAR),
        ("192.168.1.2", "192.168.1.2", {"front.some.example", "front.local", "192.168.1.2"}),
        ("0.0.0.0", "10.0.0.7", {"front.some.example", "front.local", "10.0.0.7"}),
        ("::", "::ffff:10.0.0.7", {"front.some.example", "front.local", "10.0.0.7"}),
        ("::", "fe80::1%eth0", {"front.some.example", "front.local", "[fe80::1]"}),
        ("::", "::ffff:127.0.0.1", {"front.some.example", "front.local", *NEAR}),
        ("::", "::1", {"front.some.example", "front.local", *NEAR}),
        ("fe80::2", "fe80::2%1", {"front.some.example", "front.local", "[fe80::2]"}),
        ("camera.lan", "", {"front.some.example", "front.local", "camera.lan"}),
    ],
)
def test_names_are_those_of_the_machine_and_of_the_address_reached(
    listen: str, reached: str, names: set[str]
) -> None:
    every = {
        *NEAR,
        *(
            "front.some.example",
            "front.local",
            "front",
            "front.some.local",
            "example.local",
            "none",
        ),
        *("some.example", "example", "local", "camera.lan"),
        *("192.168.1.2", "10.0.0.7", "0.0.0.0", "[::]", "[fe80::1]", "[fe80::2]", "fe80::2", ""),
        *("[fe80::1%eth0]", "[::ffff:10.0.0.7]", "[::ffff:7f00:1]"),
    }
    guard = Guard(Address(listen, 8080), (), TOKEN)
    assert {name for name in every if guard.knows_host(f"{name}:8080", reached)} == names
    assert not any(guard.knows_host(name, reached) for name in every)
    assert not any(guard.knows_host(f"{name}:8081", reached) for name in every)
    assert not guard.knows_host(None, reached)


def test_port_80_may_be_left_out_and_no_other() -> None:
    for port, is_known in ((80, True), (443, False), (81, False)):
        guard = Guard(Address("192.168.1.2", port), (), TOKEN)
        assert guard.knows_host("192.168.1.2", "192.168.1.2") is is_known
        assert guard.knows_host(f"192.168.1.2:{port}", "192.168.1.2")


def test_further_name_holds_with_the_port_of_the_page_or_as_it_was_given() -> None:
    guard = Guard(Address("127.0.0.1", 8080), ("Camera.Example", "other.example:8443"), None)
    sent = ("camera.example", "CAMERA.example:8080", "other.example:8443")
    assert all(guard.knows_host(host, "127.0.0.1") for host in sent)
    wrong = ("camera.example:8443", "other.example", "other.example:8080", "x.camera.example")
    assert not any(guard.knows_host(host, "127.0.0.1") for host in wrong)


def test_page_that_others_reach_has_a_token_of_sixteen_characters() -> None:
    with pytest.raises(PageError) as caught:
        Guard(Address("192.168.1.2", 8080), (), None)
    assert str(caught.value).startswith(
        "--web 192.168.1.2:8080 is reached from other machines and needs a token, found none; "
    )
    for near in (True, False):
        address = Address("127.0.0.1" if near else "192.168.1.2", 8080)
        with pytest.raises(PageError) as caught:
            Guard(address, (), TOKEN[:-1])
        assert "expected 16 or more characters, found 15;" in str(caught.value)
        assert TOKEN[:-1] not in str(caught.value)
        assert Guard(address, (), TOKEN).address is address


def test_token_opens_and_nothing_else_does() -> None:
    guard = Guard(Address("192.168.1.2", 8080), (), TOKEN)
    session = hmac.new(TOKEN.encode(), b"edgecam session", hashlib.sha256).hexdigest()
    assert guard.cookie == "edgecam-8080"
    assert guard.session == session
    assert guard.is_token(TOKEN)
    for wrong in ("", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), session, "\udcff\udcfe"):
        assert guard.is_token(wrong) is False
        assert guard.is_session(wrong) is (wrong == session)
    assert guard.is_session(None) is False
    assert guard.is_session(TOKEN) is False


def test_page_without_a_token_has_no_token_and_every_session() -> None:
    guard = Guard(Address("127.0.0.1", 8080), (), None)
    assert guard.session is None
    assert guard.is_session(None)
    assert guard.is_session("anything")
    assert guard.is_token("") is False
    assert guard.is_token("None") is False


def test_token_beyond_ascii_is_compared_by_its_utf_8() -> None:
    guard = Guard(Address("127.0.0.1", 8080), (), "sechzehn Zeichen üöä")
    assert guard.is_token("sechzehn Zeichen üöä")
    assert not guard.is_token("sechzehn Zeichen uoa")


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer abc", "abc"),
        ("bEARER  abc ", "abc"),
        ("Bearer a b", "a b"),
        ("Bearer", ""),
        ("Basic abc", None),
        ("Bearerabc", None),
        ("abc", None),
    ],
)
def test_bearer_is_what_stands_behind_the_scheme(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("http://127.0.0.1:8080", True),
        ("https://127.0.0.1:8080", True),
        ("HTTP://127.0.0.1:8080", True),
        ("http://127.0.0.1:8080.evil.example", False),
        ("http://127.0.0.1:80800", False),
        ("http://127.0.0.1:8080@evil.example", False),
        ("http://127.0.0.1:8080/", False),
        ("http://evil.example/http://127.0.0.1:8080", False),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:808", False),
        ("ftp://127.0.0.1:8080", False),
        ("127.0.0.1:8080", False),
        ("null", False),
        ("", False),
    ],
)
def test_own_origin_is_the_whole_of_scheme_and_host(origin: str, is_own: bool) -> None:
    assert Guard.is_own_origin(origin, "127.0.0.1:8080") is is_own


def test_own_origin_is_compared_without_case() -> None:
    assert Guard.is_own_origin("http://Front.Local:8080", "fRONT.lOCAL:8080")
    assert Guard.is_own_origin("https://Front.Local", "fRONT.lOCAL")
    assert not Guard.is_own_origin("http://front.local:8080", "back.local:8080")
