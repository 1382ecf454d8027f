"""What others read of the live page: pictures, a stream and JSON, with a token of its own."""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from brokers import wait_until
from pages import TOKEN

from edgecam.core.errors import PageError
from edgecam.core.events import Event, Insight
from edgecam.core.frame import Frame
from edgecam.core.result import Box, Decoded, Detection, Result
from edgecam.settings.access import WebSettings
from edgecam.sinks.web import detect
from edgecam.sinks.web import sink as web
from edgecam.sinks.web.api import ROUTES, openapi

READ = "another-token-for-reading"
BOX = Detection("person", 0, 0.9, Box(10.0, 10.0, 40.0, 60.0), track=3)
INSIGHT = Insight(counts={"person": 1}, posture="standing")


def result(index: int, *events: Event) -> Result:
    image = np.full((96, 128, 3), 128, np.uint8)
    frame = Frame(image, index, index / 10, time.time())
    insight = Insight(events, INSIGHT.counts, posture=INSIGHT.posture)
    return Result(frame, {"m": Decoded(detections=(BOX,))}, insight=insight)


class Served:
    """A page in this process that shows what is published on it."""

    def __init__(self, settings: WebSettings, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO", "edgecam"):
            self.page = web.open_page(settings, "front", "b00t")
        found = re.search(r"live page on http://\S+:(\d+)/", caplog.text)
        assert found
        self.url = f"http://127.0.0.1:{found[1]}"

    def get(self, path: str, **headers: str) -> tuple[int, str, bytes]:
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("WWW-Authenticate", ""), error.read()


@pytest.fixture
def open_page(caplog: pytest.LogCaptureFixture) -> Iterator[Served]:
    served = Served(WebSettings(listen="127.0.0.1:0"), caplog)
    yield served
    served.page.close()


@pytest.fixture
def guarded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Served]:
    tokens = {"token_file": tmp_path / "token", "read_token_file": tmp_path / "read"}
    for path, token in zip(tokens.values(), (TOKEN, READ), strict=True):
        path.write_text(token)
        path.chmod(0o600)
    files = {key: str(path) for key, path in tokens.items()}
    served = Served(WebSettings(listen="127.0.0.1:0", **files), caplog)
    yield served
    served.page.close()


def test_before_the_first_frame_there_is_nothing_to_read(open_page: Served) -> None:
    for path in ("/snapshot.jpg", "/api/result"):
        assert open_page.get(path)[0] == 503


def test_a_snapshot_is_drawn_on_and_plain_where_asked(open_page: Served) -> None:
    open_page.page.publish(result(1))
    pictures = {}
    for query in ("", "?annotated=0"):
        status, kind, body = open_page.get(f"/snapshot.jpg{query}")
        assert (status, kind) == (200, "image/jpeg")
        pictures[query] = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        assert pictures[query].shape == (96, 128, 3)
    grey = np.abs(pictures["?annotated=0"].astype(int) - 128).max()
    drawn = np.abs(pictures[""].astype(int) - 128).max()
    assert grey < 8 < drawn


def test_a_stream_is_one_jpeg_after_the_other(open_page: Served) -> None:
    open_page.page.publish(result(1))
    with urllib.request.urlopen(f"{open_page.url}/video.mjpeg", timeout=60) as stream:
        kind = stream.headers["Content-Type"]
        assert kind == "multipart/x-mixed-replace; boundary=edgecam-frame"
        for number in range(2, 5):
            assert stream.readline() == b"--edgecam-frame\r\n"
            assert stream.readline() == b"Content-Type: image/jpeg\r\n"
            length = int(stream.readline().partition(b":")[2])
            assert stream.readline() == b"\r\n"
            jpeg = stream.read(length)
            assert (jpeg[:2], jpeg[-2:]) == (b"\xff\xd8", b"\xff\xd9")
            assert stream.read(2) == b"\r\n"
            open_page.page.publish(result(number))


