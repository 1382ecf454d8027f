"""A bound on what comes in: a flood on a topic keeps no event from going out."""

from __future__ import annotations

import time
from dataclasses import dataclass

from edgecam.core.fault_log import FaultLog
from edgecam.sinks.mqtt.delivery import Delivery

# A second; no person changes a setting as often.
MAX_HZ = 50


@dataclass(slots=True)
class _Second:
    begins_s: float = 0.0
    number: int = 0


class Flood:
    """Counts the messages of every subscription, and lets ``MAX_HZ`` of each through."""

    def __init__(self, delivery: Delivery, faults: FaultLog) -> None:
        self._delivery = delivery
        self._faults = faults
        self._seconds: dict[str, _Second] = {}

    def lets(self, topic_filter: str) -> bool:
        """Whether this message is looked at; the others are counted and said."""
        now_s = time.monotonic()
        second = self._seconds.setdefault(topic_filter, _Second())
        if now_s - second.begins_s >= 1.0:
            second.begins_s, second.number = now_s, 0
        second.number += 1
        if second.number <= MAX_HZ:
            return True
        self._delivery.count("received_too_many")
        self._faults.fault(
            f"flood {topic_filter}",
            f"{topic_filter}: more than {MAX_HZ} messages a second; the others are dropped",
        )
        return False
