"""Passwords and tokens: which file each comes from. Nothing else in edgecam reads one."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecam.core.errors import EdgecamError, PageError, SettingsError
from edgecam.core.places import expanded

CREDENTIAL_NAME = "mqtt-password"
MAX_PASSWORD_BYTES = 65_535  # the length field of an MQTT string (MQTT 3.1.1, 1.5.3)


@dataclass(frozen=True, slots=True)
class Password:
    """A password with the file it came from; neither ``repr`` nor ``str`` shows it.

    ``warning`` is a line for the log when others may read that file.
    """

    secret: str
    path: Path
    warning: str | None = None

    def __repr__(self) -> str:
        return f"Password(path={str(self.path)!r})"

    __str__ = __repr__


def read_password(file: str | None, environment: Mapping[str, str] = os.environ) -> Password | None:
    """The password in ``file``, else systemd's credential ``mqtt-password``, else None.

    One trailing newline is not part of it.

    Raises:
        SettingsError: the file is named but missing, unreadable, empty, or not one line of UTF-8.
    """
    if file is not None:
        path = Path(expanded(file, "mqtt.password_file"))
    elif directory := environment.get("CREDENTIALS_DIRECTORY"):
        path = Path(directory) / CREDENTIAL_NAME
        # The unit's default for a password that nobody gave is an empty line.
        if not path.exists() or path.stat().st_size <= 1:
            return None
    else:
        return None
    return _read(path, "the broker's password", "mqtt.password_file")


def read_token(file: str) -> Password:
    """The live page's token in ``file``.

    Raises:
        PageError: the file is missing, unreadable, empty, or not one line of UTF-8.
    """
    path = Path(expanded(file, "web.token_file"))
    return _read(path, "the page's token", "web.token_file", PageError)


def _read(
    path: Path, what: str, setting: str, refusal: type[EdgecamError] = SettingsError
) -> Password:
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(MAX_PASSWORD_BYTES + 2)
    except OSError as error:
        raise refusal(
            f"{path}: expected a file with {what}, found: {error.strerror}; mend {setting}"
        ) from None
    return Password(_one_line(data, path, what, refusal), path, _exposure(path, mode, what))


def _one_line(data: bytes, path: Path, what: str, refusal: type[EdgecamError]) -> str:
    try:
        secret = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        secret = ""
    if not secret or "\n" in secret or "\0" in secret or len(data) > MAX_PASSWORD_BYTES:
        raise refusal(
            f"{path}: expected one line of UTF-8 text ({what}), "
            f"found {len(data)} bytes that are none; write it alone into the file"
        )
    return secret


def _exposure(path: Path, mode: int, what: str) -> str | None:
    if not mode & stat.S_IROTH:
        return None
    return f"{path}: everybody on this machine can read {what}; run chmod 600 on it"
