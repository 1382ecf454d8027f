"""The live page's server: who gets in, what a viewer is sent, and what a hostile client costs."""

from __future__ import annotations

import asyncio
import json
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from brokers import wait_until
from pages import TOKEN, LivePage, live_page
from programs import CLIP, edgecam, environment, error_line

from edgecam.opencv import cv2
from edgecam.types import SettingsError
from edgecam.web.security import Address, Guard
from edgecam.web.server import Server
from edgecam.web.stream import Hub

# Cut within this of opening or of the last answer.
EVICTED_S = 10.0


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePage]:
    """Bound beyond loopback, with a token."""
    folder = tmp_path_factory.mktemp("far")
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    with live_page(folder, listen="0.0.0.0:0", EDGECAM_WEB_TOKEN_FILE=str(token)) as page:
        yield page


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePage]:
    """Bound to loopback, writing its results to a file as well."""
    folder = tmp_path_factory.mktemp("near")
    controls = "pause,decode.score_threshold,snapshot"
    with live_page(folder, "--jsonl", folder / "lines", EDGECAM_WEB_CONTROLS=controls) as page:
        yield page


def routes() -> list[tuple[str, str]]:
    """Every route of the server, as its own table has them."""
    guard = Guard(Address("127.0.0.1", 1), (), None)
    hub = Hub({}, None, lambda: None)
    table = Server(guard, hub, print).application().router.routes()
    found = {(route.method, route.resource.canonical) for route in table if route.resource}
    assert len(found) >= 10
    return sorted(found)


ROUTES = routes()
BEARER = f"Bearer {TOKEN}"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_but_healthz_answers_without_the_token(
    far: LivePage, method: str, path: str
) -> None:
    wrong = ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"edgecam={TOKEN}"})
    for headers in wrong:
        status, sent, _ = far.ask(method, path, Origin=far.url, X_Edgecam="1", **headers)
        assert status == (200 if path == "/healthz" else 401), headers
        assert "Set-Cookie" not in sent


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


