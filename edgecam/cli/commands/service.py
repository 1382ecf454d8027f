"""``edgecam service``: install and remove a camera as a systemd service."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecam.cli.completion import a_model
from edgecam.core.errors import SettingsError
from edgecam.core.printable import say

if TYPE_CHECKING:
    from edgecam.settings.house import House
    from edgecam.settings.schema import Settings

_ROOT = click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("/"),
    help="Install below this directory, as for a disk image.",
)


@click.group("service")
def command() -> None:
    """Install a camera as a systemd service, or remove it."""


def _checked(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]{1,64}", name):
        from edgecam.settings.messages import hint
        from edgecam.settings.section import IN_WORDS, SLUG

        words = IN_WORDS[SLUG]
        raise SettingsError(f"NAME: expected {words}{hint(name, words)}, found {name!r:.80}")
    return name


def _systemctl(root: Path, *arguments: str) -> None:
    """Tell the systemd that runs here; nothing where it does not."""
    if root == Path("/") and Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", *arguments], check=False)


def _require_systemd(root: Path) -> None:
    from edgecam.daemon.systemd_unit import InstallationError

    if root == Path("/") and shutil.which("systemctl") is None:
        raise InstallationError(
            "no systemd here; under Termux run scripts/termux-install, elsewhere let your "
            "supervisor run edgecam --config FILE"
        )


@command.command("install")
@click.argument("name")
@click.option(
    "-m",
    "--model",
    multiple=True,
    shell_complete=a_model,
    help="File or bundled name; what suits most where none is given.",
)
@click.option("-s", "--source", help="Camera index, rtsp://, http://, picamera.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings file (TOML), which is copied; in place of the other settings.",
)
@click.option("-b", "--broker", help="mqtt://HOST:1883 or mqtts://HOST:8883.")
@click.option("--username", help="User at the broker.")
@click.option("--password-file", help="File with the broker's password, which is copied.")
@_ROOT
def install(
    name: str,
    model: tuple[str, ...],
    source: str | None,
    config: Path | None,
    broker: str | None,
    username: str | None,
    password_file: str | None,
    root: Path,
) -> None:
    """Write unit and configuration of the camera NAME; all of it or nothing.

    With --config NAME may have several cameras.
    """
    from edgecam.daemon.systemd_install import Layout, planned, write

    given = {"--model": model, "--source": source, "--broker": broker, "--username": username}
    asked = [flag for flag, value in given.items() if value]
    if config is not None and asked:
        raise click.UsageError(f"{asked[0]}: expected it in {config}, which --config names")
    if config is None and source is None:
        raise click.UsageError(
            "Missing option '--source'; --source 0 is the first camera, --config FILE has it all."
        )
    _require_systemd(root)
    layout = Layout(root, _checked(name))
    if config is not None:
        from edgecam.daemon.systemd_house import planned_house

        files = planned_house(layout, config, password_file)
    else:
        flags: dict[str, Any] = {"source.url": source}
        flags |= {"mqtt.url": broker} if broker else {}
        flags |= {"mqtt.username": username} if username else {}
        files = planned(layout, list(model), flags, password_file)
    write(files)
    for file in files:
        say(f"wrote {file.path}")
    _systemctl(root, "daemon-reload")
    say(f"start it, now and at every boot: systemctl enable --now edgecam@{name}")


@command.command("uninstall")
@click.argument("name")
@click.option(
    "--off-broker/--stay-on-broker",
    default=None,
    help="Whether to clear all that the broker retains of it.  [default: asked on a terminal]",
)
@_ROOT
def uninstall(name: str, off_broker: bool | None, root: Path) -> None:
    """Stop the camera NAME and remove everything that install and the service have made.

    What it announced stays on the broker, and so in Home Assistant, unless --off-broker clears it
    first, with the login that is removed then.
    """
    from edgecam.daemon.systemd_install import Layout, remove

    layout = Layout(root, _checked(name))
    house = _house(layout.configuration("toml"))
    offer = None if house is None else _offer(house)
    if off_broker is None and offer is not None and sys.stdin is not None and sys.stdin.isatty():
        off_broker = click.confirm(f"take {name} off the broker and out of Home Assistant too?")
    if layout.unit.exists():
        _systemctl(root, "disable", "--now", layout.unit.name)
    if off_broker and house is not None and offer is not None:
        _take_off(house)
        offer = None
    for path in remove(layout):
        say(f"removed {path}")
    _systemctl(root, "daemon-reload")
    if offer is not None:
        say(offer, err=True)


def _house(configuration: Path) -> House | None:
    """The service's own settings and login; None where there are none, or none of use."""
    from edgecam.settings.load import load_house

    try:
        return load_house([configuration], {}, {}) if configuration.is_file() else None
    except SettingsError:
        return None


def _all(house: House) -> tuple[Settings, ...]:
    return (*house.cameras, house.shared) if house.has_several else house.cameras


def _offer(house: House) -> str | None:
    from edgecam.homeassistant.removal import offer

    return "\n".join(filter(None, map(offer, _all(house)))) or None


def _take_off(house: House) -> None:
    """
    Raises:
        EdgecamError: the broker cannot be reached, or refuses; nothing was removed.
    """
    from edgecam.core.errors import SinkError
    from edgecam.homeassistant.removal import remove as take_off

    process = house.shared.name if house.has_several else None
    for settings in _all(house):
        try:
            topics = take_off(settings, {}, process)
        except SinkError as error:
            raise SinkError(
                f"{error}; nothing was removed: try again, or leave out --off-broker"
            ) from None
        say(f"{settings.name}: {len(topics)} retained messages cleared")
