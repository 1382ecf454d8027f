"""The live page's server: who gets in, and what a viewer is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber, wait_until
from pages import TOKEN, LivePage, live_page
from programs import CLIP, edgecam, environment, error_line
from prometheus_client.parser import text_string_to_metric_families

from edgecam.configuration import read_toml
from edgecam.opencv import cv2
from edgecam.settings_access import WebSettings
from edgecam.sinks.web import open_page
from edgecam.types import SettingsError, SinkError
from edgecam.web.journal import Journal
from edgecam.web.security import Address, Guard
from edgecam.web.server import Server
from edgecam.web.stream import Hub
from edgecam.wire import Rates, SourceReport, Telemetry

CORNERS = [[0.3, 0.35], [0.98, 0.35], [0.98, 0.75], [0.55, 0.8]]
SCENE = f"""
[[zone]]
name = "path"
polygon = {CORNERS}
inside = "ankle"

[[mask]]
name = "van"
polygon = [[0.85, 0.1], [1.0, 0.1], [1.0, 0.3]]

[[line]]
name = "door"
start = [0.62, 0.3]
end = [0.95, 0.75]
"""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePage]:
    """Bound beyond loopback, with a token; no picture leaves it."""
    folder = tmp_path_factory.mktemp("far")
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    given = {
        "EDGECAM_WEB_TOKEN_FILE": str(token),
        "EDGECAM_WEB_PICTURES": "false",
        "EDGECAM_WEB_HOSTS": "camera.example,door.example:8443",
    }
    with live_page(folder, listen="0.0.0.0:0", **given) as page:
        yield page


@pytest.fixture(scope="module")
def subscriber(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subscriber]:
    """Everything on the broker of the page that is near."""
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    broker.start()
    everything = Subscriber(broker.port).ready()
    yield everything
    everything.close()
    broker.kill()


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory, subscriber: Subscriber) -> Iterator[LivePage]:
    """Bound to loopback, with zones, a broker and results in a file."""
    folder = tmp_path_factory.mktemp("near")
    (folder / "scene.toml").write_text(SCENE)
    arguments = ("--jsonl", folder / "lines", "--config", folder / "scene.toml")
    given = {
        "EDGECAM_WEB_CONTROLS": "pause,decode.score_threshold,snapshot",
        "EDGECAM_SNAPSHOT_MODE": "skeleton",
        "EDGECAM_SNAPSHOT_WHEN": "asked",
        "EDGECAM_MQTT_URL": f"mqtt://127.0.0.1:{subscriber.port}",
    }
    with live_page(folder, *arguments, **given) as page:
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
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_but_healthz_answers_without_the_token(
    far: LivePage, method: str, path: str
) -> None:
    wrong = ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"edgecam-{far.port}={TOKEN}"})
    for headers in wrong:
        form = {"Content_Type": FORM, "Origin": far.url, "X_Edgecam": "1"}
        status, sent, _ = far.ask(method, path, **form, **headers)
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
    form = {"Origin": far.url, "Content_Type": FORM}
    began_s = time.monotonic()
    assert far.ask("POST", "/login", "token=guess", **form)[0] == 401
    assert time.monotonic() - began_s > 0.9
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
    ("POST", "/login", 400, {"Content_Type": FORM, "Content_Encoding": "gzip"}),
    ("POST", "/login", 400, {"Content_Type": FORM, "Content_Encoding": "deflate"}),
    ("GET", "/metrics", 401, {"Authorization": "Bearer \xff"}),
    ("GET", "/metrics", 401, {"Cookie": "\xff=\xff"}),
    ("POST", "/control", 400, {"Authorization": BEARER, "Content_Encoding": "gzip"}),
    ("POST", "/zones", 400, {"Authorization": BEARER, "Content_Encoding": "gzip"}),
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
        assert b" 400 " in connection.recv(4096).partition(b"\r\n")[0]
    assert far.ask("GET", "/healthz")[0] == 200
    assert "Traceback" not in far.daemon.log


def test_a_fault_of_ours_is_logged_once_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]

        def fail(control: str, value: str) -> None:
            raise RuntimeError(control + value)

        guard = Guard(Address("127.0.0.1", port), (), None)
        app = Server(guard, Hub({}, None, lambda: None), fail)
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
        assert not guard.may_enter(f"Bearer {wrong}", wrong)
    assert guard.may_enter(BEARER, "\udcff")


def test_it_is_reached_through_a_proxy_under_the_names_it_was_given(far: LivePage) -> None:
    form = {"Content_Type": FORM}
    for host in ("camera.example", f"camera.example:{far.port}", "door.example:8443"):
        headers = {"Host": host, "Origin": f"https://{host}", **form}
        status, sent, _ = far.ask("POST", "/login", f"token={TOKEN}", **headers)
        assert status == 303, host
        # Such a cookie never travels without TLS.
        assert "Secure" in sent["Set-Cookie"]
        assert sent["Set-Cookie"].startswith(f"edgecam-{far.port}=")
    for host in ("camera.example:1", "door.example", "door.example:443", "x.camera.example"):
        assert far.ask("GET", "/", Host=host, Authorization=BEARER)[0] == 421, host


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
    done = edgecam("--model", "posenet", "--source", CLIP, "--web", "0.0.0.0:0")
    assert "needs a token, found none" in error_line(done)
    weak = tmp_path / "token"
    weak.write_text("1234")
    with pytest.raises(SettingsError, match="16 or more characters, found 4"):
        open_page(WebSettings(listen="0.0.0.0:0", token_file=str(weak)), "a", "b")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = WebSettings(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(SinkError, match="Address already in use"):
            open_page(settings, "a", "b")


@pytest.mark.parametrize("text", ["8080", "localhost", "a b:80", "host:99999", "::1:80", ""])
def test_a_listen_address_is_host_and_port(text: str) -> None:
    with pytest.raises(SettingsError, match="HOST:PORT"):
        Address.parse(text)


def test_loopback_is_told_from_the_rest() -> None:
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


def bundles(got: list[dict[str, Any] | bytes], key: str) -> list[Any]:
    """What there is under this key in the bundles that a viewer got."""
    return [part[key] for part in got if isinstance(part, dict) and key in part]


def metrics(page: LivePage) -> dict[str, float]:
    """Names and values of the next report; it comes every two seconds."""

    def read() -> dict[str, float]:
        _, _, text = page.ask("GET", "/metrics")
        families = text_string_to_metric_families(text)
        return {sample.name: sample.value for family in families for sample in family.samples}

    before = read()
    assert wait_until(lambda: read()["edgecam_uptime_s"] > before["edgecam_uptime_s"], 5)
    return read()


def test_nothing_is_encoded_unless_a_viewer_wants_pictures(near: LivePage) -> None:
    asyncio.run(near.follow(6, pictures=True))
    before = metrics(near)
    asyncio.run(near.follow(20, pictures=False))
    after = metrics(near)
    assert after["edgecam_web_jpegs_total"] == before["edgecam_web_jpegs_total"] > 0


def test_skeleton_only_mode_sends_no_picture(far: LivePage) -> None:
    got = asyncio.run(far.follow(8, pictures=True, Authorization=BEARER))
    assert bundles(got, "hello")[0]["pictures"] is False
    assert len(bundles(got, "result")) >= 6
    assert not [part for part in got if isinstance(part, bytes)]


def test_several_viewers_share_the_pictures(near: LivePage) -> None:
    async def several() -> list[list[dict[str, Any] | bytes]]:
        return await asyncio.gather(*(near.follow(12, pictures=True) for _ in range(4)))

    before = metrics(near)["edgecam_web_jpegs_total"]
    began_s = time.monotonic()
    everybody = asyncio.run(several())
    frames = 10 * (time.monotonic() - began_s) + 3
    pictures = [len([part for part in got if isinstance(part, bytes)]) for got in everybody]
    assert min(pictures) >= 8
    assert metrics(near)["edgecam_web_jpegs_total"] - before <= frames < sum(pictures)


async def pause_between(page: LivePage, seconds: float) -> tuple[int, list[Any]]:
    """The number of the first result, and what a viewer is sent that then says nothing so long."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{page.url}/stream", origin=page.url) as stream,
    ):
        await stream.receive_json()
        first = await stream.receive_json()
        got: list[Any] = []
        with contextlib.suppress(TimeoutError):
            got.append(await stream.receive_json(timeout=seconds))
        await stream.send_str("next")
        got.append(await stream.receive_json(timeout=2))
    return first["result"]["sequence"], got


