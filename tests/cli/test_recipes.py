"""The recipes of docs/recipes.md, each as it stands there, on what edgecam really publishes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, Subscriber, wait_until
from hass import HomeAssistant, python, root_of_today
from programs import ROOT

from edgecam.core.events import Event
from edgecam.messages.event import event_payload
from edgecam.messages.topics import Topics
from edgecam.mqtt.connection import matches
from edgecam.sinks.mqtt.sink import MqttSink

PAGE = (ROOT / "docs" / "recipes.md").read_text("utf-8")
NODE_RED = "node-red@4"


def published(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event_payload(event, "front", "b00t", 7, True))
    return found


FALL = published(Event("fall", 1, 105.0, 1_795_892_880.0, 100.0, 5.0, 3, "person", 0.9))
DWELLING = published(
    Event("dwelling", 2, 105.0, 1_795_892_880.0, 84.6, 20.4, 4, "person", 0.9, "door")
)
ELSEWHERE = {**DWELLING, "zone": "street"}
# Of an hour ago, and of a time that is not known.
LATE = ({**FALL, "delayed_s": 3600.0}, {**DWELLING, "delayed_s": None})
WAVE = {"event_type": "wave", "track": 4, "label": "person"}


def recipe(language: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1, f"{len(blocks)} blocks of {language}"
    return str(blocks[0])


def tell(broker: Mosquitto, *events: dict[str, Any]) -> None:
    for event in events:
        broker.tell(Topics("front").event, json.dumps(event))


def test_every_recipe_listens_to_topics_that_there_are() -> None:
    topics = Topics("front")
    published = (topics.event, topics.count("person"), topics.telemetry, topics.result)
    filters = re.findall(r"""["' ](edgecam/[^"'\s`<]+)""", recipe("yaml") + recipe("json"))
    filters += re.findall(r'"(edgecam/[^"]+)"', recipe("python"))
    assert len(filters) >= 5
    for wanted in filters:
        assert any(matches(wanted, topic) for topic in published), wanted


def test_the_python_subscriber_has_twenty_lines_and_works(
    mosquitto: Mosquitto, sink: MqttSink, tmp_path: Path
) -> None:
    script = tmp_path / "watch.py"
    script.write_text(recipe("python"))
    assert len(recipe("python").splitlines()) <= 20
    command = [sys.executable, script, "127.0.0.1", str(mosquitto.port)]
    sink.publish_retained(sink.topics.count("person"), b"2")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "front 2 people\n"
        tell(mosquitto, FALL, WAVE)
        assert watching.stdout.readline() == "front fall\n"
        assert watching.stdout.readline() == "front wave\n"
        watching.kill()


def in_old_words(automations: str) -> str:
    """As the page says that releases up to 2024.9 write them."""
    for new, old in (
        ("- trigger: mqtt", "- platform: mqtt"),
        ("- action: ", "- service: "),
        ("triggers:", "trigger:"),
        ("conditions:", "condition:"),
        ("actions:", "action:"),
    ):
        assert new in automations
        automations = automations.replace(new, old)
    return automations


@pytest.mark.long
def test_the_automations_act_on_a_fall_and_on_dwelling(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    python()
    automations = in_old_words(recipe("yaml"))
    house = HomeAssistant(tmp_path / "house", mosquitto.port, automations)
    check_automations(mosquitto, house)


@pytest.mark.long
def test_the_automations_act_in_todays_release_as_they_stand_there(mosquitto: Mosquitto) -> None:
    place = root_of_today() / "tmp" / "recipes"
    shutil.rmtree(place, ignore_errors=True)
    house = HomeAssistant(place, mosquitto.port, recipe("yaml"), today=root_of_today())
    check_automations(mosquitto, house, of_today=True)


def check_automations(mosquitto: Mosquitto, house: HomeAssistant, of_today: bool = False) -> None:
    try:
        births = Subscriber(mosquitto.port, "homeassistant/status").ready()
        time.sleep(3)
        births.close()
        tell(mosquitto, WAVE, ELSEWHERE, *LATE, FALL, {**DWELLING, "delayed_s": 20.0})

        def reported() -> list[dict[str, str]]:
            calls = house.ask("calls")
            return [c["service_data"] for c in calls if c["domain"] == "persistent_notification"]

        assert wait_until(lambda: len(reported()) == 2, 10), house.ask("calls")
        time.sleep(1)
        fallen, stays = sorted(reported(), key=lambda each: each["title"])
        assert fallen["title"] == "A person has fallen"
        assert re.fullmatch(r"Seen by front at \d\d:\d\d:\d\d", fallen["message"])
        assert stays == {"title": "A person stays at the door", "message": "For 20 s now"}
        assert of_today or house.ask("said") == []
    finally:
        house.close()


@pytest.fixture(scope="session")
def node_red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script that starts Node-RED, from npm."""
    if shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node-red")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--omit=optional", NODE_RED]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"Node-RED cannot be installed: {done.stderr.strip()[-200:]}")
    return folder / "node_modules" / "node-red" / "red.js"


@pytest.mark.long
def test_the_node_red_flow_tells_of_falls_and_of_those_who_stay(
    mosquitto: Mosquitto, node_red: Path, tmp_path: Path
) -> None:
    # Only where the broker is differs from the page.
    flow = json.loads(recipe("json"))
    broker = next(node for node in flow if node["type"] == "mqtt-broker")
    broker["broker"], broker["port"] = "127.0.0.1", str(mosquitto.port)
    (tmp_path / "flows.json").write_text(json.dumps(flow))
    settings = "module.exports = {flowFile: 'flows.json', uiPort: 0, uiHost: '127.0.0.1',"
    settings += " httpAdminRoot: false, httpNodeRoot: false}"
    (tmp_path / "settings.js").write_text(settings)
    log = tmp_path / "log"
    command = ["node", node_red, "--userDir", tmp_path, "--settings", tmp_path / "settings.js"]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as red:
        try:
            assert wait_until(lambda: "Connected to broker" in log.read_text(), 60), log.read_text()
            time.sleep(1)
            tell(mosquitto, WAVE, *LATE, FALL, {**DWELLING, "delayed_s": 20.0})
            said = "front: person in door for 20.4 s"
            assert wait_until(lambda: said in log.read_text(), 10), log.read_text()
            assert "front: a person has fallen" in log.read_text()
            assert log.read_text().count("[debug:tell]") == 2
        finally:
            red.kill()


def test_the_tutorial_has_the_recipes_automation() -> None:
    tutorial = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", tutorial, re.DOTALL | re.MULTILINE)
    first = recipe("yaml").split("  - ")[1:]
    shown = "  - ".join(first).split("\n\n")[0]
    assert block == "\n".join(line.removeprefix("    ") for line in shown.splitlines()) + "\n"
