"""MQTT: results while the broker listens, events until it has them, states whenever it returns.

Threads put messages into the outbox; one network thread of our own connects, sends and receives.
Results (QoS 0) are dropped while there is no broker or its socket is full. Events (QoS 1) wait,
in order. Retained states (QoS 1) are sent again on every connection, then ``online``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from edgecam.analysis.counts import Counts
from edgecam.core.board import clock_synced
from edgecam.core.errors import SettingsError, SinkError
from edgecam.core.events import Event, Insight
from edgecam.core.fault_log import FaultLog
from edgecam.core.keypoints import PERSON
from edgecam.core.result import Result
from edgecam.messages.event import event_payload
from edgecam.messages.label_names import slug
from edgecam.messages.result import result_payload, telemetry_payload
from edgecam.messages.schema import MqttReport, Telemetry
from edgecam.messages.topics import Topics
from edgecam.mqtt.address import parse_url, tls_context
from edgecam.mqtt.login import OFFLINE, ONLINE, login
from edgecam.settings.schema import MqttSettings, Settings
from edgecam.sinks.mqtt.delivery import Delivery
from edgecam.sinks.mqtt.name_claim import Claim
from edgecam.sinks.mqtt.network_thread import NetworkThread
from edgecam.sinks.mqtt.outbox import Outbox, RecentResults, RetainedStates
from edgecam.sinks.mqtt.spool import Spool, open_spool

log = logging.getLogger(__name__)

# Between the pipeline and a socket that takes everything at once lie a few results at most.
MAX_WAITING_RESULTS = 32
MAX_WAITING_RESULT_BYTES = 2_000_000
MAX_RESULT_AGE_S = 1.0

MAX_TOPIC_BYTES = 65_535
DRAIN_S = 3.5


class MqttSink:
    """Publishes under ``edgecam/<name>/``; every method may be called from any thread."""

    def __init__(
        self,
        settings: MqttSettings,
        name: str,
        boot_id: str,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Start connecting; an absent broker is no error.

        Raises:
            SettingsError: the URL, a certificate or the password file is no use.
        """
        if settings.url is None:
            raise SettingsError("mqtt.url: expected mqtt://HOST or mqtts://HOST, found nothing")
        self.address = parse_url(settings.url)
        self.topics = Topics(name)
        self._name = name
        self._boot_id = boot_id
        self._max_payload_bytes = settings.max_payload_bytes
        # People who wait for someone want to know of an empty room too.
        self._counts = Counts((PERSON,))
        self._snapshot: bytes | None = None
        self._kept: dict[str, frozenset[str]] = {}
        self._event_sequence = 0
        self._event_lock = threading.Lock()
        self._faults = FaultLog(log)
        events = Outbox(settings.outbox_max_messages, settings.outbox_max_bytes)
        self._delivery = Delivery(
            events,
            RetainedStates(),
            RecentResults(MAX_WAITING_RESULTS, MAX_WAITING_RESULT_BYTES, MAX_RESULT_AGE_S),
            self.topics.availability,
        )
        self._network = NetworkThread(
            self.address,
            login(settings, f"edgecam-{name}-{boot_id}", self.topics.availability, environment),
            tls_context(settings) if self.address.tls else None,
            self._delivery,
            self._faults,
            Claim(name),
        )
        self._spool = open_spool(settings, name, self.topics.event, events, environment)
        self._network.start()

    def publish(self, result: Result) -> None:
        """Send the result if the broker listens now, events and what changed whenever."""
        if result.insight is not None:
            self._publish_insight(result.insight)
        camera = result.frame.camera
        # Of a camera that several workers share none knows what the others have counted.
        changes = self._counts.changes(result) if camera is None else {}
        for label, number in changes.items():
            self.publish_retained(self.topics.count(label), b"%d" % number)
        results = self._delivery.results
        if result.held:
            return
        if not self._network.connected.is_set():
            results.drop()
            return
        now_s = time.monotonic()
        payload = result_payload(result, self._name, self._boot_id, now_s)
        topic = self.topics.result if camera is None else Topics(camera).result
        if self._fits(topic, payload):
            results.put(topic, payload, now_s)
            self._network.wake()

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
            if self._fits(self.topics.event, payload):
                self._delivery.events.put(self.topics.event, payload)
            else:
                self._delivery.events.lose()
        self._network.wake()
        return sequence

    def publish_state(self, setting: str, payload: bytes) -> None:
        """Publish ``state/<setting>``, retained."""
        self.publish_retained(self.topics.state(setting), payload)

    def publish_telemetry(self, telemetry: Telemetry) -> None:
        """Publish telemetry, retained."""
        self.publish_retained(self.topics.telemetry, telemetry_payload(telemetry))

    def publish_retained(self, topic: str, payload: bytes) -> None:
        """Publish on any topic, retained, on change, again on every connection; empty clears it."""
        if self._fits(topic, payload) and self._delivery.states.put(topic, payload):
            self._network.wake()

    def publish_source(self, is_online: bool) -> None:
        """Publish whether the camera delivers, retained."""
        self.publish_retained(self.topics.source, ONLINE if is_online else OFFLINE)

    def publish_snapshot(self, jpeg: bytes, retain: bool) -> None:
        """Send a picture; if not retained then only while the broker listens, as a result."""
        topic = self.topics.snapshot
        if retain:
            self.publish_retained(topic, jpeg)
        elif self._fits(topic, jpeg):
            self._snapshot = jpeg
            self._send_now(topic, jpeg)

    def forget_snapshots(self) -> None:
        """Clear a picture that the broker may have retained when that was asked for."""
        self._snapshot = None
        self.publish_retained(self.topics.snapshot, b"")

    def _send_now(self, topic: str, payload: bytes) -> None:
        if self._network.connected.is_set():
            self._delivery.results.put(topic, payload, time.monotonic())
            self._network.wake()
        else:
            self._delivery.results.drop()

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
        self._delivery.announce_again()
        if self._snapshot is not None:
            self._send_now(self.topics.snapshot, self._snapshot)
        self._network.wake()

    def resend_on(self, birth_topic: str) -> None:
        """Send the states again whenever a client says there that it has started."""

        def born(_topic: str, payload: bytes, retained: bool) -> None:
            # A retained one is old news: on a new connection everything is sent anyway.
            if payload == ONLINE and not retained:
                self.resend_states()

        self.subscribe(birth_topic, born)

    def subscribe(self, topic_filter: str, callback: Callable[[str, bytes, bool], None]) -> None:
        """Call ``callback(topic, payload, retained)`` on the network thread, on each connection.

        It takes the place of an earlier one with the same filter.
        """
        self._network.subscribe(topic_filter, callback)

    def check(self) -> None:
        """Check that the name is this instance's own.

        Raises:
            SinkError: another instance had the name at this broker when this one began.
        """
        if self._network.turned_away is not None:
            raise SinkError(self._network.turned_away)

    def check_reached(self) -> None:
        """Check that anything can have been published.

        Raises:
            SinkError: the broker has never let this instance in.
        """
        if not self._network.connects:
            fault = self._network.fault
            reason = fault.reason if fault else f"{self.address} has not answered"
            raise SinkError(f"nothing was published: {reason}")

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the broker listens; a recording is worth waiting for, a camera is not."""
        return self._network.connected.wait(timeout_s)

    def _fits(self, topic: str, payload: bytes) -> bool:
        """What a broker would refuse, it refuses always, with all that is queued behind it."""
        if len(payload) > self._max_payload_bytes:
            self._delivery.count("too_large")
            self._faults.fault(
                f"large {topic}",
                f"{topic}: a message of {len(payload)} bytes is above mqtt.max_payload_bytes "
                f"({self._max_payload_bytes}) and was dropped",
            )
            return False
        parts = topic.split("/")
        if len(topic) > MAX_TOPIC_BYTES or not all(part and _is_plain(part) for part in parts):
            self._delivery.count("bad_topic")
            self._faults.fault("topic", f"{topic!r} is no topic to publish on; message dropped")
            return False
        return True

    def restart(self, boot_id: str) -> None:
        """Frame numbers begin again under this ``boot_id``; what waits is still sent."""
        self._boot_id = boot_id
        self._counts.forget_models()

    def status(self) -> MqttReport:
        """For telemetry: whether the broker is there, why not, and what waits."""
        fault, limits = self._network.fault, self._network.limits
        oldest_s = self._delivery.events.oldest_s
        return MqttReport(
            state="connected" if self._network.connected.is_set() else "disconnected",
            reason=fault.reason if fault else None,
            protocol=limits.protocol if limits else None,
            limits=limits.words() if limits else (),
            refused=self._delivery.refusals.report(),
            outbox_messages=len(self._delivery.events),
            outbox_bytes=self._delivery.events.size_bytes,
            oldest_waiting_s=None if oldest_s is None else round(oldest_s, 1),
            spool=self._spool.report() if isinstance(self._spool, Spool) else self._spool,
            counters=self.counters(),
        )

    def counters(self) -> Mapping[str, int]:
        """Return the counts since the start, by name."""
        return self._delivery.counters()

    def close(self, drain_s: float = DRAIN_S) -> None:
        """Deliver what waits, publish ``offline``, disconnect; at most ``drain_s`` and one more.

        What is not delivered is in the spool then, where there is one.
        """
        spool = self._spool if isinstance(self._spool, Spool) else None
        if spool is not None:
            spool.hurry()
        self._network.stop(drain_s)
        # Of an instance that has no business here the one that has the name knows nothing.
        is_kept = spool is not None and spool.close(keep=self._network.turned_away is None)
        if left := len(self._delivery.events):
            then = "the next start sends them" if is_kept else "they are lost"
            log.warning("mqtt: stopped with %d events undelivered; %s", left, then)


def _is_plain(part: str) -> bool:
    # Home Assistant's own topics have capitals.
    return part.lower() == slug(part)


def open_sink(settings: Settings, boot_id: str) -> MqttSink:
    """Connect to the broker in the background; announce again when Home Assistant starts.

    Raises:
        SettingsError, SinkError: the URL, a certificate or the password will not do.
    """
    sink = MqttSink(settings.mqtt, settings.name, boot_id)
    if settings.homeassistant.enabled:
        sink.resend_on(settings.homeassistant.birth_topic)
    return sink
