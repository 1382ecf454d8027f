"""MQTT: results while the broker listens, events until it has them, states whenever it returns.

Threads put messages into the outbox; one network thread of our own connects, sends and receives.
Results (QoS 0) are dropped while there is no broker or its socket is full. Events (QoS 1) wait,
in order. Retained states (QoS 1) are sent again on every connection, then ``online``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from edgecam.analysis.counts import Counts
from edgecam.core.board import clock_synced
from edgecam.core.events import Event, Insight
from edgecam.core.keypoints import PERSON
from edgecam.core.result import Result
from edgecam.messages.event import event_payload
from edgecam.messages.result import result_payload
from edgecam.messages.telemetry import MqttReport, Telemetry, telemetry_payload
from edgecam.messages.topics import Topics
from edgecam.mqtt.login import OFFLINE, ONLINE
from edgecam.settings.schema import MqttSettings, Settings
from edgecam.sinks.mqtt.link import DRAIN_S, Link


class MqttSink:
    """Publishes under ``edgecam/<name>/``; every method may be called from any thread.

    ``link`` is the connection that cameras of one process share; None: one of its own.
    """

    def __init__(
        self,
        settings: MqttSettings,
        name: str,
        boot_id: str,
        environment: Mapping[str, str] = os.environ,
        link: Link | None = None,
    ) -> None:
        """Start connecting; an absent broker is no error.

        Raises:
            SettingsError: the URL, a certificate or the password file is no use.
        """
        self.link = link or Link(settings, name, boot_id, environment=environment)
        self._is_shared = link is not None
        self.address = self.link.address
        self.topics = Topics(name)
        self._name = name
        self._boot_id = boot_id
        # People who wait for someone want to know of an empty room too.
        self._counts = Counts((PERSON,))
        self._snapshot: bytes | None = None
        self._kept: dict[str, frozenset[str]] = {}
        self._event_sequence = 0
        self._event_lock = threading.Lock()
        if self._is_shared and name != self.link.name:
            self.publish_retained(self.topics.availability, ONLINE)

    def publish(self, result: Result) -> None:
        """Send the result if the broker listens now, events and what changed whenever."""
        if result.insight is not None:
            self._publish_insight(result.insight)
        camera = result.frame.camera
        # Of a camera that several workers share none knows what the others have counted.
        changes = self._counts.changes(result) if camera is None else {}
        for label, number in changes.items():
            self.publish_retained(self.topics.count(label), b"%d" % number)
        results = self.link.delivery.results
        if result.held:
            return
        if not self.link.is_connected:
            results.drop()
            return
        now_s = time.monotonic()
        payload = result_payload(result, self._name, self._boot_id, now_s)
        topic = self.topics.result if camera is None else Topics(camera).result
        if self.link.fits(topic, payload):
            results.put(topic, payload, now_s)
            self.link.wake()

    def _publish_insight(self, insight: Insight) -> None:
        for event in insight.events:
            self.publish_event(event)
        now = {
            self.topics.zone_count(zone, label): b"%d" % number
            for zone, counts in insight.zone_counts.items()
            for label, number in counts.items()
        }
        if insight.posture is not None:
            now[self.topics.posture] = insight.posture.encode()
        if insight.label is not None:
            now[self.topics.classification] = insight.label.encode()
        for topic, payload in now.items():
            self.publish_retained(topic, payload)

    def publish_event(self, event: Event) -> int:
        """Queue an event until the broker has it; returns its ``sequence``, counted from 0."""
        with self._event_lock:
            sequence = self._event_sequence
            self._event_sequence += 1
            payload = event_payload(event, self._name, self._boot_id, sequence, clock_synced())
            if self.link.fits(self.topics.event, payload):
                self.link.delivery.events.put(self.topics.event, payload)
            else:
                self.link.delivery.events.lose()
        self.link.wake()
        return sequence

    def publish_state(self, setting: str, payload: bytes) -> None:
        """Publish ``state/<setting>``, retained."""
        self.publish_retained(self.topics.state(setting), payload)

    def publish_telemetry(self, telemetry: Telemetry) -> None:
        """Publish telemetry, retained."""
        self.publish_retained(self.topics.telemetry, telemetry_payload(telemetry))

    def publish_retained(self, topic: str, payload: bytes) -> None:
        """Publish on any topic, retained, on change, again on every connection; empty clears it."""
        self.link.publish_retained(topic, payload)

    def publish_source(self, is_online: bool) -> None:
        """Publish whether the camera delivers, retained."""
        self.publish_retained(self.topics.source, ONLINE if is_online else OFFLINE)

    def publish_snapshot(self, jpeg: bytes, retain: bool) -> None:
        """Send a picture; if not retained then only while the broker listens, as a result."""
        topic = self.topics.snapshot
        if retain:
            self.publish_retained(topic, jpeg)
        elif self.link.fits(topic, jpeg):
            self._snapshot = jpeg
            self._send_now(topic, jpeg)

    def forget_snapshots(self) -> None:
        """Clear a picture that the broker may have retained when that was asked for."""
        self._snapshot = None
        self.publish_retained(self.topics.snapshot, b"")

    def _send_now(self, topic: str, payload: bytes) -> None:
        if self.link.is_connected:
            self.link.delivery.results.put(topic, payload, time.monotonic())
            self.link.wake()
        else:
            self.link.delivery.results.drop()

    def name_labels(self, parts: Mapping[str, str]) -> None:
        """Publish the counts of labels under these parts of topics, by the labels' keys."""
        self.topics = replace(self.topics, parts=parts)

    def count_nothing(self) -> None:
        """No model of the run counts: 0 would be a claim."""
        self._counts = Counts()

    def expect(self, labels: Iterable[str]) -> None:
        """Count these from the next result on, even if there are none."""
        self._counts.expect(labels)

    def keep_only(self, topic_filter: str, wanted: Iterable[str]) -> None:
        """Clear whatever is retained under the filter, by this run or an earlier one, but this."""
        before, now = self._kept.get(topic_filter), frozenset(wanted)
        self._kept[topic_filter] = now
        if before is None:
            self.subscribe(topic_filter, lambda *message: self._sweep(topic_filter, *message))
        for topic in (before or frozenset()) - now:
            self.publish_retained(topic, b"")

    def _sweep(self, topic_filter: str, topic: str, payload: bytes, retained: bool) -> None:
        if retained and payload and topic not in self._kept[topic_filter]:
            self.publish_retained(topic, b"")

    def resend_states(self) -> None:
        """Send every retained state, ``online`` and the last picture once more."""
        self.link.delivery.announce_again()
        if self._snapshot is not None:
            self._send_now(self.topics.snapshot, self._snapshot)
        self.link.wake()

    def resend_on(self, birth_topic: str) -> None:
        """Send the states again whenever a client says there that it has started."""
        self.link.resend_on(birth_topic, self._name, self.resend_states)

    def subscribe(self, topic_filter: str, callback: Callable[[str, bytes, bool], None]) -> None:
        """Call ``callback(topic, payload, retained)`` on the network thread, on each connection.

        It takes the place of an earlier one with the same filter.
        """
        self.link.subscribe(topic_filter, self._name, callback)

    def check(self) -> None:
        """Check that the name is this instance's own.

        Raises:
            SinkError: another instance had the name at this broker when this one began.
        """
        self.link.check()

    def check_reached(self) -> None:
        """Check that anything can have been published.

        Raises:
            SinkError: the broker has never let this instance in.
        """
        self.link.check_reached()

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the broker listens; a recording is worth waiting for, a camera is not."""
        return self.link.wait_connected(timeout_s)

    def restart(self, boot_id: str) -> None:
        """Frame numbers begin again under this ``boot_id``; what waits is still sent."""
        self._boot_id = boot_id
        self._counts.forget_models()

    def status(self) -> MqttReport:
        """For telemetry: whether the broker is there, why not, and what waits."""
        return self.link.status()

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return self.link.delivery.counters()

    def close(self, drain_s: float = DRAIN_S) -> None:
        """Say ``offline``; a connection of its own delivers what waits and ends.

        That takes at most ``drain_s`` and one second more.
        """
        if self._is_shared:
            self.link.leave(self._name)
            self.publish_retained(self.topics.availability, OFFLINE)
        else:
            self.link.close(drain_s)


def open_sink(settings: Settings, boot_id: str, link: Link | None = None) -> MqttSink:
    """Connect to the broker in the background; announce again when Home Assistant starts.

    Raises:
        SettingsError, SinkError: the URL, a certificate or the password will not do.
    """
    sink = MqttSink(settings.mqtt, settings.name, boot_id, link=link)
    if settings.homeassistant.enabled:
        sink.resend_on(settings.homeassistant.birth_topic)
    return sink
