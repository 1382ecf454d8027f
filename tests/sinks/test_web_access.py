"""Who gets at the live page: the token, the names of the host, the origin; and who does not."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import aiohttp
import pytest
from brokers import wait_until
from pages import BEARER, FORM, TOKEN, LivePage

from edgecam.sinks.web import rate_limits
from edgecam.sinks.web.rate_limits import MAX_GUESSES
from edgecam.sinks.web.security import Address, Guard, bearer
from edgecam.sinks.web.server import Server
from edgecam.sinks.web.stream import Hub


def routes() -> list[tuple[str, str]]:
    """Every route of the server, as its own table has them."""
    guard = Guard(Address("127.0.0.1", 1), (), None)
    hub = Hub({}, None, lambda: None)
    server = Server(guard)
    server.add("front", hub, print)
    table = server.application().router.routes()
    found = {(route.method, route.resource.canonical) for route in table if route.resource}
    assert len(found) >= 10
    return sorted(found)


ROUTES = routes()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_but_healthz_answers_without_the_token(
    far: LivePage, method: str, path: str
) -> None:
    # A wrong token has a test of its own: it takes a second.
    for headers in ({}, {"Authorization": "Basic Og=="}, {"Cookie": f"edgecam-{far.port}={TOKEN}"}):
        form = {"Content_Type": FORM, "Origin": far.url, "X_Edgecam": "1"}
        status, sent, _ = far.ask(method, path, **form, **headers)
        assert status == (200 if path == "/healthz" else 401), headers
        assert "Set-Cookie" not in sent


def test_a_wrong_token_opens_no_route(far: LivePage) -> None:
    def guess(number: int) -> tuple[str, int]:
        own = {"Content_Type": FORM, "Origin": far.url, "X_Edgecam": "1"}
        method, path = ROUTES[number]
        status, sent, _ = far.ask(
            *(method, path, "token=wrong", f"127.0.1.{number}"), Authorization="Bearer wrong", **own
        )
        assert "Set-Cookie" not in sent
        return path, status

    with ThreadPoolExecutor(len(ROUTES)) as pool:
        found = list(pool.map(guess, range(len(ROUTES))))
    for path, status in found:
        assert status == (200 if path == "/healthz" else 401), path


def test_who_guesses_fast_is_not_listened_to_and_stalls_no_viewer(far: LivePage) -> None:
    _, sent, _ = far.ask("POST", "/login", f"token={TOKEN}", Origin=far.url, Content_Type=FORM)
    cookie = sent["Set-Cookie"].partition(";")[0]
    done, found = threading.Event(), set[int]()

    def guess(number: int) -> None:
        while not done.is_set():
            found.add(far.ask("GET", "/page.js", Authorization=f"Bearer wrong-{number}")[0])

    def right() -> int:
        return far.ask("GET", "/page.js", Authorization=BEARER)[0]

    with ThreadPoolExecutor(3 * MAX_GUESSES) as pool:
        guesses = [pool.submit(guess, number) for number in range(3 * MAX_GUESSES)]
        try:
            # Not even the right one is: it would tell the right from the wrong at once.
            assert wait_until(lambda: right() == 429)
            assert far.ask("GET", "/page.js", Cookie=cookie)[0] == 200
            assert far.ask("GET", "/page.js", None, "127.0.0.2", Authorization=BEARER)[0] == 200
        finally:
            done.set()
        for each in guesses:
            each.result()
    assert found == {401, 429}
    assert wait_until(lambda: right() == 200)


def test_a_wrong_token_is_answered_late_and_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_s: list[float] = []
    guesses = rate_limits.Guesses()

    async def sleep(seconds: float) -> None:
        asked_s.append(seconds)
        assert guesses.are_too_many("a") == (len(asked_s) >= MAX_GUESSES)
        assert not guesses.are_too_many("b")
        if len(asked_s) < MAX_GUESSES:
            await guesses.wrong("a")

    monkeypatch.setattr(rate_limits, "asyncio", SimpleNamespace(sleep=sleep))
    asyncio.run(guesses.wrong("a"))
    assert asked_s == [1.0] * MAX_GUESSES
    assert not guesses.are_too_many("a")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_to_a_foreign_name_or_origin(
    far: LivePage, near: LivePage, method: str, path: str
) -> None:
    for page in (far, near):
        for host in ("evil.example", f"evil.example:{page.port}", "127.0.0.1:1", ""):
            status, _, _ = page.ask(method, path, Host=host, Authorization=BEARER)
            assert status in (400, 421), host
        for origin in ("http://evil.example", "null", f"http://localhost:{page.port}"):
            status, sent, _ = page.ask(
                method, path, Origin=origin, Authorization=BEARER, X_Edgecam="1"
            )
            assert status == 403, origin
            assert "Access-Control-Allow-Origin" not in sent


@pytest.mark.parametrize("path", ["/control", "/stream", "/login"])
def test_what_changes_something_or_streams_needs_its_own_origin(near: LivePage, path: str) -> None:
    method = "GET" if path == "/stream" else "POST"
    status, _, text = near.ask(method, path, X_Edgecam="1")
    assert (status, text) == (403, "Origin is missing\n")


def test_a_form_cannot_command(near: LivePage) -> None:
    body = json.dumps({"control": "pause", "value": "on"})
    status, _, text = near.ask("POST", "/control", body, Origin=near.url)
    assert (status, text) == (403, "X-Edgecam is missing\n")


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/page.js/../server.py",
        "/page.js%00.py",
        "/security.py",
        "/login.html",
        "/.",
        "/page/page.html",
    ],
)
def test_no_path_reaches_the_file_system(near: LivePage, far: LivePage, path: str) -> None:
    for page, headers in ((near, {}), (far, {"Authorization": BEARER})):
        status, _, text = page.ask("GET", path, **headers)
        # "/." is "/" after normalisation.
        assert status in (400, 404) or path == "/."
        assert "root:" not in text
        assert "import" not in text or path == "/."


def test_every_answer_carries_the_headers_that_protect_it(near: LivePage) -> None:
    for path in ("/", "/page.js", "/healthz", "/nowhere", "/control"):
        _, sent, text = near.ask("GET", path)
        policy = sent["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert sent["X-Content-Type-Options"] == "nosniff"
        assert "style=" not in text
        assert "onclick" not in text
        assert sent.get_all("Server") == ["edgecam"]


def test_the_token_opens_by_header_and_by_form(far: LivePage) -> None:
    assert far.ask("GET", "/", Authorization=BEARER)[0] == 200
    form = {"Origin": far.url, "Content_Type": FORM}
    assert far.ask("POST", "/login", "token=guess", **form)[0] == 401
    status, sent, text = far.ask("GET", "/login")
    assert (status, 'name="token"' in text) == (401, True)
    # The one style that stands in a page, by its digest.
    assert "style-src 'sha256-" in sent["Content-Security-Policy"]
    status, sent, _ = far.ask("POST", "/login", f"token={TOKEN}", **form)
    assert status == 303
    cookie = sent["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert far.ask("GET", "/", Cookie=cookie.partition(";")[0])[0] == 200


MALFORMED = [
    ("POST", "/login", 415, {"Content_Type": "multipart/form-data"}),
    ("POST", "/login", 415, {"Content_Type": "multipart/form-data; boundary=x"}),
    ("POST", "/login", 415, {"Content_Type": ""}),
    ("POST", "/login", 401, {"Content_Type": f"{FORM}; charset=bogus"}),
    ("POST", "/login", 415, {"Content_Type": FORM, "Content_Encoding": "gzip"}),
    ("POST", "/login", 415, {"Content_Type": FORM, "Content_Encoding": "deflate"}),
    ("POST", "/login", 415, {"Content_Type": FORM, "Content_Encoding": "identity"}),
    ("GET", "/metrics", 401, {"Authorization": "Bearer \xff"}),
    ("GET", "/metrics", 401, {"Cookie": "\xff=\xff"}),
    ("POST", "/control", 415, {"Authorization": BEARER, "Content_Encoding": "gzip"}),
    ("POST", "/zones", 415, {"Authorization": BEARER, "Content_Encoding": "gzip"}),
    # aiohttp answers this one before anybody is asked.
    ("POST", "/control", 417, {"Expect": "nonsense"}),
    ("PUT", "/", 401, {}),
    ("PUT", "/", 405, {"Authorization": BEARER}),
]


@pytest.mark.parametrize(("method", "path", "expected", "headers"), MALFORMED)
def test_a_malformed_request_is_refused_and_prints_nothing(
    far: LivePage, method: str, path: str, expected: int, headers: dict[str, str]
) -> None:
    own = {"Origin": far.url, "X_Edgecam": "1"}
    status, sent, text = far.ask(method, path, "token=%ff\0", **own, **headers)
    assert status == expected, text
    assert sent["X-Frame-Options"] == "DENY"
    assert "script-src 'self'" in sent["Content-Security-Policy"]
    assert "Traceback" not in far.daemon.log


@pytest.mark.parametrize(
    "raw", [b"\0\xff\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\nA b\r\n\r\n"]
)
def test_what_is_no_http_prints_nothing(far: LivePage, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", far.port), timeout=5) as connection:
        connection.sendall(raw)
        head = connection.recv(4096)
        assert b" 400 " in head.partition(b"\r\n")[0]
        # Not from us, but no browser makes anything of it.
        assert b"\r\nContent-Type: text/plain" in head
    assert far.ask("GET", "/healthz")[0] == 200
    assert "Traceback" not in far.daemon.log


def test_a_fault_of_ours_is_logged_once_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]

        def fail(control: str, value: str) -> None:
            raise RuntimeError(control + value)

        guard = Guard(Address("127.0.0.1", port), (), None)
        app = Server(guard)
        app.add("front", Hub({}, None, lambda: None), fail)
        stop = asyncio.Event()
        serving = asyncio.create_task(app.run(listener, stop))
        url = f"http://127.0.0.1:{port}"
        own = {"Origin": url, "X-Edgecam": "1"}
        async with aiohttp.ClientSession(headers=own) as session:
            for _ in range(3):
                async with session.post(f"{url}/control", json={"control": "pause"}) as answer:
                    assert answer.status == 500
                    assert answer.headers["X-Frame-Options"] == "DENY"
        assert app.refused == 3
        stop.set()
        await serving

    asyncio.run(ask())
    assert [record.getMessage() for record in caplog.records] == [
        "live page: a request failed: RuntimeError('pause')"
    ]


def test_a_token_that_is_no_text_is_a_wrong_one() -> None:
    guard = Guard(Address("0.0.0.0", 1), (), TOKEN)
    for wrong in ("\udcff", "\ud800", "\xff", f"{TOKEN}\udcff"):
        assert not guard.is_token(wrong)
        assert not guard.is_session(wrong)
        assert bearer(f"Bearer {wrong}") == wrong
    assert guard.is_token(bearer(BEARER) or "")
