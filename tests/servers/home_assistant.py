"""Home Assistant itself in this process, steered by JSON lines; run by ``hass.py``.

    python home_assistant.py CONFIG_DIRECTORY BROKER_PORT

Nothing of it is replaced: its own loader, registries, ``mqtt`` integration and automations, in the
order of ``homeassistant.bootstrap``, without the integrations that show it to a person.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from homeassistant import bootstrap, config, config_entries, core, loader
from homeassistant.const import MAJOR_VERSION
from homeassistant.helpers import device_registry, entity_registry
from homeassistant.setup import async_setup_component

TIMEOUT_S = 120
IS_OF_TODAY = MAJOR_VERSION >= 2026


class Problems(logging.Handler):
    """Whatever is logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


def mqtt_entry(port: int) -> dict[str, Any]:
    """What the user interface stores for an MQTT broker."""
    return {
        "entry_id": "mqtt",
        # Since 2025 the user interface stores the second form.
        "version": 2 if IS_OF_TODAY else 1,
        "minor_version": 1,
        "domain": "mqtt",
        "title": "mqtt",
        "data": {"broker": "127.0.0.1", "port": port},
        "options": {},
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "source": "user",
        "unique_id": None,
        "disabled_by": None,
    }


def store_entry(folder: Path, port: int) -> None:
    path = folder / ".storage" / "core.config_entries"
    if path.exists():
        return
    path.parent.mkdir(parents=True)
    head = {"version": 1, "minor_version": 1, "key": "core.config_entries"}
    path.write_text(json.dumps({**head, "data": {"entries": [mqtt_entry(port)]}}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class House:
    """One running Home Assistant, and what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.problems = Problems()
        logging.basicConfig(level=logging.WARNING)
        logging.getLogger().addHandler(self.problems)
        self._folder = folder
        self._calls: list[dict[str, Any]] = []
        self._rows: Counter[str] = Counter()

    async def start(self) -> None:
        self.hass = hass = core.HomeAssistant(str(self._folder))
        hass.config.skip_pip = True
        loader.async_setup(hass)
        given = await config.async_hass_config_yaml(hass)
        given["http"] = {"server_host": "127.0.0.1", "server_port": free_port()}
        hass.config_entries = config_entries.ConfigEntries(hass, given)
        await bootstrap.async_load_base_functionality(hass)
        hass.bus.async_listen("call_service", self._note_call)
        if IS_OF_TODAY:
            from homeassistant.core_config import async_process_ha_core_config
        else:
            async_process_ha_core_config = config.async_process_ha_core_config
        await async_process_ha_core_config(hass, {})
        for domain in ("homeassistant", "persistent_notification", "mqtt", "automation"):
            if not await async_setup_component(hass, domain, given):
                raise RuntimeError(f"{domain} is not set up")
        await hass.async_start()

        hass.bus.async_listen("state_changed", self._note_row)

    def _note_row(self, event: core.Event) -> None:
        self._rows[event.data["entity_id"]] += 1

    async def rows(self) -> dict[str, int]:
        """How many rows the recorder would have written since it was last asked, by entity."""
        await self.hass.async_block_till_done()
        rows, self._rows = self._rows, Counter()
        return rows

    def _note_call(self, event: core.Event) -> None:
        self._calls.append(dict(event.data))

    async def states(self) -> dict[str, Any]:
        await self.hass.async_block_till_done()
        return {
            state.entity_id: {"state": state.state, "attributes": dict(state.attributes)}
            for state in self.hass.states.async_all()
        }

    async def entities(self) -> list[dict[str, Any]]:
        registry = entity_registry.async_get(self.hass)
        return [
            {"entity_id": e.entity_id, "unique_id": e.unique_id, "category": e.entity_category}
            for e in registry.entities.values()
        ]

    async def devices(self) -> list[dict[str, Any]]:
        registry = device_registry.async_get(self.hass)
        every = registry.devices if IS_OF_TODAY else registry.devices.values()
        return [
            {"name": d.name, "model": d.model, "id": d.id, "via": d.via_device_id} for d in every
        ]

    async def triggers(self, device_id: str) -> list[str]:
        """The subtypes of the device's own triggers."""
        from homeassistant.components.device_automation import (
            DeviceAutomationType,
            async_get_device_automations,
        )

        found = await async_get_device_automations(
            self.hass, DeviceAutomationType.TRIGGER, [device_id]
        )
        return sorted(t["subtype"] for t in found[device_id] if t["domain"] == "mqtt")

    async def automate(self, given: dict[str, Any]) -> None:
        """Set the automations of a configuration up in place of those that there are."""
        path = self._folder / "configuration.yaml"
        path.write_text(json.dumps(given))
        await self.hass.services.async_call("automation", "reload", {}, blocking=True)

    async def call(self, service: str, **data: Any) -> None:
        domain, _, name = service.partition(".")
        await self.hass.services.async_call(domain, name, data, blocking=True)

    async def calls(self) -> list[dict[str, Any]]:
        return self._calls

    async def picture(self, entity_id: str) -> str | None:
        data = await self.hass.data["image"].get_entity(entity_id).async_image()
        return None if data is None else base64.b64encode(data).decode()

    async def said(self) -> list[str]:
        return self.problems.lines

    async def stop(self) -> None:
        await self.hass.async_stop()


async def main(folder: Path, port: int) -> None:
    store_entry(folder, port)
    house = House(folder)
    await asyncio.wait_for(house.start(), TIMEOUT_S)
    answer({"started": True})
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    while line := await lines.readline():
        request = json.loads(line)
        name = request.pop("do")
        try:
            answer({"answer": await getattr(house, name)(**request)})
        except Exception as error:  # noqa: BLE001 - it is the test's to judge
            answer({"error": repr(error)})
        if name == "stop":
            return


def answer(data: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(data, default=str) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
