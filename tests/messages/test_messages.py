from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from msgspec import UNSET

from edgecam.analysis.counts import Counts, counts
from edgecam.cli.commands.schema import command
from edgecam.core import keypoints
from edgecam.core.events import Event
from edgecam.core.frame import Frame
from edgecam.core.result import Box, Classification, Decoded, Detection, Pose, Result
from edgecam.messages.event import EventMessage, delayed, event_line, event_payload
from edgecam.messages.label_names import slug
from edgecam.messages.result import ResultMessage, result_line, result_payload
from edgecam.messages.schema import schema
from edgecam.messages.telemetry import Rates, SourceReport, Telemetry, telemetry_payload
from edgecam.messages.topics import Topics

RNG = np.random.default_rng(7)


def people(number: int, width_px: int = 1920, height_px: int = 1080) -> tuple[Pose, ...]:
    return tuple(
        Pose(
            score=float(RNG.uniform(0.5, 1)),
            xy=RNG.uniform(0.55, 1, (17, 2)) * [width_px, height_px],
            scores=RNG.uniform(0, 1, 17),
            track=10 + i,
        )
        for i in range(number)
    )


def frame(width_px: int = 1920, height_px: int = 1080, **changes: Any) -> Frame:
    image = np.zeros((height_px, width_px, 3), np.uint8)
    return replace(Frame(image, 123_456, 100.0, 1_732_255_609.1234), **changes)


def person(x: float, label: str = "person") -> Detection:
    return Detection(label, 0, 0.87654, Box(x, 2.0, x + 10.06, 40.0))


def payload(result: Result) -> Any:
    return json.loads(result_payload(result, "front", "a1b2c3d4", 100.0421))


def test_result_is_what_the_topic_table_promises() -> None:
    pose = people(1)[0]
    found = Decoded(poses=(pose,), detections=(person(1.04),))
    message = payload(Result(frame(), {"posenet": found}))
    assert {k: v for k, v in message.items() if k not in ("poses", "detections")} == {
        "schema": 1,
        "name": "front",
        "boot_id": "a1b2c3d4",
        "sequence": 123456,
        "time_unix_s": 1732255609.123,
        "age_ms": 42.1,
        "frame": {"width": 1920, "height": 1080},
        "model": "posenet",
    }
    assert message["detections"] == [
        {"label": "person", "class_id": 0, "score": 0.88, "box": [1.0, 2.0, 11.1, 40.0]}
    ]
    shown = message["poses"][0]
    assert list(shown["keypoints"]) == list(keypoints.NAMES)
    for index, name in enumerate(keypoints.NAMES):
        point = shown["keypoints"][name]
        assert point["x"] == pytest.approx(pose.xy[index, 0], abs=0.0501)
        assert point["y"] == pytest.approx(pose.xy[index, 1], abs=0.0501)
        assert point["score"] == pytest.approx(pose.scores[index], abs=0.00501)
    assert shown["score"] == pytest.approx(pose.score, abs=0.00501)
    assert shown["track"] == 10


def test_pose_box_holds_the_sure_keypoints_or_all() -> None:
    xy = np.tile([[50.0, 60.0]], (17, 1))
    xy[3], xy[4], xy[5] = (10.0, 90.0), (80.0, 20.0), (-500.0, 999.0)
    scores = np.full(17, 0.9)
    scores[5] = 0.29
    sure, vague = (Pose(0.5, xy, s) for s in (scores, np.full(17, 0.1)))
    shown = payload(Result(frame(), {"m": Decoded(poses=(sure, vague))}))["poses"]
    assert shown[0]["box"] == [10.0, 20.0, 80.0, 90.0]
    assert shown[1]["box"] == [-500.0, 20.0, 80.0, 999.0]
    assert "track" not in shown[0]