def test_a_slow_viewer_is_skipped_ahead(near: LivePage) -> None:
    number, got = asyncio.run(pause_between(near, 1.5))
    # Nothing was sent in the meantime, and nothing of it later.
    (after,) = got
    assert after["result"]["sequence"] >= number + 12


def test_the_events_are_those_that_are_published(near: LivePage, subscriber: Subscriber) -> None:
    topic = "edgecam/camera/event"
    subscriber.wait_for(topic, 8, timeout_s=20)
    got = asyncio.run(near.follow(60, pictures=False))
    shown = bundles(got, "hello")[0]["events"]
    before = len(shown)
    shown += [event for part in bundles(got, "events") for event in part]
    assert before >= 8
    assert len(shown) > before
    published = {e["sequence"]: e for e in (json.loads(m.payload) for m in subscriber.of(topic))}
    for event in shown:
        assert event == published[event["sequence"]]
    assert [event["sequence"] for event in shown] == list(range(len(shown)))


def test_zones_lines_and_masks_are_shown_as_configured(near: LivePage) -> None:
    got = asyncio.run(near.follow(4, pictures=False))
    (scene,) = bundles(got, "scene")
    assert scene == {kind: tomllib.loads(SCENE)[kind] for kind in ("zone", "mask", "line")}
    counts = bundles(got, "zone_counts")[-1]
    assert set(counts) == {"path"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (SCENE, None),
        ("", None),
        (SCENE.replace('"path"', '"Path"'), "zone.name"),
        (SCENE.replace("[[mask]]", "[[mask]]\nexcludes = ['sofa']"), "mask.excludes"),
        (SCENE + SCENE.replace("[[", "\n[[", 1), "different names"),
        ("[[zone]]\nname = 'a'\npolygon = [[0, 0], [1, 1]]", "zone.polygon"),
        ("[[zone]]\nname = 'a'\npolygon = [[0, 0], [0.5, 0.5], [1, 1]]", "with an area"),
        ("[[line]]\nname = 'a'\nstart = [0, 0]\nend = [1.2, 0]", "line.end"),
        ("[[line]]\nnmae = 'a'", "did you mean 'line.name'"),
        ("[source]\nurl = '/etc/passwd'", "none of"),
        ("a = " + "[" * 9000, "recursion"),
        ("[[zone", "expected TOML"),
    ],
)
def test_the_editors_text_gets_the_configurations_own_check(
    near: LivePage, tmp_path: Path, text: str, fault: str | None
) -> None:
    status, said = near.post("/zones", text)
    assert status == (204 if fault is None else 400), said
    assert (fault or "") in said
    if fault not in (None, "none of"):
        file = tmp_path / "zones.toml"
        file.write_text(text)
        with pytest.raises(SettingsError) as refused:
            read_toml(file)
        assert said == f"zones{str(refused.value).removeprefix(str(file))}\n"


