"""The unit of a service: the shipped one with the program, groups and paths of this system."""

from __future__ import annotations

import grp
import re
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from edgecam.core.errors import EdgecamError
from edgecam.core.places import HIDDEN
from edgecam.inference import catalog as bundled
from edgecam.settings.schema import Settings
from edgecam.sources import kinds as sources
from edgecam.sources.local_path import path_of

PACKAGE = Path(__file__).parent.parent
SHIPPED_START = "/usr/bin/env edgecam --config /etc/edgecam/%i.toml"
# From this version on systemd waits longer after each start that fails, 5 minutes at most.
GROWING_DELAYS = 254
GROWING = "RestartSteps=6\nRestartMaxDelaySec=300"


class InstallationError(EdgecamError):
    """A service cannot be installed or removed as asked."""

    page = "service"


def shipped(name: str) -> str:
    """A file of ``systemd/`` as it is shipped.

    Raises:
        InstallationError: the installation lacks it.
    """
    places = (PACKAGE / "data" / "systemd", PACKAGE.parent / "systemd")
    found = next((place / name for place in places if (place / name).is_file()), None)
    if found is None:
        raise InstallationError(f"systemd/{name} is missing; install edgecam again")
    return found.read_text("utf-8")


def _path(path: Path) -> str:
    """One of a unit's paths, as BindReadOnlyPaths= takes it apart twice (systemd.exec(5)).

    Raises:
        InstallationError: it cannot be written in a unit.
    """
    text = _in_unit(str(path))
    # Quoted, a second pair of quotes or a colon within would count.
    return re.sub(r"""[\s"'\\:]""", r"\\\g<0>", text)


def _in_unit(text: str) -> str:
    """``text`` for a line of a unit, its words not yet quoted."""
    if not text.isprintable():
        raise InstallationError(
            f"expected a path that a unit can name, found a line break or another character that "
            f"cannot be printed in {text!r}; rename it, or move it"
        )
    return text.replace("%", "%%")


def _program() -> str:
    """What ExecStart= begins with: edgecam as it is installed here.

    Raises:
        InstallationError: systemd starts nothing by that path.
    """
    script = Path(sys.executable).with_name("edgecam")
    words = [str(script)] if script.is_file() else [sys.executable, "-m", "edgecam"]
    found = re.search(r"""["'\\$]""", words[0])
    if found is not None:
        raise InstallationError(
            f"expected a path that systemd can start, found {found[0]} in {words[0]}; move the "
            "virtual environment"
        )
    return " ".join(
        [f'"{_in_unit(words[0])}"' if " " in words[0] else _in_unit(words[0]), *words[1:]]
    )


def _systemd_version() -> int | None:
    """The version of the systemd here, None where it does not say."""
    try:
        done = subprocess.run(
            ["systemctl", "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else None


def check_readable() -> None:
    """Refuse an installation that the service's user, who shares no group with it, cannot run.

    Raises:
        InstallationError: a folder or file of it is closed to other users.
    """
    prefix, script = Path(sys.prefix), Path(sys.executable).with_name("edgecam")
    for path in (prefix, prefix / "bin", script, Path(sys.executable), PACKAGE, Path(__file__)):
        if not path.exists():
            continue
        wanted = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or path == script else 0)
        if path.stat().st_mode & wanted != wanted:
            raise InstallationError(
                f"expected an installation that every user may run, found {path} of mode "
                f"{stat.S_IMODE(path.stat().st_mode):o}; the service runs as a user of its own: "
                f"chmod -R a+rX {prefix}"
            )


def _needed(settings: Settings) -> Iterable[Path]:
    yield from (Path(sys.prefix), Path(sys.base_prefix), PACKAGE.parent)
    for model in settings.model:
        yield bundled.resolve(model.path).absolute()
        if model.labels:
            yield Path(model.labels).absolute()
    if settings.refine is not None:
        yield bundled.resolve(settings.refine).absolute()
    if not sources.kind_of(settings.source.url).live:
        path = Path(path_of(settings.source.url)).absolute()
        if path.exists():
            yield path


def unit(*cameras: Settings) -> str:
    """Return the unit of a service of these cameras."""
    text = shipped("edgecam@.service")
    text = text.replace(SHIPPED_START, f"{_program()} --config /etc/edgecam/%i.toml")
    if (_systemd_version() or 0) >= GROWING_DELAYS:
        text = text.replace("RestartSec=10\n", f"RestartSec=10\n{GROWING}\n")
    wanted = {"video", "render", "plugdev"}
    groups = sorted(wanted & {group.gr_name for group in grp.getgrall()})
    # A group that this system does not have would keep the service from starting.
    text = text.replace("Groups=video render plugdev", f"Groups={' '.join(groups)}")
    needed = [path for each in cameras for path in _needed(each)]
    hidden = [p for p in needed if any(p.is_relative_to(place) for place in HIDDEN)]
    if hidden:
        paths = " ".join(map(_path, dict.fromkeys(hidden)))
        text = text.replace("ProtectHome=yes", f"ProtectHome=tmpfs\nBindReadOnlyPaths={paths}")
    return text