def test_several_models_are_merged_and_each_item_names_its_own() -> None:
    parts = {
        "posenet": Decoded(poses=people(1)),
        "ssd": Decoded(detections=(person(1),)),
        "classes": Decoded(classes=(Classification("cat", 3, 0.123),)),
    }
    message = payload(Result(frame(), parts))
    assert message["model"] == "posenet+ssd+classes"
    assert message["poses"][0]["model"] == "posenet"
    assert message["detections"][0]["model"] == "ssd"
    assert message["classes"] == [
        {"label": "cat", "class_id": 3, "score": 0.12, "model": "classes"}
    ]
    alone = payload(Result(frame(), {"ssd": Decoded(detections=(person(1),))}))
    assert "model" not in alone["detections"][0]
    assert "classes" not in alone


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1920, 1080), (3840, 2160)])
def test_two_people_stay_under_2_kb(size: tuple[int, int]) -> None:
    found = Decoded(poses=people(2, *size))
    result = Result(frame(*size), {"posenet_mobilenet_v1": found})
    data = result_payload(result, "front_door", "a1b2c3d4", 100.2)
    assert len(data) <= 2048


def test_two_people_whom_two_models_see_stay_under_2500_bytes() -> None:
    """After a year: large numbers, and each item names its model."""
    poses = tuple(replace(pose, track=123_456) for pose in people(2))
    boxes = tuple(replace(person(1800.14), track=123_457 + i) for i in range(2))
    names = ("posenet_mobilenet_v1_075_int8", "ssdlite_mobilenet_v2_pedestrian_int8")
    parts = dict(zip(names, (Decoded(poses=poses), Decoded(detections=boxes)), strict=True))
    late = frame(sequence=315_360_000)
    data = result_payload(Result(late, parts), "front_door", "a1b2c3d4", 100.2)
    assert 2048 < len(data) <= 2500
    alone = Result(late, {names[0]: Decoded(poses=poses)})
    assert len(result_payload(alone, "front_door", "a1b2c3d4", 100.2)) <= 2048


def test_a_recording_gives_the_same_line_whenever_it_is_played() -> None:
    found = {"m": Decoded(poses=people(2))}
    first = Result(frame(media_time_s=1.23456, file="a.jpg"), found)
    later = Result(replace(first.frame, captured_s=900.0, captured_unix_s=2e9), found)
    line = result_line(first, "front", "boot1", 1.0)
    assert line == result_line(later, "front", "boot2", 950.0)
    message = json.loads(line)
    assert not {"boot_id", "time_unix_s", "age_ms"} & set(message)
    assert message["media_time_s"] == 1.235
    assert message["file"] == "a.jpg"
    assert b"\n" not in line
    live = json.loads(result_line(Result(frame(), found), "front", "boot1", 100.5))
    assert live["age_ms"] == 500.0
    assert "media_time_s" not in live
    on_the_wire = json.loads(result_payload(first, "front", "boot1", 100.5))
    assert on_the_wire["age_ms"] == 500.0
    assert on_the_wire["media_time_s"] == 1.235


