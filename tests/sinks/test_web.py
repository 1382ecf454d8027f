"""The live page's server: what a viewer is sent, and what it may command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
import tomllib
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from brokers import Subscriber, wait_until
from pages import BEARER, SCENE, LivePage, live_page
from programs import CLIP

from edgecam.core.errors import SettingsError
from edgecam.core.opencv import cv2
from edgecam.messages.telemetry import Rates, SourceReport, Telemetry
from edgecam.settings.load import read_toml
from edgecam.sinks.web.history import MAX_POINTS, Journal


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


def test_nothing_is_encoded_unless_a_viewer_wants_pictures(near: LivePage) -> None:
    asyncio.run(near.follow(6, pictures=True))
    before = near.metrics()
    asyncio.run(near.follow(8, pictures=False))
    after = near.metrics()
    assert after["edgecam_web_jpegs_total"] == before["edgecam_web_jpegs_total"] > 0


def test_skeleton_only_mode_sends_no_picture(far: LivePage) -> None:
    got = asyncio.run(far.follow(12, pictures=True, Authorization=BEARER))
    assert bundles(got, "hello")[0]["pictures"] is False
    assert len(bundles(got, "result")) >= 3
    assert not [part for part in got if isinstance(part, bytes)]


def test_several_viewers_share_the_pictures(near: LivePage) -> None:
    async def several() -> list[list[dict[str, Any] | bytes]]:
        return await asyncio.gather(*(near.follow(12, pictures=True) for _ in range(4)))

    before = near.metrics()["edgecam_web_jpegs_total"]
    everybody = asyncio.run(several())
    numbers = [part["sequence"] for got in everybody for part in bundles(got, "result")]
    # Those on their way as the first came and the last went.
    frames = max(numbers) - min(numbers) + 4
    pictures = [len([part for part in got if isinstance(part, bytes)]) for got in everybody]
    assert min(pictures) >= 3
    assert near.metrics()["edgecam_web_jpegs_total"] - before <= frames < sum(pictures)


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
        got.append(await stream.receive_json(timeout=60))
    return first["result"]["sequence"], got


def test_a_slow_viewer_is_skipped_ahead(near: LivePage) -> None:
    number, got = asyncio.run(pause_between(near, 3.0))
    # Nothing was sent in the meantime, and nothing of it later.
    (after,) = got
    assert after["result"]["sequence"] >= number + 4


def test_the_events_are_those_that_are_published(near: LivePage, everything: Subscriber) -> None:
    topic = "edgecam/camera/event"
    everything.wait_for(topic, 8, timeout_s=20)
    got = asyncio.run(near.follow(30, pictures=False))
    shown = bundles(got, "hello")[0]["events"]
    before = len(shown)
    shown += [event for part in bundles(got, "events") for event in part]
    assert before >= 8
    assert len(shown) > before
    published = {e["sequence"]: e for e in (json.loads(m.payload) for m in everything.of(topic))}
    for event in shown:
        assert event == published[event["sequence"]]
    # Of a page that has run for long only the newest ones.
    first = shown[0]["sequence"]
    assert [event["sequence"] for event in shown] == list(range(first, first + len(shown)))


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
        ("[source]\nurl = '/etc/passwd'", "alone, found 'source'"),
        ("a = " + "[" * 9000, "nest too deep"),
        ("a = " + "{b = " * 300 + "1" + "}" * 300, "unknown key 'a'"),
        (".".join("a" * 16000) + " = 1", "a key of more than 16 parts"),
        ("[source]\nurl." + ".".join("a" * 3000) + " = 1", "a key of more than 16 parts"),
        ("[[zone]]\nname = 'a\\u0000'", "Expected"),
        ('[[zone]]\nname = "a\\u0000"', "found a NUL byte"),
        ("[[zone", "expected TOML"),
    ],
)
def test_the_editors_text_gets_the_configurations_own_check(
    near: LivePage, tmp_path: Path, text: str, fault: str | None
) -> None:
    status, said = near.post("/zones", text)
    assert status == (204 if fault is None else 400), said
    assert (fault or "") in said
    if fault not in (None, "alone, found 'source'"):
        file = tmp_path / "zones.toml"
        file.write_text(text)
        with pytest.raises(SettingsError) as refused:
            read_toml(file)
        assert said == f"zones{str(refused.value).removeprefix(str(file))}\n"


def report_at(second: float, ahead_s: float = 0.0) -> Telemetry:
    camera = SourceReport(state="online")
    clock = {"sequence": 0, "time_unix_s": second + ahead_s, "uptime_s": second}
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


def test_the_page_remembers_ten_minutes_of_a_clock_that_was_put_back() -> None:
    journal = Journal()
    journal.add_report(report_at(0, ahead_s=86400.0 * 365), 0.5)
    for second in range(2, 1300, 2):
        journal.add_report(report_at(second), 0.5)
    assert [journal.history[0][0], journal.history[-1][0]] == [698, 1298]
    for _ in range(2 * MAX_POINTS):
        journal.add_report(report_at(1298), 0.5)
    assert len(journal.history) == MAX_POINTS


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


def test_a_snapshot_is_taken_when_the_page_asks(near: LivePage, everything: Subscriber) -> None:
    topic = "edgecam/camera/snapshot"
    time.sleep(0.5)
    before = len(everything.of(topic))
    assert near.control("snapshot") == (204, "")
    (taken,) = everything.wait_for(topic, before + 1)[before:]
    assert taken.payload.startswith(b"\xff\xd8")


def test_the_page_and_its_controls_outlive_a_reload(tmp_path: Path) -> None:
    config = tmp_path / "page.toml"
    text = "[decode]\nmax_poses = {}\n[web]\ncontrols = ['pause']\n"
    config.write_text(text.format(3) + SCENE)
    with live_page(tmp_path, "--config", config, "--jsonl", tmp_path / "lines") as page:
        page.daemon.wait_ready()
        config.write_text(text.format(2) + SCENE.replace("door", "gate"))
        page.daemon.send(signal.SIGHUP)
        # A viewer stays, and gets what is new.
        got = asyncio.run(page.follow(30, pictures=False))
        names = [scene["line"][0]["name"] for scene in bundles(got, "scene")]
        assert names == ["door", "gate"]
        assert wait_until(lambda: len(page.daemon.supervisor.of("READY=1")) == 2, 20)
        got = asyncio.run(page.follow(6, pictures=True))
        results = [part["result"] for part in got if isinstance(part, dict) and "result" in part]
        assert max(len(result["poses"]) for result in results[1:]) <= 2
        assert page.control("pause", "on") == (204, "")
        page.daemon.wait_log("pause set to True on the live page")
        # What will not do is refused, and the page stays.
        config.write_text(text.format(2) + "hosts = ['http://camera.example']\n" + SCENE)
        page.daemon.send(signal.SIGHUP)
        page.daemon.wait_log("web.hosts: expected names as browsers send them")
        assert page.ask("GET", "/healthz")[0] == 200
