"""The network thread of the MQTT sink: connect, deliver, notice the loss, wait, again."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from edgecam.core.fault_log import FaultLog
from edgecam.mqtt.address import BrokerAddress, Fault
from edgecam.mqtt.connection import MAX_PACKET_BYTES, Connection, MessageCallback, matches
from edgecam.mqtt.login import OFFLINE, Login
from edgecam.mqtt.opening import backoff_s, establish, is_passing
from edgecam.mqtt.terms import MQTT_5, BrokerMemory, Limits
from edgecam.sinks.mqtt.delivery import Delivery
from edgecam.sinks.mqtt.flood import Flood
from edgecam.sinks.mqtt.name_claim import Claim

log = logging.getLogger(__name__)

# Subscribers lose their sessions with the broker too: let them return before the events do.
SETTLE_S = 2.0
# With something in flight and no acknowledgement for so many keep-alives: connect again.
ACK_KEEPALIVES = 2
# A broker that has never acknowledged anything, so often: one that knows QoS 0 alone.
MAX_UNANSWERED = 2
STEP_S = 1.0
CLAIM_STEP_S = 0.02
# A broker that closes for what it does not allow: then no question is sent.
MAX_CLAIMS_CUT = 2
# A stop waits this long for a connection, for the next acknowledgement, for that of "offline".
STOP_CONNECT_S = 1.5
STOP_STALL_S = 1.5
STOP_OFFLINE_S = 1.0


class NetworkThread(threading.Thread):
    """Keeps a connection to the broker; ``connected`` while there is one, else ``fault``."""

    def __init__(
        self,
        address: BrokerAddress,
        login: Login,
        context: ssl.SSLContext | None,
        delivery: Delivery,
        faults: FaultLog,
        claims: Sequence[Claim],
    ) -> None:
        """``claims``: of the names that are to be this instance's own, at least one."""
        super().__init__(name="edgecam-mqtt", daemon=True)
        self.connected = threading.Event()
        self.fault: Fault | None = Fault("network", f"{address}: connecting")
        self._address = address
        self._login = login
        self._context = context
        self._delivery = delivery
        self._faults = faults
        self._claims = list(claims)
        # Of cameras that came while there was a connection: not asked for yet, and asked for.
        self._joining: deque[Claim] = deque()
        self._asking: list[Claim] = []
        self._claims_cut = 0
        # The name turned out to be another's a moment after the first connection.
        self._came_late = False
        # The name was another's when this instance began: it has no business here.
        self.turned_away: str | None = None
        self._memory = BrokerMemory()
        # What the broker allowed on the last connection.
        self.limits: Limits | None = None
        self._unanswered = 0
        self._ever_acknowledged = False
        self._flood = Flood(delivery, faults)
        self._subscriptions: list[tuple[str, MessageCallback]] = []
        self._new_filters: deque[str] = deque()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._stopping = threading.Event()
        self._stop_began_s = 0.0
        self._stop_by_s = 0.0
        self.connects = 0

    def wake(self) -> None:
        """There is something to send."""
        # Full means that it is awake already.
        with contextlib.suppress(BlockingIOError):
            self._wake_write.send(b"\0")

    def subscribe(self, topic_filter: str, callback: MessageCallback) -> None:
        """Subscribe now and after every reconnect; one callback for each filter."""
        others = [item for item in self._subscriptions if item[0] != topic_filter]
        self._subscriptions = [*others, (topic_filter, callback)]
        self._new_filters.append(topic_filter)
        self.wake()

    def join_claim(self, claim: Claim) -> None:
        """One more name is to be this instance's own; ``is_decided`` says once that is known."""
        self._joining.append(claim)
        self.wake()

    def leave(self, name: str) -> None:
        """A name is no longer this instance's own."""
        self._claims = [claim for claim in self._claims if claim.name != name]

    def stop(self, drain_s: float) -> None:
        """Deliver within ``drain_s``, say offline, end; less where there is no broker."""
        began_s = time.monotonic()
        if not self._stopping.is_set():
            self._stop_began_s, self._stop_by_s = began_s, began_s + drain_s
            self._stopping.set()
        self.wake()
        end_s = began_s + drain_s + STOP_OFFLINE_S
        while self.is_alive() and time.monotonic() < end_s:
            self.join(0.05)
            # A name that does not resolve cannot be interrupted: leave the thread behind.
            if not self.connected.is_set() and time.monotonic() - began_s > STOP_CONNECT_S + 0.3:
                break

    def run(self) -> None:
        """Connect, deliver and reconnect until closed."""
        failures = 0
        while True:
            try:
                connection = self._connect()
                if connection.established and connection.fault is None:
                    failures = 0
                    self._claim_name(connection)
                if connection.established and connection.fault is None:
                    self._serve(connection)
                fault = connection.fault
            except Exception as error:
                log.exception("mqtt: unexpected error, connecting again")
                self._delivery.count("internal_errors")
                fault = Fault("network", f"{self._address}: internal error: {error!r}")
            self.connected.clear()
            self.fault = fault
            if fault is None:
                break
            self._delivery.count("connection_faults")
            self._faults.fault("mqtt", fault.reason)
            if fault.kind == "name" and (self._came_late or not self.connects):
                self.turned_away = fault.reason
                break
            if not self._pause(fault, failures):
                break
            failures += 1

    def _pause(self, fault: Fault, failures: int) -> bool:
        """Wait before the next attempt; False if a stop makes it pointless."""
        if self._stopping.is_set():
            return False
        passing = is_passing(fault, self.connects > 0)
        if self._stopping.wait(backoff_s(failures, passing)):
            # One last attempt, for the events' sake; nothing else is worth the wait.
            return passing and len(self._delivery.events) > 0
        return True

    def _connect(self) -> Connection:
        stopping = self._stopping.is_set()
        return establish(
            self._address,
            self._memory,
            partial(
                Connection,
                self._address,
                self._login,
                self._context,
                self._receive,
                self._note_error,
            ),
            lambda connection: self._step_for(connection, 0.1),
            lambda: self._stopping.is_set() != stopping,
            (STOP_CONNECT_S, STOP_CONNECT_S) if stopping else None,
        )

    def _step_for(self, connection: Connection, wait_s: float) -> None:
        connection.step(wait_s, self._wake_read)
        self._drain_wake()

    def _claim_name(self, connection: Connection) -> None:
        """Ask for the name; sets the connection's fault where another instance has it."""
        self._asking.clear()
        while self._joining:
            self._claims.append(self._joining.popleft())
        claims = self._claims
        if self._claims_cut >= MAX_CLAIMS_CUT:
            self._delivery.count("claims_skipped")
            for claim in claims:
                claim.win()
            return
        for claim in claims:
            self._begin_claim(claim, connection)
        while connection.fault is None and not self._stopping.is_set():
            self._speak(connection)
            now_s = time.monotonic()
            # Each of them, for each has more to say with time.
            open_claims = [claim for claim in claims if not claim.settled(now_s)]
            if not open_claims:
                break
            self._step_for(connection, CLAIM_STEP_S)
        self._claims_cut = self._claims_cut + 1 if connection.closed_by_broker else 0
        lost = next((claim for claim in claims if claim.other is not None), None)
        if lost is not None:
            self._leave(connection, lost)
            return
        for claim in claims:
            claim.win()
            claim.is_decided.set()

    @staticmethod
    def _begin_claim(claim: Claim, connection: Connection) -> None:
        claim.begin()
        for topic_filter in claim.filters:
            connection.subscribe(topic_filter)

    def _admit(self, connection: Connection) -> None:
        """Go on with the names that were asked for on a connection that there was already."""
        while self._joining:
            self._asking.append(self._joining.popleft())
            self._begin_claim(self._asking[-1], connection)
        for claim in list(self._asking):
            if not claim.settled(time.monotonic()):
                continue
            self._asking.remove(claim)
            if claim.other is None:
                claim.win()
                self._claims.append(claim)
            claim.is_decided.set()

    def _leave(self, connection: Connection, claim: Claim) -> None:
        """The name is another's."""
        if connection.fault is None:
            # With a DISCONNECT: the will would say that the other one is offline.
            connection.finish()
            which, remedy = "this name", "give this one another --name"
            if len(self._claims) > 1:
                which, remedy = f"the name {claim.name}", "rename this camera"
            connection.fault = Fault(
                "name",
                f"{self._address}: another edgecam has {which}, on {claim.other}; {remedy}, or "
                "stop that one",
            )

    def _speak(self, connection: Connection) -> None:
        """Say what the claim has to say, and look at what it has heard."""
        for claim in (*self._claims, *self._asking):
            self._speak_of(claim, connection)

    def _speak_of(self, claim: Claim, connection: Connection) -> None:
        while claim.to_say:
            connection.publish(claim.topic, claim.to_say.popleft(), 1, False)
        if (answer := claim.answer(time.monotonic())) is not None:
            connection.publish(claim.topic, answer, 0, False)
        if claim.is_littered:
            claim.is_littered = False
            self._delivery.count("claims_cleared")
            connection.publish(claim.topic, b"", 1, True)
        while claim.conflicts:
            self._delivery.count("name_conflicts")
            host = claim.conflicts.popleft()
            self._faults.fault("name", f"another edgecam has this name too, on {host}")
        if claim.said_offline and not self._stopping.is_set():
            claim.said_offline = False
            self._delivery.count("offline_corrected")
            self._delivery.announce_again()

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(65_536)

    def _serve(self, connection: Connection) -> None:
        """Until the connection is lost (``connection.fault``) or a stop has delivered all."""
        delivery = self._delivery
        delivery.begin(SETTLE_S if self.connects else 0.0)
        self.connects += 1
        delivery.count("connects")
        self._new_filters.clear()
        self._new_filters.extend(topic_filter for topic_filter, _ in self._subscriptions)
        self.fault = None
        self.connected.set()
        self._faults.recovered("mqtt", f"{self._address}: connected")
        self._say_limits(connection)
        began_s = progress_s = time.monotonic()
        try:
            while connection.fault is None:
                self._drain_wake()
                if delivery.settle(connection):
                    progress_s = time.monotonic()
                    self._ever_acknowledged = True
                self._speak(connection)
                self._admit(connection)
                lost = next((claim for claim in self._claims if claim.other is not None), None)
                if lost is not None:
                    self._came_late = self.connects == 1
                    self._leave(connection, lost)
                    break
                self._note(connection)
                while self._new_filters:
                    connection.subscribe(self._new_filters.popleft())
                delivery.feed(connection)
                if self._stopping.is_set() and self._is_drained(max(progress_s, began_s)):
                    self._say_offline(connection)
                    break
                self._step(connection)
                self._check_answers(connection)
            delivery.settle(connection)
        finally:
            delivery.end(connection.closed_by_broker, connection.code)

    def _say_limits(self, connection: Connection) -> None:
        """One line about what this broker cannot do, whenever that changes."""
        if self._unanswered >= MAX_UNANSWERED and not self._ever_acknowledged:
            connection.limits = replace(connection.limits, max_qos=0)
        before, self.limits = self.limits, connection.limits
        is_less = self.limits.words() or self.limits.version != MQTT_5
        if self.limits != before and (is_less or before is not None):
            log.warning("%s: the broker takes %s", self._address, self.limits)

    def _check_answers(self, connection: Connection) -> None:
        """A broker that goes on answering pings may have stopped acknowledging."""
        if connection.is_skipping:
            return
        limit_s = ACK_KEEPALIVES * connection.keepalive_s
        why = self._delivery.overdue(connection.unacknowledged, time.monotonic(), limit_s)
        if why is not None and connection.fault is None:
            self._unanswered += 1
            self._delivery.count("ack_timeouts")
            self._delivery.give_up()
            connection.give_up(Fault("network", f"{self._address}: {why}; connecting again"))

    def _note(self, connection: Connection) -> None:
        """Say what the broker does not let through to this instance, or this instance to itself."""
        while connection.refused_filters:
            topic_filter, words = connection.refused_filters.popleft()
            self._delivery.refusals.refused(
                topic_filter,
                f"subscription refused by the broker: {words}",
                "what is said there does not arrive; let this user read it (the broker's ACL)",
            )
        while connection.skipped:
            topic, size_bytes, retained = connection.skipped.popleft()
            self._delivery.count("received_too_large")
            remedy = f"; clear it: mosquitto_pub -r -n -t {topic!r}" if retained else ""
            self._faults.fault(
                f"large {topic}",
                f"{topic!r}: a {'retained ' if retained else ''}message of {size_bytes} bytes is "
                f"above the {MAX_PACKET_BYTES} bytes that are taken and was not read{remedy}",
            )

    def _step(self, connection: Connection) -> None:
        wait_s = 0.05 if self._stopping.is_set() else STEP_S
        settle_left_s = self._delivery.settle_left_s
        wait_s = min(wait_s, settle_left_s) if settle_left_s else wait_s
        if self._asking:
            wait_s = min(wait_s, CLAIM_STEP_S)
        due_s = min((claim.answer_due_s for claim in self._claims), default=float("inf"))
        answer_left_s = max(0.0, due_s - time.monotonic())
        connection.step(min(wait_s, answer_left_s), self._wake_read)

    def _is_drained(self, progress_s: float) -> bool:
        now_s = time.monotonic()
        self._delivery.hurry()
        stalled = now_s - max(progress_s, self._stop_began_s) > STOP_STALL_S
        return self._delivery.done or now_s > self._stop_by_s or stalled

    def _say_offline(self, connection: Connection) -> None:
        if not connection.writable:
            connection.give_up(Fault("network", f"{self._address}: stopped without an answer"))
            return
        mid = connection.publish(self._delivery.availability_topic, OFFLINE, 1, True)
        until_s = time.monotonic() + STOP_OFFLINE_S
        while connection.fault is None and time.monotonic() < until_s:
            if any(answer.number == mid for answer in connection.acknowledged):
                connection.finish()
                return
            self._step_for(connection, 0.05)
        connection.give_up(Fault("network", f"{self._address}: stopped without an answer"))

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        for claim in (*self._claims, *self._asking):
            claim.receive(topic, payload, retained)
        for topic_filter, callback in self._subscriptions:
            if matches(topic_filter, topic) and (retained or self._flood.lets(topic_filter)):
                callback(topic, payload, retained)

    def _note_error(self, error: BaseException) -> None:
        self._delivery.count("callback_errors")
        self._faults.fault("mqtt callback", f"mqtt: a message was not understood: {error!r}")