def test_the_token_opens_by_header_and_by_form(far: LivePage) -> None:
    assert far.ask("GET", "/", Authorization=BEARER)[0] == 200
    form = {"Origin": far.url, "Content_Type": "application/x-www-form-urlencoded"}
    began_s = time.monotonic()
    assert far.ask("POST", "/login", "token=guess", **form)[0] == 401
    assert time.monotonic() - began_s > 0.9
    status, sent, _ = far.ask("POST", "/login", f"token={TOKEN}", **form)
    assert status == 303
    cookie = sent["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert far.ask("GET", "/", Cookie=cookie.partition(";")[0])[0] == 200


def test_without_its_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['aiohttp'] = None; from edgecam.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--model", "posenet", "--source", CLIP, "--web"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert "pip install 'edgecam[web]'" in error_line(done)


def test_it_does_not_listen_beyond_loopback_without_a_token(tmp_path: Path) -> None:
    run = ("--model", "posenet", "--source", CLIP, "--max-frames", 1)
    done = edgecam(*run, "--web", "0.0.0.0:0")
    assert "needs a token, found none" in error_line(done)
    weak = tmp_path / "token"
    weak.write_text("1234")
    done = edgecam(*run, "--web", "0.0.0.0:0", EDGECAM_WEB_TOKEN_FILE=str(weak))
    assert "16 or more characters, found 4" in error_line(done)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = edgecam(*run, "--web", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "Address already in use" in error_line(done)


@pytest.mark.parametrize("text", ["8080", "localhost", "a b:80", "host:99999", "::1:80", ""])
def test_a_listen_address_is_host_and_port(text: str) -> None:
    with pytest.raises(SettingsError, match="HOST:PORT"):
        Address.parse(text)


def test_loopback_is_told_from_the_rest() -> None:
    for near in ("127.0.0.1:1", "[::1]:1", "localhost:1", "127.9.9.9:1"):
        assert Address.parse(near).is_loopback
    for far in ("0.0.0.0:1", "[::]:1", "192.168.1.2:1", "board.local:1"):
        assert not Address.parse(far).is_loopback


def test_results_are_those_of_the_json_lines(near: LivePage) -> None:
    got = asyncio.run(near.follow(12, pictures=False))
    results = [part["result"] for part in got if isinstance(part, dict) and "result" in part]
    assert len(results) >= 8
    text = (near.daemon.supervisor.path.parent / "lines").read_text()
    lines = {line["sequence"]: line for line in map(json.loads, text.splitlines()[:-1])}
    for result in results[:-1]:
        assert result == lines[result["sequence"]]
    assert not [part for part in got if isinstance(part, bytes)]


def test_a_picture_is_the_frame(near: LivePage) -> None:
    got = asyncio.run(near.follow(6, pictures=True))
    pictures = [part for part in got if isinstance(part, bytes)]
    assert len(pictures) >= 2
    results = [part["result"] for part in got if isinstance(part, dict) and part.get("picture")]
    shown = cv2.imdecode(np.frombuffer(pictures[0], np.uint8), cv2.IMREAD_COLOR)
    capture = cv2.VideoCapture(str(CLIP))
    capture.set(cv2.CAP_PROP_POS_FRAMES, round(results[0]["media_time_s"] * 10))
    frame = cv2.resize(capture.read()[1], shown.shape[1::-1], interpolation=cv2.INTER_AREA)
    # JPEG at quality 75: a few grey levels on average.
    assert np.abs(frame.astype(int) - shown).mean() < 6


def counters(page: LivePage) -> dict[str, int]:
    got = asyncio.run(page.follow(40, pictures=False))
    reports = [part["report"] for part in got if isinstance(part, dict) and "report" in part]
    found: dict[str, int] = reports[-1]["telemetry"]["counters"]
    return found


def test_nothing_is_encoded_unless_a_viewer_wants_pictures(tmp_path: Path) -> None:
    with live_page(tmp_path) as page:
        time.sleep(2)
        before = counters(page)
        assert before["web_viewers"] == 1
        assert before["web_jpegs"] == 0
        asyncio.run(page.follow(6, pictures=True))
        assert counters(page)["web_jpegs"] >= 2


def test_skeleton_only_mode_sends_no_picture(tmp_path: Path) -> None:
    with live_page(tmp_path, EDGECAM_WEB_PICTURES="false") as page:
        got = asyncio.run(page.follow(8, pictures=True))
    assert not [part for part in got if isinstance(part, bytes)]


def test_controls_do_what_the_configuration_allows(near: LivePage, far: LivePage) -> None:
    body = json.dumps({"control": "pause", "value": "on"})
    headers = {"Origin": far.url, "X_Edgecam": "1", "Authorization": BEARER}
    status, _, text = far.ask("POST", "/control", body, **headers)
    assert status == 400
    assert "web.controls" in text
    for control, value in (
        ("source.url", "x"),
        ("decode.score_threshold", "7"),
        ("pause", "maybe"),
    ):
        assert near.control(control, value)[0] == 400, control
    assert "snapshot.mode" in near.control("snapshot")[1]
    lines = near.daemon.supervisor.path.parent / "lines"
    assert near.control("pause", "on") == (204, "")
    time.sleep(1)
    size = lines.stat().st_size
    time.sleep(1)
    assert lines.stat().st_size == size
    assert near.control("pause", "off") == (204, "")
    assert wait_until(lambda: lines.stat().st_size > size, 5)
    assert near.control("decode.score_threshold", "0.4") == (204, "")
    near.daemon.wait_log("decode.score_threshold set to 0.4 on the live page")


def test_the_page_and_its_controls_outlive_a_reload(tmp_path: Path) -> None:
    config = tmp_path / "page.toml"
    text = "[decode]\nmax_poses = {}\n[web]\ncontrols = ['pause']\n"
    config.write_text(text.format(3))
    with live_page(tmp_path, "--config", config, "--jsonl", tmp_path / "lines") as page:
        page.daemon.wait_ready()
        config.write_text(text.format(2))
        page.daemon.send(signal.SIGHUP)
        assert wait_until(lambda: len(page.daemon.supervisor.of("READY=1")) == 2, 20)
        got = asyncio.run(page.follow(6, pictures=True))
        results = [part["result"] for part in got if isinstance(part, dict) and "result" in part]
        assert max(len(result["poses"]) for result in results[1:]) <= 2
        assert page.control("pause", "on") == (204, "")
        page.daemon.wait_log("pause set to True on the live page")


def is_cut(client: socket.socket) -> bool:
    """Whether the other side has gone; reads nothing that it sent."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def handshake(page: LivePage) -> bytes:
    lines = (
        "GET /stream HTTP/1.1",
        f"Host: {page.host}",
        f"Origin: {page.url}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_slow_and_stalled_clients_are_cut_and_others_served(tmp_path: Path) -> None:
    with live_page(tmp_path, "--jsonl", tmp_path / "lines") as page:
        status = Path(f"/proc/{page.daemon.process.pid}/status")

        def resident_kb() -> int:
            return int(status.read_text().split("VmRSS:")[1].split()[0])

        asyncio.run(page.follow(6, pictures=True))
        before_kb = resident_kb()
        slow = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(200)]
        for client in slow:
            # Those beyond the limit are cut already.
            if not is_cut(client):
                client.send(b"GET / HTTP/1.1\r\nHost: ")
        stalled = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(50)]
        for client in stalled:
            client.send(handshake(page))
        began_s = time.monotonic()
        assert page.ask("GET", "/healthz")[0] == 200
        frames = len((tmp_path / "lines").read_text().splitlines())
        assert wait_until(lambda: all(map(is_cut, slow + stalled)), EVICTED_S)
        took_s = time.monotonic() - began_s
        assert took_s < EVICTED_S
        assert resident_kb() - before_kb < 30_000
        # Frames went on meanwhile.
        assert len((tmp_path / "lines").read_text().splitlines()) - frames > took_s
        for client in slow + stalled:
            client.close()
        assert asyncio.run(page.follow(3, pictures=True))
        assert counters(page)["web_evicted"] >= 200
