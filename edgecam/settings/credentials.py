"""Passwords and tokens: which file each comes from. Nothing else in edgecam reads one."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecam.core.errors import EdgecamError, PageError, SettingsError
from edgecam.core.places import expanded

# What the unit names its credentials: systemd reads their files as root.
PASSWORD_CREDENTIAL = "mqtt-password"
TOKEN_CREDENTIAL = "web-token"
WEBHOOKS_CREDENTIAL = "webhooks"
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
    path = _given(file, "mqtt.password_file", PASSWORD_CREDENTIAL, environment)
    return None if path is None else _read(path, "the broker's password", "mqtt.password_file")


def read_token(file: str | None, environment: Mapping[str, str] = os.environ) -> Password | None:
    """The live page's token in ``file``, else systemd's credential ``web-token``, else None.

    Raises:
        PageError: the file is missing, unreadable, empty, or not one line of UTF-8.
    """
    path = _given(file, "web.token_file", TOKEN_CREDENTIAL, environment)
    return None if path is None else _read(path, "the page's token", "web.token_file", PageError)


def read_read_token(file: str | None) -> Password | None:
    """The token in ``file`` that opens pictures and ``/api`` alone; None without a file.

    Raises:
        PageError: the file is missing, unreadable, empty, or not one line of UTF-8.
    """
    if file is None:
        return None
    path = Path(expanded(file, "web.read_token_file"))
    return _read(path, "the token for reading", "web.read_token_file", PageError)


def read_webhook(
    name: str, file: str | None, environment: Mapping[str, str] = os.environ
) -> Password | None:
    """The URL of a webhook: all of ``file`` or its line NAME URL, else of ``webhooks``.

    ``webhooks`` is systemd's credential. None where a unit's command is given no credentials.

    Raises:
        SettingsError: there is none, or others may read the file.
    """
    path = _credential(WEBHOOKS_CREDENTIAL, environment)
    if file is not None:
        path = Path(expanded(file, "webhook.url_file"))
    elif path is None and "INVOCATION_ID" in environment and not _has_credentials(environment):
        # systemd has some for ExecStart= alone, not for the check before a reload.
        return None
    if path is not None:
        lines, mode = _webhook_lines(path)
        if file is not None and mode & 0o077:
            raise SettingsError(
                f"webhook {name}: {path}: expected a file of mode 600, for its URL is a secret, "
                f"found mode {mode:o}; run chmod 600 on it"
            )
        for line in lines:
            key, _, url = line.partition(" ")
            if key == name or (not url and len(lines) == 1):
                return Password(url.strip() or key, path)
    where = "url_file to name a file" if path is None else f"{path} to have a line"
    raise SettingsError(
        f"webhook {name}: expected {where} with its URL, found none; write the URL alone into a "
        f"file of mode 600 and name it, or for a service {name} URL into /etc/edgecam/NAME.webhooks"
    )


def _has_credentials(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("CREDENTIALS_DIRECTORY"))


def _webhook_lines(path: Path) -> tuple[list[str], int]:
    """The lines of the file that are not empty, and its mode."""
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            data = stream.read(MAX_PASSWORD_BYTES + 1)
    except OSError as error:
        remedy = "fix webhook.url_file"
        if isinstance(error, PermissionError) and "CREDENTIALS_DIRECTORY" in os.environ:
            remedy = "write the line NAME URL into /etc/edgecam/NAME.webhooks in its place"
        raise SettingsError(
            f"{path}: expected a file with a webhook's URL, found: {error.strerror}; {remedy}"
        ) from None
    text = data[:MAX_PASSWORD_BYTES].decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()], mode


def _given(
    file: str | None, key: str, credential: str, environment: Mapping[str, str]
) -> Path | None:
    """The ``file`` that the setting ``key`` names, else systemd's credential, None without both."""
    return _credential(credential, environment) if file is None else Path(expanded(file, key))


def _credential(name: str, environment: Mapping[str, str]) -> Path | None:
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    path = Path(directory) / name
    try:
        # The unit's default, where there is no file of root's, is an empty line.
        return path if path.stat().st_size > 1 else None
    except OSError:
        # None of that name; or closed to this process, as to the check before a reload: systemd
        # gives credentials to ExecStart= alone.
        return None


def _for_service(setting: str) -> str:
    """What to do in a service, whose user is no other's and reads no file of mode 600."""
    suffix = {"mqtt.password_file": "password", "web.token_file": "web-token"}.get(setting)
    if suffix is None:
        return f"let the service's user read it, or fix {setting}"
    return (
        f"move it to /etc/edgecam/NAME.{suffix} (mode 600), which systemd reads for the service, "
        f"and remove {setting}"
    )


def _read(
    path: Path, what: str, setting: str, refusal: type[EdgecamError] = SettingsError
) -> Password:
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(MAX_PASSWORD_BYTES + 2)
    except OSError as error:
        remedy = f"fix {setting}"
        if isinstance(error, PermissionError) and "CREDENTIALS_DIRECTORY" in os.environ:
            remedy = _for_service(setting)
        raise refusal(
            f"{path}: expected a file with {what}, found: {error.strerror}; {remedy}"
        ) from None
    return Password(
        _one_line(data, path, what, refusal), path, _exposure(path, mode, what, setting)
    )


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


def _exposure(path: Path, mode: int, what: str, setting: str) -> str | None:
    if not mode & stat.S_IROTH:
        return None
    in_service = "CREDENTIALS_DIRECTORY" in os.environ
    remedy = _for_service(setting) if in_service else "run chmod 600 on it"
    return f"{path}: everybody on this machine can read {what}; {remedy}"
