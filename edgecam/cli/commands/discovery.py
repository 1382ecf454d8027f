"""``edgecam discovery``: what Home Assistant knows of an instance, and how it forgets it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from edgecam.cli.headings import HeadedCommand
from edgecam.cli.options import FLAG_NAMES, given, model_options
from edgecam.core.printable import say
from edgecam.settings.house import House
from edgecam.settings.load import load_house


@click.command("discovery", cls=HeadedCommand)
@model_options
@click.option("-n", "--name", help="Camera name in topics.  [default: camera]")
@click.option("--title", help="What people call the camera, such as 'Front door'.")
@click.option("-b", "--broker", help="mqtt://HOST:1883 or mqtts://HOST:8883.")
@click.option("--username", help="User at the broker.")
@click.option("--password-file", help="File with the broker's password.")
@click.option("--remove", is_flag=True, help="Clear all that the broker retains of it.")
@click.pass_context
def command(ctx: click.Context, /, config: Path | None, remove: bool, **_: Any) -> None:
    """Print the discovery messages of an instance and its cameras, one a line, or remove them.

    Removing takes the device with its entities out of Home Assistant and every retained state
    off the broker. Stop the instance first, with the same settings as it ran with.
    """
    configs = () if config is None else (config,)
    house = load_house(configs, os.environ, given(ctx), FLAG_NAMES)
    process = house.shared.name if house.has_several else None
    if remove:
        _remove(house, process)
        return
    from edgecam.daemon.cameras import load_all
    from edgecam.homeassistant import discovery as homeassistant
    from edgecam.homeassistant.announce import board_features, features

    messages: dict[str, bytes] = {}
    if process is not None:
        found = board_features(house.shared)
        messages = homeassistant.board_discovery(process, house.shared.homeassistant, found)
    for camera, models in zip(house.cameras, load_all(house), strict=True):
        found = features(camera, models, process)
        messages |= homeassistant.discovery(camera.name, camera.homeassistant, found)
    for topic, payload in messages.items():
        say(f"{topic} {payload.decode()}")


def _remove(house: House, process: str | None) -> None:
    from edgecam.homeassistant.removal import remove

    for settings in (*house.cameras, *(() if process is None else (house.shared,))):
        topics = remove(settings, process=process)
        for topic in topics:
            say(topic)
        say(f"{settings.name}: {len(topics)} retained messages cleared", err=True)
