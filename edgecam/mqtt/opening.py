"""Opens connections to a broker: the answer to CONNECT, and when to try again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from edgecam.mqtt.address import BrokerAddress, Fault
from edgecam.mqtt.connection import Connection
from edgecam.mqtt.terms import BrokerMemory, Offer

# Version, will and client id may each be refused once, and the will is tried twice.
MAX_ATTEMPTS = 6
# For TCP and TLS, and for the answer to CONNECT.
OPEN_TIMEOUT_S = 4.0
CONNACK_TIMEOUT_S = 5.0
# A broker that comes back is used within 5 s; trying is cheap.
BACKOFF_S = (1.0, 2.0, 3.0)
# Certificates and passwords are fixed by people: at most two attempts a minute.
BACKOFF_PERSON_S = 31.0

Kind = TypeVar("Kind", bound=Connection)


def establish(
    address: BrokerAddress,
    memory: BrokerMemory,
    make: Callable[[Offer], Kind],
    step: Callable[[Kind], None],
    is_given_up: Callable[[], bool] = lambda: False,
    timeouts_s: tuple[float, float] | None = None,
) -> Kind:
    """Return a connection that is established, or has a fault.

    It speaks MQTT 5, or what the broker says instead that it takes. ``timeouts_s``: for TCP and
    TLS, and for the answer to CONNECT. ``step`` lets a connection read and write for a moment.
    """
    open_s, answer_s = timeouts_s or (OPEN_TIMEOUT_S, CONNACK_TIMEOUT_S)
    for _ in range(MAX_ATTEMPTS):
        connection = make(memory.offer())
        connection.open(open_s)
        until_s = time.monotonic() + answer_s
        while connection.fault is None and not connection.established:
            if time.monotonic() > until_s or is_given_up():
                connection.unanswered = not is_given_up()
                text = f"{address}: no answer to CONNECT; is it a broker?"
                connection.give_up(Fault("network", text))
            else:
                step(connection)
        if not memory.learn(connection) or is_given_up():
            break
        if connection.established:
            connection.finish()
    return connection


def is_passing(fault: Fault, has_connected: bool) -> bool:
    """Whether a fault may go away by itself; TLS that worked once may work again."""
    return fault.kind == "network" or (fault.kind == "handshake" and has_connected)


def backoff_s(failures: int, passing: bool) -> float:
    """Seconds until the next attempt, after ``failures`` in a row before this one."""
    if not passing:
        return BACKOFF_PERSON_S
    return BACKOFF_S[min(failures, len(BACKOFF_S) - 1)] * random.uniform(0.8, 1.2)
