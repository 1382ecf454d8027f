"""What a client asks of a broker, what the broker allows, and what is remembered of both."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

MQTT_5, MQTT_3 = 5, 4
DAY_S, HOUR_S = 86_400.0, 3_600.0

# Reason codes of MQTT 5, table 2-6; those of MQTT 3.1.1 are put into these words as well.
MALFORMED, PROTOCOL_ERROR, UNSUPPORTED_VERSION, BAD_CLIENT_ID = 0x81, 0x82, 0x84, 0x85
BAD_LOGIN, NOT_AUTHORIZED, BANNED = 0x86, 0x87, 0x8A
PACKET_TOO_LARGE, QUOTA_EXCEEDED = 0x95, 0x97
NO_RETAIN, NO_QOS = 0x9A, 0x9B
# Reason codes that say nothing of the event itself, but of its topic or of the hour: it waits.
PASSING = (NOT_AUTHORIZED, QUOTA_EXCEEDED)
# With these in a DISCONNECT a broker says that it closes for a message.
CLOSING = (*PASSING, PACKET_TOO_LARGE, NO_RETAIN, NO_QOS)
# Unspecified, implementation specific, packet identifier in use: perhaps not so the next time.
UNCLEAR = (0x80, 0x83, 0x91)

# Fixed header, topic length, number, property length: more than any PUBLISH adds to its topic.
_PUBLISH_EXTRA_BYTES = 16


@dataclass(frozen=True, slots=True)
class Offer:
    """What CONNECT says; ``has_id``: else the broker chooses the client id."""

    version: int = MQTT_5
    will_qos: int = 1
    will_retain: bool = True
    has_id: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker allows on this connection; MQTT 3.1.1 does not say, so: everything."""

    version: int = MQTT_5
    max_packet_bytes: int | None = None
    max_qos: int = 2
    retain: bool = True
    receive_maximum: int = 65_535
    keepalive_s: int | None = None
    client_id: str | None = None

    def allows(self, topic: str, payload: bytes, extra_bytes: int = 0) -> bool:
        """Whether a message is within the broker's Maximum Packet Size."""
        size_bytes = len(topic.encode()) + len(payload) + extra_bytes + _PUBLISH_EXTRA_BYTES
        return self.max_packet_bytes is None or size_bytes <= self.max_packet_bytes

    def words(self) -> list[str]:
        """What is less than usual, for a person."""
        found = []
        if self.max_packet_bytes is not None:
            found.append(f"packets of at most {self.max_packet_bytes} bytes")
        if self.max_qos == 0:
            found.append("QoS 0 only")
        if not self.retain:
            found.append("nothing retained")
        if self.receive_maximum < 20:
            found.append(f"{self.receive_maximum} unacknowledged at a time")
        if self.keepalive_s is not None:
            found.append(f"keep-alive of {self.keepalive_s} s")
        if self.client_id is not None:
            found.append(f"client id {self.client_id!r}")
        return found

    @property
    def protocol(self) -> str:
        """Protocol version as people write it."""
        return "5" if self.version == MQTT_5 else "3.1.1"

    def __str__(self) -> str:
        version = "MQTT 5" if self.version == MQTT_5 else "no MQTT 5, so MQTT 3.1.1 is spoken"
        return ", ".join((version, *self.words()))


class Answer(NamedTuple):
    """What became of a message: ``number`` as ``publish`` gave it; a refusal has a code."""

    number: int
    code: int = 0
    words: str = ""


class Skipped(NamedTuple):
    """A message above the bound that was thrown away unread."""

    topic: str
    size_bytes: int
    retained: bool


class Attempt(Protocol):
    """A connection that was tried."""

    @property
    def offer(self) -> Offer:
        """What the client offered."""
        ...

    @property
    def established(self) -> bool:
        """Whether the broker accepted."""
        ...

    @property
    def code(self) -> int | None:
        """Reason code of the broker's answer, None without an answer."""
        ...

    @property
    def malformed(self) -> bool:
        """Whether the broker's bytes were no MQTT."""
        ...

    @property
    def closed_by_broker(self) -> bool:
        """Whether the broker closed the connection."""
        ...

    @property
    def unanswered(self) -> bool:
        """Whether the time ran out without an answer."""
        ...


class BrokerMemory:
    """Which offer a broker takes, from what it made of earlier ones; MQTT 5 until it refuses it.

    A broker that refuses MQTT 5 is asked for it again with the first connection after a day, one
    that only closed (rumqttd) or said nothing (amqtt) with the first after an hour. A connection
    that works is never given up for it.

    MQTT 3.1.1 has no word for "nothing retained", so a broker of that kind closes where the will is
    to be retained (AWS IoT did). A will that is not is tried then; where that works, the retained
    one is tried once more, since a broker that comes up closes too.
    """

    def __init__(self) -> None:
        self._offer = Offer()
        self._is_certain = False
        # Whether a will that is not retained works has been tried, and whether a retained one has
        # failed since then.
        self._is_plain_will_tried = self._needs_plain_will = False
        self._retry_at_s: float | None = None

    def offer(self) -> Offer:
        """Return what to offer next, by what the broker took before."""
        if self._retry_at_s is not None and time.monotonic() >= self._retry_at_s:
            self._retry_at_s = None
            self._offer = replace(self._offer, version=MQTT_5, will_retain=True)
            self._is_plain_will_tried = self._needs_plain_will = False
        return self._offer

    def learn(self, attempt: Attempt) -> bool:
        """Take in what became of an attempt; True: another offer is worth an attempt at once."""
        if attempt.established:
            return self._doubt(attempt.offer)
        before = self._offer
        code, asked = attempt.code, attempt.offer
        if code == BAD_CLIENT_ID:
            self._offer = replace(asked, has_id=False)
        elif code == NO_RETAIN:
            self._offer = replace(asked, will_retain=False)
        elif code == NO_QOS:
            self._offer = replace(asked, will_qos=0)
        elif asked.version == MQTT_3:
            return self._after_old(attempt)
        elif code in (MALFORMED, PROTOCOL_ERROR, UNSUPPORTED_VERSION) or attempt.malformed:
            self._is_certain = True
            self._fall_back(DAY_S)
        elif attempt.closed_by_broker or attempt.unanswered:
            self._is_certain = False
            self._fall_back(HOUR_S)
        return self._offer != before

    def _doubt(self, worked: Offer) -> bool:
        """Whether an offer that worked is to be compared with a better one."""
        if worked.will_retain:
            self._is_plain_will_tried = self._needs_plain_will = False
        if not self._is_plain_will_tried or self._needs_plain_will:
            return False
        self._offer = replace(worked, will_retain=True)
        self._needs_plain_will = True
        return True

    def _after_old(self, attempt: Attempt) -> bool:
        """MQTT 3.1.1 did no better than MQTT 5."""
        asked = attempt.offer
        if attempt.closed_by_broker and asked.will_retain:
            self._is_plain_will_tried = True
            self._offer = replace(asked, will_retain=False)
            return True
        if attempt.closed_by_broker or attempt.unanswered or not self._is_certain:
            # A broker of MQTT 5 alone, or one that is on its way up.
            self._offer = replace(asked, version=MQTT_5, will_retain=True)
            self._is_plain_will_tried = self._needs_plain_will = False
        return False

    def _fall_back(self, for_s: float) -> None:
        self._offer = replace(self._offer, version=MQTT_3)
        self._retry_at_s = time.monotonic() + for_s
