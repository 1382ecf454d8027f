"""``edgecam discovery``: what Home Assistant knows of an instance, and how it forgets it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from edgecam.cli.headings import HeadedCommand
from edgecam.cli.options import FLAG_NAMES, given, model_options
from edgecam.core.printable import say
from edgecam.settings.load import load


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
    """Print the discovery messages of an instance, one a line, or remove the instance.

    Removing takes the device with its entities out of Home Assistant and every retained state
    off the broker. Stop the instance first, with the same settings as it ran with.
    """
    settings = load(config, os.environ, given(ctx), FLAG_NAMES)
    if remove:
        from edgecam.homeassistant.removal import remove as take_off

        topics = take_off(settings)
        for topic in topics:
            say(topic)
        say(f"{settings.name}: {len(topics)} retained messages cleared", err=True)
        return
    from edgecam.daemon.build import load_models
    from edgecam.homeassistant import discovery as homeassistant
    from edgecam.homeassistant.announce import features

    found = features(settings, load_models(settings))
    messages = homeassistant.discovery(settings.name, settings.homeassistant, found)
    for topic, payload in messages.items():
        say(f"{topic} {payload.decode()}")
