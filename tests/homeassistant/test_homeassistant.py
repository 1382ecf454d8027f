"""What goes to Home Assistant, message by message, and that a broker keeps nothing else of ours."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from brokers import Mosquitto, Subscriber, free_port, retained, wait_until
from daemons import LOOPED, MODEL
from programs import edgecam, error_line, start

from edgecam.core import board
from edgecam.core.version import __version__
from edgecam.homeassistant.announce import features as features_of
from edgecam.homeassistant.discovery import (
    Features,
    chosen_labels,
    discovery,
    discovery_filter,
)
from edgecam.homeassistant.removal import offer
from edgecam.mqtt.connection import matches
from edgecam.settings.access import WebSettings
from edgecam.settings.load import load
from edgecam.settings.schema import HomeAssistantSettings, MqttSettings, Settings
from edgecam.sinks.mqtt.sink import MqttSink

HOME = HomeAssistantSettings()
COMMANDS = frozenset({"pause", "decode.score_threshold", "snapshot"})
ZONES = {"door": ("person",), "back-yard": ("person", "dog")}
FULL = Features(
    *(("person", "traffic light"), "posenet", True, True, True, COMMANDS, ZONES),
    *(("fall", "wave"), ("none", "standing")),
)

# The keys that 2024.3 knows inside device and origin (mqtt/mixins.py, const.py of that release).
DEVICE_KEYS = {
    *("configuration_url", "connections", "identifiers", "manufacturer", "model", "name"),
    *("hw_version", "serial_number", "sw_version", "via_device", "suggested_area"),
}
ORIGIN_KEYS = {"name", "sw_version", "support_url"}


def payloads(name: str = "front", features: Features = FULL) -> dict[str, dict[str, object]]:
    """Of every entity; device triggers are no entities."""
    found = discovery(name, HOME, features).items()
    return {t: json.loads(p) for t, p in found if "/device_automation/" not in t}


def triggers(features: Features = FULL) -> dict[str, dict[str, object]]:
    found = discovery("front", HOME, features).items()
    return {t.split("/")[3]: json.loads(p) for t, p in found if "/device_automation/" in t}


@pytest.mark.parametrize("name", ["front", "back-yard", "a__b", "-", "0" * 64])
def test_topics_and_ids_are_those_that_home_assistant_takes(name: str) -> None:
    found = payloads(name)
    assert found
    for topic, payload in found.items():
        prefix, component, node, object_id, end = topic.split("/")
        assert (prefix, end) == ("homeassistant", "config")
        assert re.fullmatch(r"[A-Za-z0-9_-]+", node)
        assert re.fullmatch(r"[A-Za-z0-9_-]+", object_id)
        entity_id = str(payload["default_entity_id"])
        # valid_entity_id of homeassistant/core.py
        assert re.fullmatch(r"(?!.+__)(?!_)[\da-z_]+(?<!_)\.(?!_)[\da-z_]+(?<!_)", entity_id)
        assert entity_id == f"{component}.{payload['object_id']}"
        assert matches(discovery_filter(name, HOME), topic)


def test_ids_are_unique_and_one_device_holds_all() -> None:
    found = payloads().values()
    assert len({str(payload["unique_id"]) for payload in found}) == len(found)
    assert len({str(payload["default_entity_id"]) for payload in found}) == len(found)
    assert {str(payload["device"]["identifiers"]) for payload in found} == {"['edgecam_front']"}


def test_device_and_origin_hold_nothing_that_2024_3_does_not_know() -> None:
    for payload in payloads().values():
        assert set(payload["device"]) <= DEVICE_KEYS
        assert set(payload["origin"]) <= ORIGIN_KEYS


def test_what_the_camera_tells_goes_with_it_and_what_the_board_tells_does_not() -> None:
    found = {str(payload["unique_id"]): payload for payload in payloads().values()}
    topics = {
        key.removeprefix("edgecam_front_"): [entry["topic"] for entry in payload["availability"]]
        for key, payload in found.items()
    }
    both = ["edgecam/front/availability", "edgecam/front/source"]
    assert topics["person_occupancy"] == topics["traffic_light_count"] == both
    assert topics["stream_problem"] == topics["fps"] == topics["temperature"] == both[:1]
    assert {payload["availability_mode"] for payload in found.values()} == {"all"}


def test_a_board_without_sensors_gets_no_entities_for_them() -> None:
    found = "".join(payloads(features=Features(("person",))))
    assert "temperature" not in found
    assert "throttling" not in found


def test_zones_events_and_postures() -> None:
    found = {str(payload["object_id"]): payload for payload in payloads().values()}
    zone = found["edgecam_front_zone_back_yard_dog_count"]
    assert zone["state_topic"] == "edgecam/front/zone/back-yard/count/dog"
    assert zone["name"] == "Back yard dog count"
    assert found["edgecam_front_event"]["event_types"] == ["fall", "wave"]
    assert found["edgecam_front_posture"]["options"] == ["none", "standing"]


def test_an_event_that_comes_late_is_none_and_a_fall_is_a_state() -> None:
    features = dataclasses.replace(FULL, stale_after_s=90.0)
    found = {str(p["object_id"]): p for p in payloads(features=features).values()}
    assert "late <= 90 " in str(found["edgecam_front_event"]["value_template"])
    jinja2 = pytest.importorskip("jinja2")
    event = jinja2.Template(str(found["edgecam_front_event"]["value_template"]))

    def shown(payload: str) -> str:
        known = {"value": payload}
        with contextlib.suppress(ValueError):
            known["value_json"] = json.loads(payload)
        return str(event.render(**known))

    for payload in ('{"event_type":"fall"}', '{"event_type":"fall","delayed_s":90.0}'):
        assert shown(payload) == payload
    for late in ("90.1", "86400.0", "null"):
        assert shown(f'{{"event_type":"fall","delayed_s":{late}}}') == ""
    assert shown("") == ""
    fall = found["edgecam_front_fall"]
    assert (fall["device_class"], fall["state_topic"]) == ("safety", "edgecam/front/posture")
    state = jinja2.Template(str(fall["value_template"]))
    assert [state.render(value=value) for value in ("fallen", "lying", "")] == ["ON", "OFF", "OFF"]


def test_every_event_type_is_a_trigger_of_the_device_and_none_of_yesterday() -> None:
    found = triggers()
    assert set(found) == {"fall", "wave"}
    fall = found["fall"]
    assert (fall["automation_type"], fall["type"], fall["subtype"]) == (
        "trigger",
        "detected",
        "fall",
    )
    assert fall["device"]["identifiers"] == ["edgecam_front"]
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Template(str(fall["value_template"]))
    shown = [template.render(value_json=e) for e in (LATE, {"event_type": "fall"}, LATE | ON_TIME)]
    assert shown == ["", "fall", "fall"]


LATE, ON_TIME = {"event_type": "fall", "delayed_s": 601.0}, {"delayed_s": 1.0}


def test_what_each_report_changes_is_disabled_and_no_attribute_changes_with_it() -> None:
    found = {str(p["object_id"]).removeprefix("edgecam_front_"): p for p in payloads().values()}
    off = {key for key, payload in found.items() if payload.get("enabled_by_default") is False}
    assert off == {"fps", "inference_time", "latency", "last_frame_age", "temperature"}
    problem = found["stream_problem"]
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Template(str(problem["json_attributes_template"]))
    source = {"state": "online", "reason": None, "reconnects": 1, "faults": {}}

    def attributes(age_s: float) -> str:
        return template.render(value_json={"source": source | {"last_frame_age_s": age_s}})

    assert attributes(0.1) == attributes(9.0)
    assert json.loads(attributes(0.1)) == source


def test_controls_stand_among_the_controls_and_detect_is_the_other_way_round_than_pause() -> None:
    found = {str(p["object_id"]).removeprefix("edgecam_front_"): p for p in payloads().values()}
    assert "entity_category" not in found["take_snapshot"]
    detect = found["detect"]
    assert detect["command_topic"] == "edgecam/front/set/pause"
    assert (detect["payload_on"], detect["state_on"]) == ("OFF", "OFF")
    lying = found["lying"]["value_template"]
    jinja2 = pytest.importorskip("jinja2")
    assert [jinja2.Template(str(lying)).render(value=v) for v in ("fallen", "sitting")] == [
        "ON",
        "OFF",
    ]


def test_the_device_shows_the_board_the_page_and_the_title(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    (tmp_path / "serial-number").write_bytes(b"10000000abcdef01\0")
    known = board.identity(tmp_path)
    assert known == board.BoardIdentity("Raspberry Pi 4 Model B", "Rev 1.4", "10000000abcdef01")
    assert board.identity(tmp_path / "none", tmp_path / "none") == board.BoardIdentity()
    features = Features(title="Front door", page="http://pi:8080/", board=known, models="posenet")
    home = HomeAssistantSettings(area="Hall")
    messages = discovery("front", home, features).values()
    devices = {msgspec.json.encode(json.loads(each)["device"]) for each in messages}
    assert [msgspec.json.decode(each) for each in devices] == [
        {
            "identifiers": ["edgecam_front"],
            "name": "Front door",
            "manufacturer": "edgecam",
            "model": "Raspberry Pi 4 Model B",
            "hw_version": "Rev 1.4",
            "serial_number": "10000000abcdef01",
            "sw_version": f"{__version__}, posenet",
            "configuration_url": "http://pi:8080/",
            "suggested_area": "Hall",
        }
    ]


@pytest.mark.parametrize(
    ("listen", "hosts", "page"),
    [
        ("127.0.0.1:8080", (), None),
        ("localhost:8080", ("pi.local",), None),
        ("192.0.2.7:8080", (), "http://192.0.2.7:8080/"),
        ("0.0.0.0:8080", ("pi.local",), "http://pi.local:8080/"),
        ("0.0.0.0:8080", ("cam.example:443",), "http://cam.example:443/"),
        (None, (), None),
    ],
)
def test_the_page_is_linked_where_others_reach_it(
    listen: str | None, hosts: tuple[str, ...], page: str | None
) -> None:
    settings = Settings(web=WebSettings(listen=listen, hosts=hosts), title="Front")
    found = features_of(settings, ())
    assert (found.page, found.title) == (page, "Front")


def test_only_what_may_be_commanded_is_offered() -> None:
    def offered(*commands: str, has_snapshots: bool = True) -> set[str]:
        features = Features(has_snapshots=has_snapshots, commands=frozenset(commands))
        found = [topic.split("/") for topic in payloads(features=features)]
        return {parts[3] for parts in found if parts[1] in ("switch", "number", "button")}

    assert offered() == set()
    assert offered(*COMMANDS) == {"detect", "score_threshold", "take_snapshot"}
    assert offered("snapshot", has_snapshots=False) == set()


def test_many_labels_become_few_entities_unless_they_are_named() -> None:
    known = ["person", "traffic light", "dog", *(f"thing {n}" for n in range(80))]
    assert chosen_labels(known, HOME) == ("person", "dog")
    assert chosen_labels(known[:2], HOME) == ("person", "traffic light")
    named = load(None, {"EDGECAM_HOMEASSISTANT_LABELS": "Traffic Light, thing 7"}, {})
    assert chosen_labels(known, named.homeassistant) == ("traffic light", "thing 7")


@pytest.fixture
def sink(mosquitto: Mosquitto) -> Iterator[MqttSink]:
    opened = MqttSink(MqttSettings(url=mosquitto.url), "front", "b00t")
    yield opened
    opened.close(0.5)


def put(sink: MqttSink, messages: dict[str, bytes]) -> None:
    sink.keep_only(discovery_filter("front", HOME), messages)
    for topic, payload in messages.items():
        sink.publish_retained(topic, payload)


def test_entities_that_are_gone_are_cleared_from_the_broker(
    mosquitto: Mosquitto, sink: MqttSink
) -> None:
    full, less = discovery("front", HOME, FULL), discovery("front", HOME, Features(("person",)))
    others = {"homeassistant/sensor/edgecam_frontdoor/fps/config": b"{}"}
    put(sink, {**full})
    for topic, payload in others.items():
        sink.publish_retained(topic, payload)
    assert wait_until(lambda: set(full) <= set(retained(mosquitto.port, wait_s=0.2)))
    put(sink, less)
    expected = {*less, *others, "edgecam/front/availability"}
    assert wait_until(lambda: set(retained(mosquitto.port, wait_s=0.2)) == expected)


def test_entities_of_an_earlier_run_are_cleared_too(mosquitto: Mosquitto) -> None:
    full, less = discovery("front", HOME, FULL), discovery("front", HOME, Features(("person",)))
    for messages in (full, less):
        opened = MqttSink(MqttSettings(url=mosquitto.url), "front", "b00t")
        put(opened, messages)
        assert opened.wait_connected(60)
        expected = {*messages, "edgecam/front/availability"}
        assert wait_until(lambda: set(retained(mosquitto.port, wait_s=0.2)) == expected)  # noqa: B023
        opened.close(1.0)


def test_a_birth_brings_discovery_then_states_then_online(
    mosquitto: Mosquitto, subscriber: Subscriber, sink: MqttSink
) -> None:
    sink.resend_on("homeassistant/status")
    sink.publish_state("score_threshold", b"0.5")
    put(sink, discovery("front", HOME, Features(("person",))))
    config = "homeassistant/sensor/edgecam_front/fps/config"
    subscriber.wait_for(config)
    assert wait_until(lambda: sink.wait_connected(1))
    births = Subscriber(mosquitto.port, "nothing").ready()
    births._client.publish("homeassistant/status", b"online", qos=1)
    subscriber.wait_for("edgecam/front/availability", 2)
    subscriber.wait_for(config, 2)
    births.close()
    order = [m.topic for m in subscriber.messages]
    again = order[order.index("homeassistant/status") + 1 :]
    configs = [place for place, topic in enumerate(again) if topic.endswith("/config")]
    assert len(configs) == len(discovery("front", HOME, Features(("person",))))
    assert max(configs) < again.index("edgecam/front/state/score_threshold")
    assert again[-1] == "edgecam/front/availability"


def test_discovery_can_be_switched_off_and_moved() -> None:
    moved = load(None, {"EDGECAM_HOMEASSISTANT_PREFIX": "ha/found"}, {}).homeassistant
    assert all(topic.startswith("ha/found/") for topic in discovery("front", moved, FULL))
    off = msgspec.convert({"homeassistant": {"enabled": False}}, Settings)
    assert not off.homeassistant.enabled


def test_discovery_prints_what_a_run_publishes_and_removes_it(mosquitto: Mosquitto) -> None:
    arguments = (*MODEL, "--name", "front", "--broker", mosquitto.url)
    printed = edgecam("discovery", *arguments)
    assert printed.returncode == 0, printed.stderr
    reported = dict(line.split(" ", 1) for line in printed.stdout.splitlines())
    running = start(*arguments, *LOOPED)
    try:
        assert wait_until(lambda: "edgecam/front/count/person" in retained(mosquitto.port), 30)
        assert retained(mosquitto.port)["edgecam/front/source"] == b"online"
        kept = retained(mosquitto.port, "homeassistant/#")
        assert {topic: payload.decode() for topic, payload in kept.items()} == reported
        assert "is running: expected it to be stopped" in error_line(
            edgecam("discovery", *arguments, "--remove")
        )
    finally:
        running.terminate()
        running.communicate(timeout=120)
    assert "edgecam/front/telemetry" in retained(mosquitto.port)
    removed = edgecam("discovery", *arguments, "--remove")
    assert removed.returncode == 0, removed.stderr
    assert {*reported, "edgecam/front/telemetry"} <= set(removed.stdout.splitlines())
    assert retained(mosquitto.port) == {}


def test_removing_from_no_broker_is_one_line() -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    line = error_line(edgecam("discovery", "--remove", "--broker", url))
    assert "refused" in line
    assert "mqtt.url" in error_line(edgecam("discovery", "--remove"))


def test_a_camera_that_is_away_takes_what_it_tells_with_it(mosquitto: Mosquitto) -> None:
    running = start(
        *(*MODEL, "--name", "front", "--broker", mosquitto.url),
        *("--source", f"rtsp://127.0.0.1:{free_port()}/x", "--wait-for-source"),
    )
    try:
        assert wait_until(lambda: "edgecam/front/telemetry" in retained(mosquitto.port), 30)
        kept = retained(mosquitto.port)
        assert kept["edgecam/front/source"] == b"offline"
        assert kept["edgecam/front/availability"] == b"online"
        assert json.loads(kept["edgecam/front/telemetry"])["source"]["state"] == "offline"
    finally:
        running.terminate()
        running.communicate(timeout=120)


def test_what_was_tried_out_is_offered_to_be_taken_off_the_broker() -> None:
    tried = load(None, {}, {"name": "front", "mqtt.url": "localhost", "mqtt.username": "eva"})
    words = offer(tried)
    assert words is not None
    assert words.endswith(
        "edgecam discovery --remove --name front --broker localhost --username eva "
        "--password-file FILE"
    )
    assert offer(load(None, {}, {})) is None
    off = {"mqtt.url": "localhost", "homeassistant.enabled": "false"}
    assert offer(load(None, {}, off)) is None
