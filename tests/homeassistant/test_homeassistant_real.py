"""What an unmodified Home Assistant makes of a running edgecam, through restarts of everybody."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber, retained, wait_until
from daemons import LOOPED
from hass import HomeAssistant, python
from programs import edgecam, start

from edgecam.core.events import POSTURES
from edgecam.homeassistant.discovery import discovery
from edgecam.homeassistant.features import Features
from edgecam.settings.schema import HomeAssistantSettings
from edgecam.sinks.mqtt.sink import MqttSink

pytestmark = pytest.mark.long

PREFIX = "edgecam_front_"
CAMERA = f"binary_sensor.{PREFIX}person_occupancy"
BOARD = f"sensor.{PREFIX}delegate"
BUTTON = f"button.{PREFIX}take_snapshot"
PICTURE = f"image.{PREFIX}snapshot"
IN_ZONE = f"binary_sensor.{PREFIX}zone_door_person_occupancy"
EVENT = f"event.{PREFIX}event"
SETTINGS = """
name = "front"
[[model]]
path = "posenet"
[inference]
threads = 1
[snapshot]
mode = "skeleton"
interval_s = 1
[remote]
allow = ["pause", "decode.score_threshold", "snapshot"]
"""
DOOR = """
[[zone]]
name = "door"
polygon = [[0, 0], [1, 0], [1, 1], [0, 1]]
"""
# Its own remark on every configuration directory that it has asked no one about yet.
ITS_OWN = ("homeassistant.components.http.ban",)


@pytest.fixture
def zones(tmp_path: Path) -> Path:
    """A board's thermal zones, since not every machine that runs tests has them."""
    folder = tmp_path / "thermal"
    (folder / "thermal_zone0").mkdir(parents=True)
    (folder / "thermal_zone0" / "temp").write_text("51500\n")
    return folder


class Instance:
    """An edgecam that can be killed and started again."""

    def __init__(self, broker: Mosquitto, zones: Path) -> None:
        self.config = zones / "front.toml"
        self.config.write_text(SETTINGS + DOOR)
        self.arguments = ("--config", str(self.config), "--broker", broker.url)
        self.variables = {
            "EDGECAM_TELEMETRY_INTERVAL_S": "1",
            "EDGECAM_THERMAL_DIRECTORY": str(zones),
        }
        self.start()

    def start(self) -> None:
        self.process: subprocess.Popen[str] = start(*self.arguments, *LOOPED, **self.variables)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.communicate(timeout=120)


@pytest.fixture
def open_house(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Callable[[], HomeAssistant]]:
    """Starts Home Assistant, on the same configuration directory each time."""
    python()
    opened: list[HomeAssistant] = []

    def open_() -> HomeAssistant:
        opened.append(HomeAssistant(tmp_path / "house", mosquitto.port))
        return opened[-1]

    yield open_
    for house in opened:
        house.close()


@pytest.fixture
def instance(mosquitto: Mosquitto, zones: Path) -> Iterator[Instance]:
    running = Instance(mosquitto, zones)
    yield running
    running.kill()


def is_whole(house: HomeAssistant, at_least: int = 15) -> bool:
    """Every entity is there and knows its state."""
    states = {key: state for key, state in house.states().items() if PREFIX in key}
    # A button has no state but that of being there.
    states.pop(BUTTON, None)
    return len(states) >= at_least and not {"unknown", "unavailable"} & set(states.values())


def problems(house: HomeAssistant) -> list[str]:
    return [line for line in house.ask("said") if not line.startswith(ITS_OWN)]


def test_home_assistant_shows_all_of_it_through_every_restart(
    mosquitto: Mosquitto, instance: Instance, open_house: Callable[[], HomeAssistant]
) -> None:
    house = open_house()
    assert wait_until(lambda: is_whole(house), 30), house.states()
    entities = {e["unique_id"]: e for e in house.ask("entities")}
    reported = edgecam("discovery", *instance.arguments, **instance.variables).stdout.splitlines()
    messages = [line.split(" ", 1) for line in reported if "/device_automation/" not in line]
    expected = [json.loads(payload) for _, payload in messages]
    # Every message gave an entity, under the name that it asked for, in the right drawer.
    assert set(entities) == {payload["unique_id"] for payload in expected}
    for payload in expected:
        found = entities[payload["unique_id"]]
        assert found["entity_id"] == payload["default_entity_id"]
        assert found["category"] == payload.get("entity_category")
    assert [device["name"] for device in house.ask("devices")] == ["Edgecam front"]
    assert house.states()[f"binary_sensor.{PREFIX}throttling"] == "off"
    assert wait_until(lambda: house.states()[IN_ZONE] == "on", 10)
    assert house.states()[f"sensor.{PREFIX}posture"] in POSTURES
    assert house.attributes(EVENT)["event_type"] in house.attributes(EVENT)["event_types"]
    assert house.states()[f"binary_sensor.{PREFIX}fall"] == "off"
    picture = house.picture(PICTURE)
    assert picture is not None
    assert picture.startswith(b"\xff\xd8\xff")

    # The daemon dies: all is unavailable at once; it returns with everything.
    instance.kill()
    assert wait_until(lambda: house.states()[CAMERA] == house.states()[BOARD] == "unavailable", 5)
    instance.start()
    assert wait_until(lambda: is_whole(house), 30), house.states()

    # The broker restarts and has forgotten everything.
    mosquitto.kill()
    assert wait_until(lambda: house.states()[CAMERA] == "unavailable", 10)
    mosquitto.start()
    assert wait_until(lambda: is_whole(house), 40), house.states()
    # That the broker was away Home Assistant may say; nothing else.
    assert [line for line in problems(house) if "MQTT server" not in line] == []
    house.stop()

    # Home Assistant restarts: all is there as soon as it has started and asked.
    house = open_house()
    assert wait_until(lambda: is_whole(house), 15), house.states()
    assert problems(house) == []

    # A zone that is gone from the settings is gone from there, and from the broker.
    instance.config.write_text(SETTINGS)
    instance.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: not [key for key in house.states() if "zone_door" in key], 15)
    assert not [key for key in retained(mosquitto.port) if "/zone" in key]
    assert wait_until(lambda: is_whole(house, 13), 10), house.states()

    # Taken off the broker it is gone from Home Assistant too.
    instance.kill(signal.SIGTERM)
    removed = edgecam("discovery", *instance.arguments, "--remove")
    assert removed.returncode == 0, removed.stderr
    assert wait_until(lambda: not house.ask("entities") and not house.ask("devices"))
    assert problems(house) == []


