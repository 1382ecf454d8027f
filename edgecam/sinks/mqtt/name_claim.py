"""One name, one instance: one that connects asks whether another has the name already.

A retained ``online`` proves nothing: a power cut leaves one behind. So a new instance asks on
``edgecam/<name>/claim``, and one that has the name answers there within a moment. Where none
does, it says that it takes the name, and has it once the broker has passed that on.

Several that start together are ranked by the order in which the broker passes their messages
on, which is the same for all of them. Who hears a lower token ask leaves. A take counts unless a
lower token asked, or another one took, since that instance asked: all who heard it ask agree on
that, however late each hears of it. Who cannot tell, or hears a take that does not count, asks
again. One that learns too late that the name was another's leaves as well, if it took it a
moment ago.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from edgecam.core.printable import printable
from edgecam.messages.topics import Topics
from edgecam.mqtt.login import OFFLINE, ONLINE

# How long to wait for an answer where the name looks taken (an answer may be held back for
# ANSWER_EVERY_S), and where it does not.
ANSWER_S = 1.8
FREE_S = 0.1
# Anybody may ask as often as the broker lets them; the first few answers are for those that
# start together with the one that has the name.
ANSWER_EVERY_S, FIRST_ANSWERS = 1.0, 8
# Who took the name this long ago keeps it, whatever is said: one message ends no instance.
YOUNG_S = 10.0
# None asks for longer, even if others go on taking.
CONTEST_S = 10.0
MAX_HOST, MAX_BYTES, MAX_HEARD = 64, 512, 64


class ClaimMessage(msgspec.Struct, frozen=True):
    """What is said on ``edgecam/<name>/claim``, never retained."""

    kind: Literal["ask", "take", "here"]
    token: str
    host: str


class Claim:
    """What is known of other instances of this name; used by the network thread alone."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        topics, self.name = Topics(name), name
        self.topic, self._availability = topics.claim, topics.availability
        self._token = secrets.token_hex(8)
        self._host = printable(socket.gethostname(), MAX_HOST)
        self._clock = clock
        self.filters = (self._availability, self.topic)
        # To be sent with QoS 1; there is one of each kind in a connection.
        self.to_say: deque[bytes] = deque()
        # The host of another instance that has the name; what it says too late is a conflict.
        self.other: str | None = None
        self.conflicts: deque[str] = deque(maxlen=1)
        self.said_offline = self.is_littered = False
        self._ours = False
        # Whether it is known whose the name is; for one that joins others on a connection.
        self.is_decided = threading.Event()
        self._forget()

    def _forget(self) -> None:
        self.other = None
        self.said_offline = self.is_littered = False
        self._looks_taken = self._is_taken = self._owes = False
        self._began_s = self._clock()
        # When the broker passed on that this instance asks, when it said that it takes the name.
        self._asked_s: float | None = None
        self._took_s: float | None = None
        self._won_s = float("inf")
        # Who asked and took, in the broker's order, and who asked when the name was ours.
        self._heard: deque[tuple[str, str]] = deque(maxlen=MAX_HEARD)
        self._later: deque[str] = deque(maxlen=MAX_HEARD)
        self._answers_left, self._answered_s = FIRST_ANSWERS, float("-inf")

    def begin(self) -> None:
        """A new connection, subscribed to ``filters``: ask."""
        self._ours = False
        self._forget()
        self.to_say.clear()
        self._say("ask")

    def _say(self, kind: Literal["ask", "take"]) -> None:
        self.to_say.append(msgspec.json.encode(ClaimMessage(kind, self._token, self._host)))

    def settled(self, now_s: float) -> bool:
        """Whether it is known whose the name is; takes it where none has answered in time."""
        if self.other is not None or self._is_taken or now_s - self._began_s >= CONTEST_S:
            return True
        if self._asked_s is None:
            # A broker that passes nothing on: then nothing can be found out.
            return not self._heard and now_s - self._began_s >= ANSWER_S
        if self._took_s is None:
            if now_s - self._asked_s >= (ANSWER_S if self._looks_taken else FREE_S):
                self._took_s = now_s
                self._say("take")
            return False
        return now_s - self._took_s >= ANSWER_S

    def win(self) -> None:
        """The name is this instance's; from now on it answers."""
        self._ours, self._won_s = True, self._clock()

    def answer(self, now_s: float) -> bytes | None:
        """What is to be said now (QoS 0) to those that asked for a name that is taken."""
        if not self._owes or self.answer_due_s > now_s:
            return None
        self._owes, self._answered_s = False, now_s
        self._answers_left = max(0, self._answers_left - 1)
        return msgspec.json.encode(ClaimMessage("here", self._token, self._host))

    @property
    def answer_due_s(self) -> float:
        """When the next answer may be said; infinite where none is owed."""
        if not self._owes:
            return float("inf")
        return self._answered_s + (0.0 if self._answers_left else ANSWER_EVERY_S)

    def receive(self, topic: str, payload: bytes, retained: bool) -> None:
        """Take a message in, whatever its topic."""
        if topic == self._availability:
            self._hear_availability(payload, retained)
        elif topic == self.topic and retained:
            # Left by another program; it says nothing about who is here now.
            self.is_littered = bool(payload)
        elif topic == self.topic and len(payload) <= MAX_BYTES:
            try:
                message = msgspec.json.decode(payload, type=ClaimMessage)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return
            self._hear(message)

    def _hear_availability(self, payload: bytes, retained: bool) -> None:
        if not self._ours:
            # One that has just taken the name says online too.
            self._looks_taken = payload == ONLINE if retained else self._looks_taken
            self._looks_taken |= payload == ONLINE
        elif payload == OFFLINE and not retained:
            # The will of a connection that this name had before.
            self.said_offline = True

    def _hear(self, message: ClaimMessage) -> None:
        if message.kind != "here":
            self._hear_asking(message)
        elif message.token != self._token:
            self._hear_owner(message)

    def _hear_asking(self, message: ClaimMessage) -> None:
        token, is_ask = message.token, message.kind == "ask"
        before = list(self._heard)
        self._heard.append((message.kind, token))
        if token == self._token:
            if is_ask:
                self._asked_s = self._clock()
            elif _counts(before, token):
                self._is_taken = True
        elif self._ours or self._is_taken:
            self._owes = True
            if is_ask:
                self._later.append(token)
        elif token < self._token if is_ask else _counts(before, token):
            self.other = printable(message.host, MAX_HOST)
        elif not is_ask:
            self._ask_again(may_be_taken=("ask", token) not in before)

    def _ask_again(self, may_be_taken: bool) -> None:
        self._looks_taken |= may_be_taken
        if self._asked_s is not None:
            self._asked_s = self._took_s = None
            self._say("ask")

    def _hear_owner(self, message: ClaimMessage) -> None:
        host = printable(message.host, MAX_HOST)
        if not (self._ours or self._is_taken):
            self.other = host
            return
        self.conflicts.append(host)
        # Let it know too.
        self._owes = True
        is_young = self._clock() - self._won_s < YOUNG_S
        if is_young and message.token not in self._later:
            # Both asked at the same time, or the other one had the name before this one asked.
            both_asked = ("ask", message.token) in self._heard
            if not both_asked or message.token < self._token:
                self.other = host


def _counts(heard: Sequence[tuple[str, str]], token: str) -> bool:
    """Whether one that asked, as was heard, may take the name now."""
    for kind, other in reversed(heard):
        if other == token:
            return kind == "ask"
        if kind == "take" or other < token:
            return False
    return False