def report_at(second: float) -> Telemetry:
    camera = SourceReport(state="online")
    clock = {"sequence": 0, "time_unix_s": second, "uptime_s": second}
    return Telemetry(name="a", boot_id="b", fps=Rates(), source=camera, **clock)


def test_the_page_remembers_ten_minutes_and_so_many_events() -> None:
    journal = Journal()
    for second in range(0, 1300, 2):
        journal.add_report(report_at(second), 0.5)
    assert [journal.history[0][0], journal.history[-1][0]] == [698, 1298]
    for number in range(500):
        journal.add_event("wave", b"%d" % number)
    assert [bytes(event) for event in journal.events] == [b"%d" % n for n in range(300, 500)]
    assert [bytes(event) for event in journal.since(498)] == [b"498", b"499"]
    assert len(journal.since(0)) == 200
    assert journal.since(500) == []
    assert journal.by_type["wave"] == 500


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


def test_a_snapshot_is_taken_when_the_page_asks(near: LivePage, subscriber: Subscriber) -> None:
    topic = "edgecam/camera/snapshot"
    time.sleep(0.5)
    before = len(subscriber.of(topic))
    assert near.control("snapshot") == (204, "")
    (taken,) = subscriber.wait_for(topic, before + 1)[before:]
    assert taken.payload.startswith(b"\xff\xd8")


def test_the_page_and_its_controls_outlive_a_reload(tmp_path: Path) -> None:
    config = tmp_path / "page.toml"
    text = "[decode]\nmax_poses = {}\n[web]\ncontrols = ['pause']\n"
    config.write_text(text.format(3) + SCENE)
    with live_page(tmp_path, "--config", config, "--jsonl", tmp_path / "lines") as page:
        page.daemon.wait_ready()
        config.write_text(text.format(2) + SCENE.replace("door", "gate"))
        page.daemon.send(signal.SIGHUP)
        # A viewer stays, and is told what is new.
        got = asyncio.run(page.follow(60, pictures=False))
        names = [scene["line"][0]["name"] for scene in bundles(got, "scene")]
        assert names == ["door", "gate"]
        assert wait_until(lambda: len(page.daemon.supervisor.of("READY=1")) == 2, 20)
        got = asyncio.run(page.follow(6, pictures=True))
        results = [part["result"] for part in got if isinstance(part, dict) and "result" in part]
        assert max(len(result["poses"]) for result in results[1:]) <= 2
        assert page.control("pause", "on") == (204, "")
        page.daemon.wait_log("pause set to True on the live page")
