"""``edgecam service``: install and remove a camera as a systemd service."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click

from edgecam.cli.completion import a_model
from edgecam.core.errors import SettingsError
from edgecam.core.printable import say

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
        raise SettingsError(f"NAME: expected [a-z0-9_-]{{1,64}}, found {name!r}")
    return name


def _systemctl(root: Path, *arguments: str) -> None:
    """Tell the systemd that runs here; nothing where it does not."""
    if root == Path("/") and Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", *arguments], check=False)


def _require_systemd(root: Path) -> None:
    from edgecam.daemon.systemd_install import InstallationError

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
    required=True,
    shell_complete=a_model,
    help="File or bundled name.",
)
@click.option("-s", "--source", required=True, help="Camera index, rtsp://, http://, picamera.")
@click.option("-b", "--broker", help="mqtt://HOST:1883 or mqtts://HOST:8883.")
@click.option("--username", help="User at the broker.")
@click.option("--password-file", help="File with the broker's password, which is copied.")
@_ROOT
def install(
    name: str,
    model: tuple[str, ...],
    source: str,
    broker: str | None,
    username: str | None,
    password_file: str | None,
    root: Path,
) -> None:
    """Write unit and configuration of the camera NAME; all of it or nothing."""
    from edgecam.daemon.systemd_install import Layout, planned, write

    _require_systemd(root)
    layout = Layout(root, _checked(name))
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
@_ROOT
def uninstall(name: str, root: Path) -> None:
    """Stop the camera NAME and remove everything that install and the service have made."""
    from edgecam.daemon.systemd_install import Layout, remove

    layout = Layout(root, _checked(name))
    offer = _removal(layout.configuration("toml"))
    if layout.unit.exists():
        _systemctl(root, "disable", "--now", layout.unit.name)
    for path in remove(layout):
        say(f"removed {path}")
    _systemctl(root, "daemon-reload")
    if offer is not None:
        say(offer, err=True)


def _removal(configuration: Path) -> str | None:
    """What takes the camera out of Home Assistant; None where it never published."""
    from edgecam.core.errors import SettingsError
    from edgecam.homeassistant.removal import offer
    from edgecam.settings.load import load

    try:
        settings = load(configuration, {}, {}) if configuration.is_file() else None
    except SettingsError:
        return None
    return None if settings is None else offer(settings)
