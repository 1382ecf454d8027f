"""What the broker passes on of the instance's own topics: its limits, and its access rules."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

from edgecam.core.errors import SinkError
from edgecam.homeassistant.discovery import discovery_filter
from edgecam.messages.topics import Topics
from edgecam.mqtt.connection import Connection
from edgecam.mqtt.login import ONLINE
from edgecam.settings.schema import Settings
from edgecam.tools.doctor.finding import Finding, fail, ok, warn

# How long is waited for a message that the broker sends at once if it has it.
LISTEN_S = 2.0
# An event of the longest names; a message of discovery is somewhat larger.
SMALLEST_BYTES = 2_000
SNAPSHOT_BYTES = 262_144


class Visit:
    """One connection to the broker, as a visitor who listens for a moment."""

    def __init__(self, settings: Settings) -> None:
        from edgecam.mqtt.subscriber import connect

        self.heard: dict[str, bytes] = {}
        self.refused: dict[str, str] = {}
        self._sent: dict[int, str] = {}
        self._errors: list[BaseException] = []
        self._wake = socket.socketpair()
        self.connection: Connection = connect(
            settings.mqtt, self._hear, self._errors.append, self._wake[0]
        )

    def _hear(self, topic: str, payload: bytes, retained: bool) -> None:
        del retained
        self.heard[topic] = payload

    def say(self, topic: str, payload: bytes = b"") -> None:
        """Publish, with QoS 1; what becomes of it is in ``heard`` or ``refused`` later."""
        self._sent[self.connection.publish(topic, payload, 1, False)] = topic

    def listen(self, topics: set[str]) -> None:
        """Until all of ``topics`` were heard, but not for long.

        Raises:
            SinkError: the connection is lost.
        """
        until_s = time.monotonic() + LISTEN_S
        while topics - self.heard.keys() and time.monotonic() < until_s:
            if self.connection.fault is not None:
                raise SinkError(self.connection.fault.reason, self.connection.fault.kind)
            self.connection.step(0.1, self._wake[0])
            while self.connection.acknowledged:
                answer = self.connection.acknowledged.popleft()
                if answer.code:
                    self.refused[self._sent.get(answer.number, "")] = answer.words

    def close(self) -> None:
        """Close the connection."""
        self.connection.finish()
        for end in self._wake:
            end.close()


def limits(settings: Settings, connection: Connection) -> Finding:
    """What the broker allows, and whether edgecam's messages fit."""
    found, bound = connection.limits, connection.limits.max_packet_bytes
    if bound is not None and bound < SMALLEST_BYTES:
        remedy = f"let the broker take packets of {SMALLEST_BYTES} bytes at least"
        return fail("broker", f"{found}: events do not fit", remedy)
    if settings.snapshot.mode != "off" and bound is not None and bound < SNAPSHOT_BYTES:
        remedy = "raise the broker's limit, or lower snapshot.width_px and snapshot.quality"
        return warn("broker", f"{found}: a snapshot may not fit", remedy)
    if found.max_qos == 0:
        return warn("broker", str(found), "let the broker take QoS 1: events are sent with it")
    if not found.retain:
        remedy = "let the broker retain messages: who subscribes later sees no state before"
        return warn("broker", str(found), remedy)
    return ok("broker", str(found))


def passing_on(settings: Settings, visit: Visit) -> Iterator[Finding]:
    """Whether what edgecam publishes comes back, by an empty message on each kind of topic.

    Where the instance runs, its own word is taken instead: its topics are in use.
    """
    topics = Topics(settings.name)
    echo, birth = f"{topics.base}/doctor", settings.homeassistant.birth_topic
    wanted = {echo, birth} if settings.homeassistant.enabled else {echo}
    for topic in sorted(wanted | {topics.availability, topics.telemetry}):
        visit.connection.subscribe(topic)
    visit.say(echo, b"1")
    visit.listen(wanted)
    if echo not in visit.heard:
        yield _held_back(echo, f"{topics.base}/#", visit)
        return
    yield ok("broker", f"passes on what is published below {topics.base}/")
    if visit.heard.get(topics.availability) == ONLINE:
        yield from _reported(visit.heard.get(topics.telemetry, b""))
        return
    tried = {topics.event: topics.event, topics.result: topics.result}
    if settings.homeassistant.enabled:
        probe = discovery_filter(settings.name, settings.homeassistant)
        probe = probe.replace("+", "sensor", 1).replace("+", "doctor", 1)
        tried[probe] = f"{settings.homeassistant.prefix}/#"
    for topic in tried:
        visit.connection.subscribe(topic)
        visit.say(topic)
    visit.listen(set(tried))
    for topic, rule in tried.items():
        if topic not in visit.heard:
            yield _held_back(topic, rule, visit)


def _held_back(topic: str, rule: str, visit: Visit) -> Finding:
    why = f" ({visit.refused[topic]})" if topic in visit.refused else ""
    text = f"what is published on {topic} does not come back{why}"
    return fail("broker", text, f"let this user read and write {rule} (the broker's ACL)")


def _reported(telemetry: bytes) -> Iterator[Finding]:
    """What the running instance says that the broker does not take."""
    try:
        stated = json.loads(telemetry)["mqtt"]["refused"]
        refused = [(str(item["topic"]), str(item["reason"])) for item in stated]
    except (ValueError, TypeError, LookupError):
        return
    for topic, reason in refused:
        text = f"the running instance says of {topic!r}: {reason!r}"
        remedy = f"let this user write {topic!r} (the broker's ACL), or raise the broker's limit"
        yield fail("broker", text, remedy)
