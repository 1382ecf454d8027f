"""Tracks, events and rates through the whole program, on recordings and over a real broker."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from brokers import Subscriber, wait_until
from keeping import Keep
from programs import CLIP, edgecam
from skeletons import person

from edgecam.analysis.analyzer import Analysis
from edgecam.core.errors import SettingsError
from edgecam.core.frame import Frame
from edgecam.core.rate_limit import RateLimit
from edgecam.core.result import Box, Decoded, Detection, Pose, Result
from edgecam.daemon.run import run
from edgecam.messages.event import EventMessage
from edgecam.messages.result import result_payload
from edgecam.settings.load import load
from edgecam.settings.scene import MaskSettings, TrackingSettings, ZoneSettings
from edgecam.settings.schema import OutputSettings, Settings
from edgecam.sinks.mqtt.sink import MqttSink

IMAGE = np.zeros((480, 640, 3), np.uint8)
SCENE = """
[[zone]]
name = "grass"
polygon = [[0, 0.5], [0.5, 0.5], [0.5, 1], [0, 1]]
dwell_s = 2

[[line]]
name = "middle"
start = [0.5, 0]
end = [0.5, 1]
"""
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def recorded(number: int, *poses: Pose, rate_hz: float = 10.0, **parts: Any) -> Result:
    frame = Frame(IMAGE, number, 7.0 + number / rate_hz, 1e9 + number / rate_hz, number / rate_hz)
    return Result(frame, {"posenet": Decoded(poses=poses), **parts})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """Results and events of the same clip, twice."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "scene.toml").write_text(SCENE)
    found = []
    for number in range(2):
        results, events = folder / f"{number}.jsonl", folder / f"{number}-events.jsonl"
        done = edgecam(
            *("replay", CLIP, "--model", "posenet", "--config", folder / "scene.toml"),
            *("--write", results, "--events", events),
        )
        assert done.returncode == 0, done.stderr
        found.append((results, events))
    return found


def test_a_recording_gives_the_same_tracks_and_events_every_time(
    runs: list[tuple[Path, Path]],
) -> None:
    first, second = runs
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_clips_events_are_what_the_schema_says(runs: list[tuple[Path, Path]]) -> None:
    lines = runs[0][1].read_bytes().splitlines()
    events = [msgspec.json.decode(line, type=EventMessage) for line in lines]
    keys = set(EventMessage.__struct_fields__)
    assert all(set(json.loads(line)) <= keys for line in lines)
    assert [event.sequence for event in events] == list(range(len(events)))
    assert {event.event_type for event in events} >= {"appeared", "left", "entered", "dwelling"}
    # No person falls, waves or sits down on that clip.
    reported = {event.event_type for event in events}
    assert not reported & {"fall", "lying", "wave", "hands_up", "sitting"}
    by_id: dict[str, set[str]] = {}
    for event in events:
        by_id.setdefault(event.id, set()).add(event.event_type)
    pairs = ({"appeared", "lost", "left"}, {"entered", "dwelling", "exited"}, {"line_crossed"})
    assert all(any(types <= pair for pair in pairs) for types in by_id.values())


