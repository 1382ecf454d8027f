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
    """Why nothing can be written there, as far as can be told without writing."""
    nearest = folder
    # Not Path.exists: below a folder that may not be entered it raises.
    while not os.path.exists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not os.path.isdir(nearest):
        return f"{nearest} is no directory"
    if os.access(nearest, os.W_OK | os.X_OK):
        return None
    is_read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
    return f"{nearest}: {os.strerror(errno.EROFS if is_read_only else errno.EACCES)}"
