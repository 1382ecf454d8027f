"""How to introduce oneself to a broker: the client id, the user, the will."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

from edgecam.core.errors import SettingsError
from edgecam.settings.credentials import read_password
from edgecam.settings.schema import MqttSettings

ONLINE = b"online"
OFFLINE = b"offline"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Login:
    """How to introduce oneself; ``repr`` does not show the password. No topic, no will.

    ``retain``: whether anything is to be retained, the will included.
    """

    client_id: str
    username: str | None
    password: str | None
    will_topic: str | None
    will_payload: bytes
    keepalive_s: int
    retain: bool = True

    def __repr__(self) -> str:
        return f"Login({self.client_id!r})"


def login(
    settings: MqttSettings,
    client_id: str,
    will_topic: str | None,
    environment: Mapping[str, str] = os.environ,
) -> Login:
    """The login that the settings ask for, with ``offline`` as the will if there is a topic.

    Raises:
        SettingsError: the password cannot be read, or has no user.
    """
    password = read_password(settings.password_file, environment)
    if password is not None and settings.username is None:
        raise SettingsError(
            f"mqtt.username: expected a user name to go with the password in {password.path}"
        )
    if password is not None and password.warning:
        log.warning("%s", password.warning)
    return Login(
        client_id=client_id,
        username=settings.username,
        password=password.secret if password else None,
        will_topic=will_topic,
        will_payload=OFFLINE,
        keepalive_s=settings.keepalive_s,
        retain=settings.retain,
    )
