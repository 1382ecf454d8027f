"""Paths as people write them, and directories of the user who runs edgecam, if there is one.

A service's user need have no home directory: systemd sets no ``HOME`` for a ``DynamicUser``, and
a system without ``libnss-systemd`` knows no such user.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from edgecam.core.errors import SettingsError

# What the unit hides: files below them have to be bound into its view.
HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))


def expanded(text: str, key: str) -> str:
    """A path with ``~`` or ``~USER`` at its beginning replaced by that home directory.

    A file that is called so is taken as it is. ``key`` names the setting or option.

    Raises:
        SettingsError: there is no such user, or no home directory.
    """
    if not text.startswith("~") or os.path.lexists(text):
        return text
    # Unlike Path, this gives back what it cannot expand.
    path = os.path.expanduser(text)
    if path == text:
        user = text[1:].partition("/")[0]
        whose = f"of a user {user!r}" if user else "of this user"
        raise SettingsError(
            f"{key}: {text}: expected a home directory {whose}, found none; write the whole path"
        )
    return path


def hidden_by_the_service(path: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """Why the service does not see ``path`` and what to do; None outside one, or where it does."""
    absolute = path.absolute()
    if not _in_service(environment) or not any(map(absolute.is_relative_to, HIDDEN)):
        return None
    return (
        f"the service's unit hides {absolute.parents[-2]}; move it below /opt, or show it: "
        f"systemctl edit the unit, [Service], BindReadOnlyPaths={absolute}"
    )


def closed_by_the_service(path: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """Why the service may not write to ``path`` and what to do; None outside one."""
    if not _in_service(environment):
        return None
    return hidden_by_the_service(path, environment) or (
        f"the service may write to {environment['STATE_DIRECTORY']} alone; name a directory below "
        f"it, or allow this one: systemctl edit the unit, [Service], ReadWritePaths={path}"
    )


def _in_service(environment: Mapping[str, str]) -> bool:
    return "STATE_DIRECTORY" in environment and "INVOCATION_ID" in environment


def base_directory(
    variable: str, *below_home: str, environment: Mapping[str, str] = os.environ
) -> Path | None:
    """The user's directory that ``variable`` names (XDG), else the one below the home directory.

    None where there is neither.
    """
    if named := environment.get(variable):
        return Path(named)
    try:
        return Path.home().joinpath(*below_home)
    except RuntimeError:
        return None


def state_directory(name: str, environment: Mapping[str, str]) -> Path | None:
    """Where the instance ``name`` keeps what outlasts it: the service's state directory if any.

    None where this user has no home directory either.
    """
    if state := environment.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0])
    base = base_directory("XDG_STATE_HOME", ".local", "state", environment=environment)
    return None if base is None else base / "edgecam" / name


def obstacle(folder: Path) -> str | None:
    """Why nothing can be written there, as far as is known without writing."""
    sandbox = closed_by_the_service(folder)
    nearest = folder
    # Not Path.exists: below a folder that may not be entered it raises.
    while not os.path.exists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not os.path.isdir(nearest):
        return f"{nearest} is no directory"
    if os.access(nearest, os.W_OK | os.X_OK):
        return None
    is_read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
    reason = f"{nearest}: {os.strerror(errno.EROFS if is_read_only else errno.EACCES)}"
    return reason if sandbox is None else f"{reason}; {sandbox}"