def test_result_events_and_state_are_json(open_page: Served) -> None:
    event = Event("fall", 1, 1.0, 100.0, 0.5, 0.5, 3, "person", 0.9)
    open_page.page.publish(result(1, event))

    def events(query: str = "") -> dict[str, object]:
        found: dict[str, object] = json.loads(open_page.get(f"/api/events{query}")[2])
        return found

    assert wait_until(lambda: events()["number"] == 1)
    assert [each["event_type"] for each in events()["events"]] == ["fall"]
    assert events("?since=1") == {"number": 1, "events": []}
    assert events("?since=99999") == {"number": 1, "events": []}
    assert open_page.get("/api/events?since=x")[0] == 400
    found = json.loads(open_page.get("/api/result")[2])
    assert found["detections"][0]["label"] == "person"
    state = json.loads(open_page.get("/api/state")[2])
    assert state == {
        "counts": {"person": 1},
        "zone_counts": {},
        "posture": "standing",
        "telemetry": None,
    }


def test_the_openapi_document_names_every_route(open_page: Served) -> None:
    status, kind, body = open_page.get("/api/openapi.json")
    assert (status, kind.partition(";")[0]) == (200, "application/json")
    document = json.loads(body)
    assert document == json.loads(json.dumps(openapi()))
    assert set(document["paths"]) == {*ROUTES, detect.PATH}
    known = set(document["components"]["schemas"])
    assert set(re.findall(r"#/components/schemas/(\w+)", body.decode())) <= known


def test_the_token_for_reading_opens_what_is_read_and_nothing_else(guarded: Served) -> None:
    guarded.page.publish(result(1))
    password = base64.b64encode(f"anybody:{READ}".encode()).decode()
    for header in (f"Bearer {READ}", f"Basic {password}", f"Bearer {TOKEN}"):
        assert guarded.get("/snapshot.jpg", Authorization=header)[0] == 200
        assert guarded.get("/api/state", Authorization=header)[0] == 200
    for path in ("/page.js", "/metrics", "/stream"):
        assert guarded.get(path, Authorization=f"Bearer {READ}")[0] in (401, 403)
        assert guarded.get(path, Authorization=f"Basic {password}")[0] in (401, 403)
    status, challenge, _ = guarded.get("/snapshot.jpg")
    assert (status, challenge) == (401, 'Basic realm="edgecam"')
    for header in ("Basic !", "Basic", f"Basic {base64.b64encode(b'x').decode()}", "Bearer wrong"):
        assert guarded.get("/api/result", Authorization=header)[0] == 401
    assert guarded.get("/")[1] != 'Basic realm="edgecam"'


def test_a_page_of_another_site_reads_nothing(open_page: Served) -> None:
    open_page.page.publish(result(1))
    assert open_page.get("/snapshot.jpg", Origin="http://evil.example")[0] == 403
    assert open_page.get("/api/state", Host="evil.example")[0] == 421


def test_no_picture_leaves_where_none_may(caplog: pytest.LogCaptureFixture) -> None:
    served = Served(WebSettings(listen="127.0.0.1:0", pictures=False), caplog)
    try:
        served.page.publish(result(1))
        assert served.get("/snapshot.jpg")[0] == served.get("/video.mjpeg")[0] == 404
        assert served.get("/api/state")[0] == 200
    finally:
        served.page.close()


@pytest.mark.parametrize("token", ["short", TOKEN])
def test_a_token_for_reading_is_long_and_another_one(tmp_path: Path, token: str) -> None:
    own, read = tmp_path / "token", tmp_path / "read"
    own.write_text(TOKEN)
    read.write_text(token)
    settings = WebSettings(listen="127.0.0.1:0", token_file=str(own), read_token_file=str(read))
    with pytest.raises(PageError, match=r"web\.read_token_file: expected 16 or more characters"):
        web.open_page(settings, "a", "b")
