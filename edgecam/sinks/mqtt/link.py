"""A process' one connection to the broker, and what waits for it; cameras share it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from edgecam.core.errors import SettingsError, SinkError
from edgecam.core.fault_log import FaultLog
from edgecam.messages.label_names import slug
from edgecam.messages.telemetry import MqttReport
from edgecam.messages.topics import Topics
from edgecam.mqtt.address import parse_url, tls_context
from edgecam.mqtt.connection import MessageCallback
from edgecam.mqtt.login import ONLINE, login
from edgecam.settings.schema import MqttSettings
from edgecam.sinks.mqtt.delivery import Delivery
from edgecam.sinks.mqtt.name_claim import CONTEST_S, Claim
from edgecam.sinks.mqtt.network_thread import NetworkThread
from edgecam.sinks.mqtt.outbox import Outbox, RecentResults, RetainedStates
from edgecam.sinks.mqtt.spool import Spool, open_spool
from edgecam.sinks.mqtt.suspects import Suspects

# Between the pipeline and a socket that takes everything at once lie a few results at most.
MAX_WAITING_RESULTS = 32
MAX_WAITING_RESULT_BYTES = 2_000_000
MAX_RESULT_AGE_S = 1.0

MAX_TOPIC_BYTES = 65_535
DRAIN_S = 3.5
JOIN_STEP_S = 0.1

log = logging.getLogger(__name__)


class _Named(msgspec.Struct, frozen=True):
    """The camera that an event is of."""

    name: str


class Link:
    """Publishes for the process ``name`` and its ``cameras``; methods are safe from any thread.

    The will, and ``online`` as the last of what a connection begins with, are on the process' own
    availability. Without ``cameras`` the process is a camera itself.
    """

    def __init__(
        self,
        settings: MqttSettings,
        name: str,
        boot_id: str,
        cameras: Sequence[str] = (),
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Start connecting; an absent broker is no error.

        Raises:
            SettingsError: the URL, a certificate or the password file is no use.
        """
        if settings.url is None:
            raise SettingsError("mqtt.url: expected mqtt://HOST or mqtts://HOST, found nothing")
        self.name, self.address = name, parse_url(settings.url)
        self._max_payload_bytes = settings.max_payload_bytes
        self._faults = FaultLog(log)
        # By filter and whose it is.
        self._callbacks: dict[str, dict[str, MessageCallback]] = {}
        availability = Topics(name).availability
        self._suspects = Suspects(*(Topics(each).base for each in (name, *cameras)))
        events = Outbox(settings.outbox_max_messages, settings.outbox_max_bytes)
        self.delivery = Delivery(
            events,
            RetainedStates(),
            RecentResults(MAX_WAITING_RESULTS, MAX_WAITING_RESULT_BYTES, MAX_RESULT_AGE_S),
            availability,
            self._suspects,
        )
        self._network = NetworkThread(
            self.address,
            login(settings, f"edgecam-{name}-{boot_id}", availability, environment),
            tls_context(settings) if self.address.tls else None,
            self.delivery,
            self._faults,
            [Claim(each) for each in (name, *cameras)],
        )
        topic: str | Callable[[bytes], str] = _event_topic if cameras else Topics(name).event
        self._spool = open_spool(settings, name, topic, events, environment)
        self._network.start()

    @property
    def is_connected(self) -> bool:
        """Whether the broker listens now."""
        return self._network.connected.is_set()

    @property
    def turned_away(self) -> str | None:
        """Why this instance has no business here: a name was another's when it began."""
        return self._network.turned_away

    def wake(self) -> None:
        """There is something to send."""
        self._network.wake()

    def publish_retained(self, topic: str, payload: bytes) -> None:
        """Publish on any topic, retained, on change, again on every connection; empty clears it."""
        if self.fits(topic, payload) and self.delivery.states.put(topic, payload):
            self.wake()

    def subscribe(self, topic_filter: str, owner: str, callback: MessageCallback) -> None:
        """Call back for what comes, on the network thread; each owner has one for a filter."""
        callbacks = self._callbacks.setdefault(topic_filter, {})
        callbacks[owner] = callback

        def call(topic: str, payload: bytes, retained: bool) -> None:
            for each in list(callbacks.values()):
                each(topic, payload, retained)

        self._network.subscribe(topic_filter, call)

    def join(self, camera: str) -> None:
        """One more camera: its name is claimed, on a connection that there is already.

        Raises:
            SinkError: another instance has the name.
        """
        claim = Claim(camera)
        self._suspects.add(Topics(camera).base)
        self._network.join_claim(claim)
        until_s = time.monotonic() + 2.0 * CONTEST_S
        while self.is_connected and not claim.is_decided.wait(JOIN_STEP_S):
            if time.monotonic() > until_s:
                return
        if claim.other is not None:
            raise SinkError(
                f"another edgecam has the name {camera}, on {claim.other}; rename this camera, or "
                "stop that one"
            )

    def leave(self, camera: str) -> None:
        """The camera is gone: its name is free, and what it subscribed is dropped."""
        self._network.leave(camera)
        for callbacks in self._callbacks.values():
            callbacks.pop(camera, None)

    def check(self) -> None:
        """Check that the names are this process' own.

        Raises:
            SinkError: another instance had one at this broker when this one began.
        """
        if self.turned_away is not None:
            raise SinkError(self.turned_away)

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

    def fits(self, topic: str, payload: bytes) -> bool:
        """What a broker would refuse, it refuses always, with all that is queued behind it."""
        if len(payload) > self._max_payload_bytes:
            self.delivery.count("too_large")
            self._faults.fault(
                f"large {topic}",
                f"{topic}: a message of {len(payload)} bytes is above mqtt.max_payload_bytes "
                f"({self._max_payload_bytes}) and was dropped",
            )
            return False
        parts = topic.split("/")
        if len(topic) > MAX_TOPIC_BYTES or not all(part and _is_plain(part) for part in parts):
            self.delivery.count("bad_topic")
            self._faults.fault("topic", f"{topic!r} is no topic to publish on; message dropped")
            return False
        return True

    def status(self) -> MqttReport:
        """For telemetry: whether the broker is there, why not, and what waits."""
        fault, limits = self._network.fault, self._network.limits
        oldest_s = self.delivery.events.oldest_s
        return MqttReport(
            state="connected" if self.is_connected else "disconnected",
            reason=fault.reason if fault else None,
            protocol=limits.protocol if limits else None,
            limits=limits.words() if limits else (),
            refused=self.delivery.refusals.report(),
            outbox_messages=len(self.delivery.events),
            outbox_bytes=self.delivery.events.size_bytes,
            oldest_waiting_s=None if oldest_s is None else round(oldest_s, 1),
            spool=self._spool.report() if isinstance(self._spool, Spool) else self._spool,
            counters=self.delivery.counters(),
        )

    def close(self, drain_s: float = DRAIN_S) -> None:
        """Deliver what waits, publish ``offline``, disconnect; at most ``drain_s`` and one more.

        What is not delivered is in the spool then, where there is one.
        """
        spool = self._spool if isinstance(self._spool, Spool) else None
        if spool is not None:
            spool.hurry()
        self._network.stop(drain_s)
        # Of an instance that has no business here the one that has the name knows nothing.
        is_kept = spool is not None and spool.close(keep=self.turned_away is None)
        if left := len(self.delivery.events):
            then = "the next start sends them" if is_kept else "they are lost"
            log.warning("mqtt: stopped with %d events undelivered; %s", left, then)

    def resend_on(self, birth_topic: str, owner: str, resend: Callable[[], None]) -> None:
        """Resend whenever a client says on ``birth_topic`` that it has started."""

        def born(_topic: str, payload: bytes, retained: bool) -> None:
            # A retained one is old news: on a new connection everything is sent anyway.
            if payload == ONLINE and not retained:
                resend()

        self.subscribe(birth_topic, owner, born)


def _is_plain(part: str) -> bool:
    # Home Assistant's own topics have capitals.
    return part.lower() == slug(part)


def _event_topic(payload: bytes) -> str:
    """Where an event of an earlier run goes; each says which camera it is of."""
    return Topics(slug(msgspec.json.decode(payload, type=_Named).name)).event
