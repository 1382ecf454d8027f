"""What Home Assistant 2026.11 makes of edgecam: entities, triggers and blueprints."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, wait_until
from hass import HomeAssistant, root_of_today
from programs import ROOT

from edgecam.core.events import POSTURES
from edgecam.core.rules import EVENT_TYPES
from edgecam.homeassistant.discovery import discovery
from edgecam.homeassistant.features import Features
from edgecam.settings.schema import HomeAssistantSettings
from edgecam.sinks.mqtt.sink import MqttSink

pytestmark = pytest.mark.long

BLUEPRINTS = ROOT / "contrib" / "homeassistant"
# Of its own set-up, and of a machine that is busy.
ITS_OWN = ("aiohttp_fast_zlib", "homeassistant.helpers.entity: Updating state for")
FEATURES = Features(
    labels=("person",),
    has_snapshots=True,
    commands=frozenset({"pause", "decode.score_threshold", "snapshot"}),
    zones={"door": ("person",)},
    event_types=EVENT_TYPES,
    postures=POSTURES,
    title="Front door",
)


@pytest.fixture
def folder() -> Iterator[Path]:
    place = root_of_today() / "tmp" / "house"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(BLUEPRINTS, place / "blueprints" / "automation" / "edgecam")
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def house(mosquitto: Mosquitto, sink: MqttSink, folder: Path) -> Iterator[HomeAssistant]:
    for topic, payload in discovery("front", HomeAssistantSettings(), FEATURES).items():
        sink.publish_retained(topic, payload)
    sink.publish_source(is_online=True)
    opened = HomeAssistant(folder, mosquitto.port, today=root_of_today())
    yield opened
    opened.close()


def tell(mosquitto: Mosquitto, **event: Any) -> None:
    body = {"track": 1, "label": "person", "zone": None, **event}
    mosquitto.tell("edgecam/front/event", json.dumps(body))


def notice(title: str) -> list[dict[str, Any]]:
    data = {"title": title, "message": "seen"}
    return [{"action": "persistent_notification.create", "data": data}]


def test_every_message_is_taken_and_the_blueprints_run(
    mosquitto: Mosquitto, house: HomeAssistant
) -> None:
    messages = discovery("front", HomeAssistantSettings(), FEATURES)
    wanted = {json.loads(p)["unique_id"] for t, p in messages.items() if "/device_auto" not in t}
    assert wait_until(lambda: {e["unique_id"] for e in house.ask("entities")} == wanted, 60)
    (device,) = house.ask("devices")
    assert device["name"] == "Front door"
    shown = sorted(each.replace("_", " ") for each in EVENT_TYPES)
    assert wait_until(lambda: house.ask("triggers", device_id=device["id"]) == shown, 60)

    def automation(path: str, **inputs: Any) -> dict[str, Any]:
        given = {"camera": device["id"], **inputs}
        return {"alias": path, "use_blueprint": {"path": f"edgecam/{path}.yaml", "input": given}}

    fall = automation("fall", fallen=notice("fell"), recovered=notice("up again"))
    dwelling = automation("dwelling", zone="door", stays=notice("stays"))
    house.ask("automate", given={"automation": [fall, dwelling]})
    time.sleep(3)
    tell(mosquitto, event_type="fall", delayed_s=9999.0)
    tell(mosquitto, event_type="wave")
    tell(mosquitto, event_type="dwelling", zone="street")
    tell(mosquitto, event_type="fall")
    tell(mosquitto, event_type="dwelling", zone="door")
    tell(mosquitto, event_type="recovered")

    def reported() -> set[str]:
        calls = house.ask("calls")
        found = [c["service_data"] for c in calls if c["domain"] == "persistent_notification"]
        return {data["title"] for data in found if "title" in data}

    assert wait_until(lambda: reported() == {"fell", "stays", "up again"}, 30), house.ask("calls")
    assert [line for line in house.ask("said") if not line.startswith(ITS_OWN)] == []