def test_home_assistant_commands_it(
    instance: Instance, open_house: Callable[[], HomeAssistant], subscriber: Subscriber
) -> None:
    del instance
    house = open_house()
    assert wait_until(lambda: is_whole(house), 30), house.states()
    switch, number = f"switch.{PREFIX}detect", f"number.{PREFIX}score_threshold"
    assert (house.states()[switch], house.states()[number]) == ("on", "0.5")

    house.ask("call", service="switch.turn_off", entity_id=switch)
    assert wait_until(lambda: house.states()[switch] == "off", 5)
    time.sleep(0.5)
    before = len(subscriber.of("edgecam/front/result"))
    time.sleep(1.0)
    assert len(subscriber.of("edgecam/front/result")) == before
    house.ask("call", service="switch.turn_on", entity_id=switch)
    assert wait_until(lambda: house.states()[switch] == "on", 5)

    house.ask("call", service="number.set_value", entity_id=number, value=1)
    assert wait_until(lambda: house.states()[number] == "1.0", 5)
    # No person is found so surely.
    assert wait_until(lambda: house.states()[CAMERA] == "off", 10)

    time.sleep(1.5)
    pictures = len(subscriber.of("edgecam/front/snapshot"))
    time.sleep(1.5)
    assert len(subscriber.of("edgecam/front/snapshot")) == pictures
    house.ask("call", service="button.press", entity_id=BUTTON)
    subscriber.wait_for("edgecam/front/snapshot", pictures + 1)
    assert problems(house) == []


def test_home_assistant_ignores_an_event_that_comes_late(
    mosquitto: Mosquitto, sink: MqttSink, open_house: Callable[[], HomeAssistant]
) -> None:
    """The log of events, which is the topic, has it all the same."""
    features = Features(event_types=("fall", "wave"), postures=POSTURES, stale_after_s=600.0)
    for topic, payload in discovery("front", HomeAssistantSettings(), features).items():
        sink.publish_retained(topic, payload)
    sink.publish_source(is_online=True)
    sink.publish_retained(sink.topics.posture, b"standing")
    house = open_house()
    assert wait_until(lambda: house.states().get(EVENT) == "unknown", 30), house.states()

    def fires(**event: object) -> bool:
        before = house.states()[EVENT]
        payload = {"event_type": "fall", "track": 1, **event}
        mosquitto.tell(sink.topics.event, json.dumps(payload))
        return wait_until(lambda: house.states()[EVENT] != before, 5)

    assert not fires(delayed_s=86_400.0)
    assert not fires(delayed_s=None)
    assert fires(delayed_s=300.0)
    assert fires()
    assert house.attributes(EVENT)["track"] == 1
    assert house.states()[f"binary_sensor.{PREFIX}fall"] == "off"
    sink.publish_retained(sink.topics.posture, b"fallen")
    assert wait_until(lambda: house.states()[f"binary_sensor.{PREFIX}fall"] == "on", 5)
    assert problems(house) == []


# Reports of an hour, at the default of one in ten seconds.
REPORTS_OF_AN_HOUR = 360


def test_an_hour_in_which_nothing_happens_costs_few_rows_of_the_database(
    mosquitto: Mosquitto, open_house: Callable[[], HomeAssistant], zones: Path
) -> None:
    """Of what is enabled; frame rate, age and temperature change with every report."""
    hidden = '[[mask]]\nname = "all"\npolygon = [[0, 0], [1, 0], [1, 1], [0, 1]]\n'
    (zones / "front.toml").write_text('name = "front"\n' + hidden)
    everything = Subscriber(mosquitto.port).ready()
    house = open_house()
    running = start(
        *("--config", zones / "front.toml", "--broker", mosquitto.url, *LOOPED),
        *("--model", "ssdlite:rate_hz=2", "--threads", "1"),
        EDGECAM_TELEMETRY_INTERVAL_S="0.1",
        EDGECAM_THERMAL_DIRECTORY=str(zones),
    )
    try:
        assert wait_until(lambda: is_whole(house, at_least=6), 120), house.states()

        def reports() -> int:
            return len(everything.of("edgecam/front/telemetry"))

        house.ask("rows")
        before = reports()
        for number in range(1, 40):
            # A board's temperature is never still.
            (zones / "thermal_zone0" / "temp").write_text(f"{50_000 + 137 * number}\n")
            assert wait_until(lambda n=number: reports() - before >= 10 * n, 60)
            if reports() - before >= REPORTS_OF_AN_HOUR:
                break
        rows = house.ask("rows")
    finally:
        running.kill()
        running.communicate()
        everything.close()
    assert reports() - before >= REPORTS_OF_AN_HOUR
    assert sum(rows.values()) < 100, rows
