"""Gets a broker to answer: MQTT 5, or what it says instead that it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from edgecam.mqtt.address import BrokerAddress, Fault
from edgecam.mqtt.connection import Connection
from edgecam.mqtt.terms import BrokerMemory, Offer

# Version, will and client id may each be refused once.
MAX_ATTEMPTS = 5

Kind = TypeVar("Kind", bound=Connection)


def establish(
    address: BrokerAddress,
    memory: BrokerMemory,
    make: Callable[[Offer], Kind],
    timeouts_s: tuple[float, float],
    step: Callable[[Kind], None],
    is_given_up: Callable[[], bool] = lambda: False,
) -> Kind:
    """A connection that is established, or has a fault.

    ``timeouts_s``: for TCP and TLS, and for the answer to CONNECT. ``step`` lets a connection
    read and write for a moment.
    """
    for _ in range(MAX_ATTEMPTS):
        connection = make(memory.offer())
        connection.open(timeouts_s[0])
        until_s = time.monotonic() + timeouts_s[1]
        while connection.fault is None and not connection.established:
            if time.monotonic() > until_s or is_given_up():
                connection.unanswered = not is_given_up()
                text = f"{address}: no answer to CONNECT; is it a broker?"
                connection.give_up(Fault("network", text))
            else:
                step(connection)
        if not memory.learn(connection) or is_given_up():
            break
    return connection
