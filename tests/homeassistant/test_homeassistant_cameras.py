"""What an unmodified Home Assistant makes of four cameras in one process."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto, retained, wait_until
from daemons import Daemon
from hass import HomeAssistant, python
from programs import CLIP

pytestmark = pytest.mark.long

CAMERAS = ("front", "hall", "yard", "attic")
HEAD = """
accuracy = "fast"
rate_hz = 1
[inference]
threads = 1
[telemetry]
interval_s = 1
"""
# Its own remark on every configuration directory that it has asked no one about yet.
ITS_OWN = ("homeassistant.components.http.ban",)


def write(folder: Path, broker: Mosquitto, cameras: tuple[str, ...]) -> Path:
    path = folder / "house.toml"
    source = f'{{url = "{CLIP}", realtime = true, loop = true}}'
    tables = (f'[[camera]]\nname = "{name}"\nsource = {source}\n' for name in cameras)
    path.write_text(f'{HEAD}[mqtt]\nurl = "{broker.url}"\n' + "".join(tables))
    return path


@pytest.fixture
def assistant(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[HomeAssistant]:
    python()
    running = HomeAssistant(tmp_path / "assistant", mosquitto.port)
    yield running
    running.close()


def states_of(assistant: HomeAssistant, name: str) -> dict[str, str]:
    return {k: state for k, state in assistant.states().items() if f".edgecam_{name}_" in k}


def is_whole(assistant: HomeAssistant, name: str) -> bool:
    """The camera's entities are there and know their state."""
    # An event and a button have no state before the first one.
    states = {
        key: state
        for key, state in states_of(assistant, name).items()
        if not key.startswith(("event.", "button."))
    }
    return len(states) >= 8 and not {"unknown", "unavailable"} & set(states.values())


def are_away(assistant: HomeAssistant, name: str) -> bool:
    return set(states_of(assistant, name).values()) == {"unavailable"}


def problems(assistant: HomeAssistant) -> list[str]:
    return [line for line in assistant.ask("said") if not line.startswith(ITS_OWN)]


def test_home_assistant_has_a_device_for_each_of_four_cameras_on_that_of_the_board(
    tmp_path: Path, mosquitto: Mosquitto, assistant: HomeAssistant
) -> None:
    daemons = []
    try:
        config = write(tmp_path, mosquitto, CAMERAS)
        daemons.append(Daemon(tmp_path, "--config", config))
        assert wait_until(lambda: all(is_whole(assistant, name) for name in CAMERAS), 120.0), {
            name: states_of(assistant, name) for name in CAMERAS
        }
        # No message was refused: each gave an entity.
        asked = {
            topic: json.loads(payload)
            for topic, payload in retained(mosquitto.port, "homeassistant/#").items()
            if "/device_automation/" not in topic
        }
        entities = {each["unique_id"] for each in assistant.ask("entities")}
        assert entities == {payload["unique_id"] for payload in asked.values()}
        devices = {device["name"]: device for device in assistant.ask("devices")}
        board = devices.pop("Edgecam house")
        assert sorted(devices) == sorted(f"Edgecam {name}" for name in CAMERAS)
        assert {device["via"] for device in devices.values()} == {board["id"]}
        assert board["via"] is None
        for payload in asked.values():
            topics = [each["topic"] for each in payload["availability"]]
            assert "edgecam/house/availability" in topics
        # A camera that is taken off is away alone.
        write(tmp_path, mosquitto, CAMERAS[:3])
        daemons[0].send(signal.SIGHUP)
        assert wait_until(
            lambda: not states_of(assistant, "attic") or are_away(assistant, "attic"), 60.0
        )
        assert all(is_whole(assistant, name) for name in CAMERAS[:3])
        # One will speaks for all.
        daemons[0].process.kill()
        assert wait_until(lambda: all(are_away(assistant, name) for name in CAMERAS[:3]), 30.0)
        again = tmp_path / "again"
        again.mkdir()
        daemons.append(Daemon(again, "--config", config))
        assert wait_until(lambda: all(is_whole(assistant, name) for name in CAMERAS[:3]), 120.0)
        assert problems(assistant) == []
    finally:
        for daemon in daemons:
            daemon.close()