def test_results_carry_tracks_and_the_raw_score(
    runs: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    raw = tmp_path / "raw.jsonl"
    config = tmp_path / "raw.toml"
    config.write_text("[tracking]\nenabled = false\n")
    done = edgecam(
        *("replay", CLIP, "--model", "posenet", "--max-frames", 30),
        *("--config", config, "--write", raw),
    )
    assert done.returncode == 0, done.stderr
    moved = 0
    for line, other in zip(raw.read_bytes().splitlines(), runs[0][0].open("rb"), strict=False):
        for pose, tracked in zip(
            json.loads(line)["poses"], json.loads(other)["poses"], strict=True
        ):
            assert "track" not in pose
            assert tracked["score"] == pose["score"]
            points, others = pose["keypoints"], tracked["keypoints"]
            assert [p["score"] for p in points.values()] == [p["score"] for p in others.values()]
            moved += points != others
    assert moved > 50


def test_no_smoothing_leaves_every_keypoint_where_it_was() -> None:
    settings = Settings(tracking=TrackingSettings(smoothing=False))
    smooth, plain = Analysis(Settings(), True), Analysis(settings, True)
    rng = np.random.default_rng(1)
    for number in range(10):
        raw = recorded(number, person(jitter_px=3.0, rng=rng))
        assert (plain(raw).poses[0].xy == raw.poses[0].xy).all()
        changed = (smooth(raw).poses[0].xy != raw.poses[0].xy).any()
        assert changed == (number > 0)


def test_what_is_in_a_mask_is_not_there() -> None:
    analysis = Analysis(Settings(mask=(MaskSettings(name="street", polygon=LEFT_HALF),)), True)
    cars = tuple(Detection("car", 2, 0.9, Box(x, 100, x + 50, 150)) for x in (100, 500))
    for number in range(5):
        result = analysis(
            recorded(number, person(x=150.0), person(x=500.0), ssd=Decoded(detections=cars))
        )
    assert [round(pose.xy[11:13, 0].mean()) for pose in result.poses] == [500]
    assert [found.box.x_min for found in result.detections] == [500]
    assert result.insight is not None
    assert result.insight.counts == {"person": 1, "car": 1}


def test_pictures_of_a_folder_are_not_tracked() -> None:
    frame = Frame(IMAGE, 0, 1.0, 1e9, None, "one.png")
    analysed = Analysis(Settings(), True)(Result(frame, {"m": Decoded(poses=(person(),))}))
    assert analysed.insight is None
    assert analysed.poses[0].track is None


def test_two_people_with_tracks_stay_under_2_kb() -> None:
    analysis = Analysis(Settings(), True)
    for number in range(5):
        people = person(x=1234.56, y=987.65), person(x=1111.11, y=888.88)
        result = analysis(recorded(100_000 + number, *people))
    assert len({pose.track for pose in result.poses} - {None}) == 2
    assert len(result_payload(result, "a-camera-with-a-name", "a1b2c3d4", 20_000.0)) < 2048


@pytest.mark.parametrize(("rate_hz", "max_hz"), [(30.0, 5.0), (10.0, 10.0), (25.0, 10.0), (10, 3)])
def test_the_rate_is_capped_and_not_halved(rate_hz: float, max_hz: float) -> None:
    rng = np.random.default_rng(2)
    limit, seconds = RateLimit(max_hz), 20
    times = np.arange(0, seconds, 1 / rate_hz) + rng.uniform(
        0, 0.02 / rate_hz, seconds * int(rate_hz)
    )
    passed = sum(not limit.holds(float(time_s)) for time_s in times)
    assert 0.8 * max_hz * seconds <= passed <= 1.05 * max_hz * seconds + 1


def test_a_cap_holds_results_back_but_no_event() -> None:
    capped = Analysis(Settings(output=OutputSettings(result_max_hz=2.0)), True)
    results = [capped(recorded(number, person())) for number in range(50)]
    assert 9 <= sum(not result.held for result in results) <= 11
    events = [e.event_type for r in results if r.insight is not None for e in r.insight.events]
    assert events == ["appeared"]


def test_the_dead_band_holds_the_published_keypoints_still() -> None:
    settings = Settings(output=OutputSettings(dead_band_px=5.0))
    analysis = Analysis(settings, True)
    rng = np.random.default_rng(3)
    places = [
        analysis(recorded(number, person(jitter_px=1.0, rng=rng))).poses[0].xy
        for number in range(20)
    ]
    assert all((place == places[0]).all() for place in places)
    moved = analysis(recorded(21, person(x=340.0))).poses[0].xy
    assert (np.linalg.norm(moved - places[0], axis=1) > 5.0).all()


def test_bad_zones_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    for text, words in (
        ('[[zone]]\nname = "a"\npolygon = [[0, 0], [1, 1]]', "zone.polygon: Expected .*length"),
        ('[zone]\nname = "a"\npolygon = [[0, 0], [1, 1], [0.5, 0.5]]', "with an area"),
        ('[zone]\nname = "a"\npolygon = [[0, 0], [1, 1], [0, 1.5]]', "zone.polygon.* 1.0"),
        ('[zone]\nname = "A b"\npolygon = [[0, 0], [1, 1], [0, 1]]', "zone.name"),
        ('[zone]\nname = "a"\npolygn = [[0, 0], [1, 1], [0, 1]]', "did you mean 'zone.polygon'"),
        ('[mask]\nname = "a"\npolygon = [[0,0],[1,1],[0,1]]\nexcludes = ["no"]', "mask.excludes"),
        ('[line]\nname = "a"\nstart = [0, 0]\nend = [0, 0]', "two different ends"),
        ('[[zone]]\nname = "a"\npolygon = [[0,0],[1,1],[0,1]]\n' * 2, "found zone a twice"),
    ):
        path.write_text(text)
        with pytest.raises(SettingsError, match=words):
            load(path, {}, {})


def zones(*names: str) -> tuple[ZoneSettings, ...]:
    return tuple(ZoneSettings(name=name, polygon=LEFT_HALF, dwell_s=None) for name in names)


def test_events_and_states_over_mqtt(sink: MqttSink, subscriber: Subscriber) -> None:
    analysis = Analysis(Settings(zone=zones("hall"), output=OutputSettings(result_max_hz=2)), True)
    base = "edgecam/front"
    # States that no reader has fetched yet are overtaken by newer ones: wait for each.
    milestones = {4: b"none", 9: b"unknown", 29: b"standing", 59: b"none"}
    for number in range(60):
        people = [person(x=100.0)] if 5 <= number < 30 else []
        sink.publish(analysis(recorded(number, *people)))
        time.sleep(0.01)  # a result is dropped, not queued, while the network is behind
        if number in milestones:
            expected = milestones[number]
            assert wait_until(lambda now=expected: subscriber.last(f"{base}/posture") == now)
    assert [m.payload for m in subscriber.of(f"{base}/zone/hall/count/person")] == [
        b"0",
        b"1",
        b"0",
    ]
    assert [m.payload for m in subscriber.of(f"{base}/count/person")] == [b"0", b"1", b"0"]
    postures = [m.payload for m in subscriber.of(f"{base}/posture")]
    assert postures == [b"none", b"unknown", b"standing", b"none"]
    subscriber.wait_for(f"{base}/result", 11)
    assert len(subscriber.of(f"{base}/result")) <= 13
    received = subscriber.wait_for(f"{base}/event", 4)
    assert all(message.qos == 1 and not message.retained for message in received)
    events = [msgspec.json.decode(message.payload, type=EventMessage) for message in received]
    assert [e.event_type for e in events] == ["appeared", "entered", "left", "exited"]
    assert [e.sequence for e in events] == [0, 1, 2, 3]
    keys = {"schema", "event_type", "id", "track", "label", "zone", "time_unix_s"}
    keys |= {"started_unix_s", "dwell_s", "score", "attributes"}
    assert all(keys <= json.loads(message.payload).keys() for message in received)
    entered, exited = events[1], events[3]
    assert entered.id == exited.id
    assert entered.zone == "hall"
    assert entered.id.startswith("b00t-")
    assert entered.time_unix_s == pytest.approx(1e9 + 1.0, abs=0.21)
    assert exited.started_unix_s == pytest.approx(entered.started_unix_s)


def test_a_library_reads_events_from_the_results() -> None:
    keep = Keep()
    flags = {"model.path": ["posenet"], "source.url": str(CLIP), "max_frames": 5}
    run(load(None, {}, flags), threading.Event(), extra_sinks=[keep])
    insights = [result.insight for result in keep.results if result.insight is not None]
    assert len(insights) == 5
    assert {e.event_type for insight in insights for e in insight.events} == {"appeared"}
    assert insights[-1].counts["person"] >= 2
