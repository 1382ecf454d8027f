"""One name, one instance: whoever connects asks whether another one has the name already.

A retained ``online`` proves nothing: a power cut leaves one behind. So a new instance asks on
``edgecam/<name>/claim``, and one that lives answers there within a moment. The one that was first
keeps the name; of two that ask at the same time the one with the lower token does.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections import deque
from typing import Literal

import msgspec

from edgecam.messages.result import Topics
from edgecam.mqtt.login import OFFLINE, ONLINE

# How long to wait for an answer where the name looks taken, and where it does not.
ANSWER_S = 0.7
FREE_S = 0.1


class ClaimMessage(msgspec.Struct, frozen=True):
    """What is said on ``edgecam/<name>/claim``, never retained."""

    kind: Literal["ask", "here"]
    token: str
    host: str


class Claim:
    """What is known of other instances of this name; used by the network thread alone."""

    def __init__(self, name: str) -> None:
        topics = Topics(name)
        self.topic, self._availability = topics.claim, topics.availability
        self._me = ClaimMessage("ask", secrets.token_hex(8), socket.gethostname())
        self.filters = (self._availability, self.topic)
        self.to_say: deque[bytes] = deque()
        # The host of another instance that has the name; what it says too late is a conflict.
        self.other: str | None = None
        self.conflicts: deque[str] = deque()
        self.said_offline = False
        self._ours = False
        self._looks_taken = False
        self._began_s = self._echoed_s = 0.0

    def begin(self) -> None:
        """A new connection, subscribed to ``filters``: ask."""
        self._ours = self._looks_taken = self.said_offline = False
        self.other = None
        self._began_s, self._echoed_s = time.monotonic(), 0.0
        self.to_say.clear()
        self.to_say.append(msgspec.json.encode(self._me))

    def settled(self, now_s: float) -> bool:
        """Whether ``other`` is known, or nobody has answered for long enough."""
        if self.other is not None or now_s - self._began_s >= ANSWER_S:
            return True
        echoed = self._echoed_s > 0.0
        return echoed and not self._looks_taken and now_s - self._echoed_s >= FREE_S

    def win(self) -> None:
        """The name is this instance's; from now on it answers."""
        self._ours = True

    def receive(self, topic: str, payload: bytes, retained: bool) -> None:
        """Take a message in, whatever its topic."""
        if topic == self._availability:
            if retained:
                self._looks_taken = payload == ONLINE
            elif self._ours and payload == OFFLINE:
                # The will of a connection that this name had before.
                self.said_offline = True
        if topic != self.topic:
            return
        try:
            message = msgspec.json.decode(payload, type=ClaimMessage)
        except msgspec.DecodeError:
            return
        if message.token == self._me.token:
            self._echoed_s = self._echoed_s or time.monotonic()
        elif message.kind == "here":
            self._told_of(message)
        elif self._ours or self._me.token < message.token:
            self.to_say.append(msgspec.json.encode(msgspec.structs.replace(self._me, kind="here")))
        else:
            self.other = message.host

    def _told_of(self, message: ClaimMessage) -> None:
        if self._ours:
            self.conflicts.append(message.host)
        else:
            self.other = message.host
