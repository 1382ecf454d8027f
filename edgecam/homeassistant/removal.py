"""Takes an instance off a broker: everything of its that is retained there is cleared."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from edgecam.core.errors import SinkError
from edgecam.homeassistant.discovery import discovery_filter
from edgecam.messages.topics import Topics
from edgecam.mqtt.connection import Connection
from edgecam.mqtt.subscriber import connect
from edgecam.settings.schema import Settings

# A broker sends what it retains at once; this long without any of it means that it was all.
QUIET_S = 1.0
LONGEST_S = 30.0


def offer(settings: Settings) -> str | None:
    """Return a line that says how the instance is taken off the broker; None if it is on none."""
    if settings.mqtt.url is None or not settings.homeassistant.enabled:
        return None
    login = f" --username {settings.mqtt.username}" if settings.mqtt.username else ""
    login += " --password-file FILE" if settings.mqtt.username else ""
    return (
        f"the broker, and so Home Assistant, keeps {settings.name}; to take it off: edgecam "
        f"discovery --remove --name {settings.name} --broker {settings.mqtt.url}{login}"
    )


def remove(
    settings: Settings,
    environment: Mapping[str, str] = os.environ,
    process: str | None = None,
) -> list[str]:
    """Clear the discovery messages and the states of the instance; returns their topics.

    ``process``: the one that the camera shares with others, which says whether it is running.

    Raises:
        SettingsError: the broker's settings are no use.
        SinkError: the broker cannot be reached, or the instance is running.
    """
    topics = Topics(settings.name)
    availability = Topics(process or settings.name).availability
    found: dict[str, bytes] = {}
    heard_s = time.monotonic()

    def note(topic: str, payload: bytes, retained: bool) -> None:
        nonlocal heard_s
        if retained and payload:
            found[topic], heard_s = payload, time.monotonic()

    errors: list[BaseException] = []
    wake, other_end = socket.socketpair()
    with wake, other_end:
        connection = connect(settings.mqtt, note, errors.append, wake, environment)
        began_s = heard_s = time.monotonic()
        for topic_filter in (
            discovery_filter(settings.name, settings.homeassistant),
            f"{topics.base}/#",
            availability,
        ):
            connection.subscribe(topic_filter)
        # A running instance talks all the time: only what is retained counts.
        while time.monotonic() < min(heard_s + QUIET_S, began_s + LONGEST_S):
            _step(connection, wake, errors)
        if found.get(availability) == b"online":
            connection.finish()
            raise SinkError(
                f"{settings.name} is running: expected it to be stopped before its entities are "
                f"removed; run: systemctl disable --now edgecam@{process or settings.name}"
            )
        if process not in (None, settings.name):
            # That goes with the process itself.
            found.pop(availability, None)
        # Entities first: without their states they would be a moment unknown.
        order = sorted(found, key=lambda topic: (topic.startswith(topics.base), topic))
        _clear(connection, order, wake, errors)
    return order


def _step(connection: Connection, wake: socket.socket, errors: list[BaseException]) -> None:
    connection.step(0.1, wake)
    if errors:
        raise errors[0]
    if connection.fault is not None:
        raise SinkError(connection.fault.reason)


def _clear(
    connection: Connection, topics: list[str], wake: socket.socket, errors: list[BaseException]
) -> None:
    for topic in topics:
        while not connection.writable:
            _step(connection, wake, errors)
        connection.publish(topic, b"", 1, True)
    until_s = time.monotonic() + LONGEST_S
    while len(connection.acknowledged) < len(topics):
        if time.monotonic() > until_s:
            raise SinkError("the broker does not acknowledge; run the command again")
        _step(connection, wake, errors)
    connection.finish()