def test_minus_zero_never_shows() -> None:
    pose = Pose(0.0, np.full((17, 2), -0.01), np.zeros(17))
    assert b"-0.0" not in result_payload(Result(frame(), {"m": Decoded((pose,))}), "a", "b", 0.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("person", "person"),
        ("Dining Table", "dining_table"),
        ("a/b+#\x00$", "a_b_"),
        ("é", "_"),
        ("", "_"),
        ("x" * 99, "x" * 64),
        ("front-door_2", "front-door_2"),
    ],
)
def test_a_slug_has_letters_digits_and_underscores(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_topics_begin_with_the_cameras_name() -> None:
    topics = Topics("front")
    assert topics.availability == "edgecam/front/availability"
    assert topics.count("Dining Table") == "edgecam/front/count/dining_table"
    assert topics.set("+") == "edgecam/front/set/+"
    assert topics.state("score_threshold") == "edgecam/front/state/score_threshold"


def test_counts_take_the_larger_of_poses_and_boxes_and_go_to_zero() -> None:
    both = Result(
        frame(),
        {
            "posenet": Decoded(poses=people(2)),
            "ssd": Decoded(detections=(person(1), person(2), person(3), person(4, "Dining Table"))),
        },
    )
    poses_only = Result(frame(), {"posenet": Decoded(poses=people(2))})
    empty = Result(frame(), {"posenet": Decoded()})
    assert counts(both) == {"person": 3, "dining_table": 1}
    assert counts(poses_only) == {"person": 2}
    remembered = Counts(["person"])
    assert remembered.changes(empty) == {"person": 0}
    assert remembered.changes(empty) == {}
    assert remembered.changes(both) == {"person": 3, "dining_table": 1}
    assert remembered.changes(both) == {}
    # The detector has its own rate, and did not look at this frame.
    assert remembered.changes(poses_only) == {}
    nothing = Result(frame(), {"posenet": Decoded(poses=people(2)), "ssd": Decoded()})
    assert remembered.changes(nothing) == {"person": 2, "dining_table": 0}
    remembered.forget_models()
    assert remembered.changes(empty) == {"person": 0}


FALL = Event(
    event_type="fall",
    number=3,
    time_s=12.3456,
    unix_s=1700000000.98765,
    started_s=10.0,
    dwell_s=2.34567,
    track=4,
    label="dining table",
    score=0.8567,
    zone="höf",
    attributes={"before": "standing", "n": 1.5},
)
ABOUT_FALL = (
    b'"track":4,"label":"dining table","zone":"h\xc3\xb6f"%b,"dwell_s":2.346,"score":0.86,'
    b'"attributes":{"before":"standing","n":1.5}}'
)


@pytest.mark.parametrize(("synced", "text"), [(None, b"null"), (True, b"true")])
def test_event_payload_has_these_bytes(synced: bool | None, text: bytes) -> None:
    payload = event_payload(FALL, "front", "b00t", 7, synced)
    began = b',"started_unix_s":1699999998.642'
    assert payload == (
        b'{"schema":1,"name":"front","boot_id":"b00t","sequence":7,"time_unix_s":1700000000.988,'
        b'"clock_synced":%b,"event_type":"fall","id":"b00t-3",%b' % (text, ABOUT_FALL % began)
    )


def test_event_line_has_these_bytes_live_and_recorded() -> None:
    began = b',"started_unix_s":1699999998.642'
    assert event_line(FALL, frame(), "front", "b00t", 7) == (
        b'{"schema":1,"name":"front","boot_id":"b00t","sequence":7,"time_unix_s":1700000000.988,'
        b'"event_type":"fall","id":"b00t-3",' + ABOUT_FALL % began
    )
    times = b',"media_time_s":12.346,"started_media_time_s":10.0'
    assert event_line(FALL, frame(media_time_s=12.3456), "front", "b00t", 7) == (
        b'{"schema":1,"name":"front","sequence":7,"event_type":"fall","id":"3",'
        + ABOUT_FALL % times
    )


@pytest.mark.parametrize(("delayed_s", "kept"), [(0.5, UNSET), (86400.04, 86400.0), (inf, None)])
def test_event_payload_is_what_its_struct_encodes(delayed_s: float, kept: object) -> None:
    payload = delayed(event_payload(FALL, "front", "b00t", 7, None), delayed_s)
    message = msgspec.json.decode(payload, type=EventMessage)
    assert message.delayed_s == kept
    assert msgspec.json.encode(message) == payload


def test_what_is_not_known_is_null_in_telemetry() -> None:
    telemetry = Telemetry(
        name="front",
        boot_id="b",
        sequence=0,
        time_unix_s=1.0,
        uptime_s=2.0,
        fps=Rates(captured=30.0),
        source=SourceReport(state="online"),
    )
    message = json.loads(telemetry_payload(telemetry))
    for key in ("temperature_c", "throttled", "rss_bytes", "invoke_ms", "delegate", "clock_synced"):
        assert message[key] is None
    assert message["fps"] == {"captured": 30.0, "inferred": None, "published": None}
    assert message["source"]["last_frame_age_s"] is None
    assert msgspec.json.decode(telemetry_payload(telemetry), type=Telemetry) == telemetry


def test_the_schema_describes_what_is_sent() -> None:
    result = Result(frame(), {"m": Decoded(people(1), (person(1),))})
    data = result_payload(result, "front", "b", 100.0)
    assert msgspec.json.encode(msgspec.json.decode(data, type=ResultMessage)) == data
    definitions = schema()["$defs"]
    described = definitions["ResultMessage"]
    assert set(json.loads(data)) <= set(described["properties"])
    assert {"name", "sequence", "frame", "poses", "detections"} <= set(described["required"])
    assert definitions["Telemetry"]["properties"]["temperature_c"]["anyOf"]
    assert schema("result")["$ref"] == "#/$defs/ResultMessage"


def test_schema_command_prints_json() -> None:
    shown = CliRunner().invoke(command, ["telemetry"])
    assert shown.exit_code == 0
    assert json.loads(shown.output) == json.loads(json.dumps(schema("telemetry")))
