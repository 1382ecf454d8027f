"""How many connections there may be, how long one may take, how much is read, who may guess.

aiohttp waits for a request's header without end; here every connection that is no viewer has a
deadline, and one that never sent a whole request makes way for a new one.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MAX_CONNECTIONS = 64
# Of the files that this process may have open: the camera and the broker need some as well.
SHARE_OF_FILES = 4
# From its opening, or from its last whole request, until a connection is cut.
DEADLINE_S = 7.0
SWEEP_S = 1.0
# A viewer that reads nothing costs this much of the kernel's memory, not megabytes.
SEND_BUFFER_BYTES = 65_536
# A wrong token is answered so late, and meanwhile one address may try so many more: one that does
# not wait for the answer gains nothing.
REFUSAL_S = 1.0
MAX_GUESSES = 4
# Requests, answers and pings of one address: opening the page takes 6 kB, a zone editor's text at
# most 33 kB, a viewer 0.4 kB a second. Several may come through one proxy.
BURST_BYTES = 262_144
# Where pictures are taken: what may come of some before it is known whose they are.
PICTURE_BURST_BYTES = 1_048_576
BYTES_PER_S = 32_768.0
# What a connection counts for by itself.
CONNECTION_BYTES = 256


class Guesses:
    """Tokens that were wrong, by where they came from; used on the server's loop alone."""

    def __init__(self) -> None:
        self._late: Counter[str] = Counter()

    def are_too_many(self, address: str) -> bool:
        """Whether nothing more from there is looked at for now, right or wrong."""
        return self._late[address] >= MAX_GUESSES

    async def wrong(self, address: str) -> None:
        """Make the address that guessed wait, and no other."""
        self._late[address] += 1
        try:
            await asyncio.sleep(REFUSAL_S)
        finally:
            self._late[address] -= 1
            # Nothing is kept of those who are gone.
            self._late += Counter()


class Allowances:
    """How much each address or viewer may send: some at once, and then so much a second."""

    def __init__(self) -> None:
        self.burst_bytes = BURST_BYTES
        # Address -> what it has sent and not been forgiven, in bytes, and when that was so.
        self._debts: dict[str, tuple[float, float]] = {}

    def _debt(self, address: str, now_s: float) -> float:
        debt, at_s = self._debts.get(address, (0.0, now_s))
        return max(0.0, debt - (now_s - at_s) * BYTES_PER_S)

    def grants(self, address: str, size: int) -> bool:
        """Count this; whether it was not too much."""
        now_s = time.monotonic()
        debt = self._debt(address, now_s) + size
        # An address that stops is heard again after a second.
        self._debts[address] = min(debt, self.burst_bytes + BYTES_PER_S), now_s
        return debt <= self.burst_bytes

    def forgive(self, address: str, size: int) -> None:
        """Count this no longer: it was asked for."""
        now_s = time.monotonic()
        self._debts[address] = max(0.0, self._debt(address, now_s) - size), now_s

    def forget(self) -> None:
        """Who owes nothing any more is not remembered."""
        now_s = time.monotonic()
        self._debts = {
            address: debt for address, debt in self._debts.items() if self._debt(address, now_s) > 0
        }


class Limited(asyncio.Protocol):
    """Stands in front of aiohttp's own protocol and passes on what there is room for."""

    def __init__(self, make: Callable[[], asyncio.Protocol], connections: Connections) -> None:
        self._make, self._connections = make, connections
        self._inner: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or close it where its address has too many."""
        assert isinstance(transport, asyncio.Transport)
        peer = transport.get_extra_info("peername")
        self._transport, self._address = transport, str(peer[0]) if peer else ""
        if not self._connections.allowances.grants(self._address, CONNECTION_BYTES):
            self._connections.evict(transport)
            return
        transport.set_write_buffer_limits(SEND_BUFFER_BYTES)
        self._connections.opened(transport)
        # Not before: making it takes longer than all of this.
        self._inner = self._make()
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._connections.closed(self._transport)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on the bytes while the connection keeps within its limits."""
        if self._connections.grants(self._transport, self._address, len(data)):
            if self._inner is not None:
                self._inner.data_received(data)
        else:
            self._connections.evict(self._transport)

    def eof_received(self) -> bool | None:
        """Hand on the end of what the client sends."""
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        """Hand on that the client reads slowly."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that the client reads again."""
        if self._inner is not None:
            self._inner.resume_writing()


def max_connections() -> int:
    """How many connections the page may have, so that descriptors are left for the rest."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, limit // SHARE_OF_FILES))


class Connections:
    """All open connections; used on the server's loop alone."""

    def __init__(self) -> None:
        # Transport -> when it is cut; the longest silent first.
        self._deadlines_s: dict[asyncio.Transport, float] = {}
        self._viewers: set[asyncio.Transport] = set()
        # Bytes that one may send beside its allowance.
        self._admitted: dict[asyncio.Transport, int] = {}
        self._most = max_connections()
        self.allowances = Allowances()
        self.evicted = 0

    @property
    def at_once(self) -> int:
        """How many new connections the page may take before it cuts those that are too many."""
        return max(1, self._most // 2)

    def wrap(self, inner: Callable[[], asyncio.Protocol]) -> Callable[[], Limited]:
        """Return a factory of protocols that keep within the limits."""
        return lambda: Limited(inner, self)

    def opened(self, transport: asyncio.Transport) -> None:
        """Note a connection; evict the oldest where there are too many."""
        while len(self._deadlines_s) + len(self._viewers) >= self._most and self._deadlines_s:
            self.evict(next(iter(self._deadlines_s)))
        self._deadlines_s[transport] = time.monotonic() + DEADLINE_S

    def grants(self, transport: asyncio.Transport, address: str, size: int) -> bool:
        """Count what came; whether it was not too much.

        A viewer has an allowance of its own: who floods from the same address, behind the same
        router or proxy, does not cut off who is in.
        """
        if admitted := self._admitted.get(transport, 0):
            free = min(admitted, size)
            self._admitted[transport] -= free
            size -= free
        who = f"viewer {id(transport)}" if transport in self._viewers else address
        return size == 0 or self.allowances.grants(who, size)

    @contextmanager
    def admitted(self, transport: asyncio.BaseTransport | None, size: int) -> Iterator[None]:
        """Within, a connection that may do so sends a body of so many bytes."""
        if not isinstance(transport, asyncio.Transport):
            yield
            return
        self._admitted[transport] = size
        try:
            yield
        finally:
            # As much as is left of it had come, and was counted, before it was let in.
            peer, left = transport.get_extra_info("peername"), self._admitted.pop(transport, 0)
            self.allowances.forgive(str(peer[0]) if peer else "", left)

    def asked(self, transport: asyncio.BaseTransport | None) -> None:
        """A whole request came: the time begins again."""
        if isinstance(transport, asyncio.Transport) and transport in self._deadlines_s:
            del self._deadlines_s[transport]
            self._deadlines_s[transport] = time.monotonic() + DEADLINE_S

    def is_viewer(self, transport: asyncio.BaseTransport | None) -> None:
        """From now on the stream itself looks after this one."""
        if isinstance(transport, asyncio.Transport) and transport in self._deadlines_s:
            del self._deadlines_s[transport]
            self._viewers.add(transport)

    def closed(self, transport: asyncio.Transport) -> None:
        """Forget a connection."""
        self._deadlines_s.pop(transport, None)
        self._viewers.discard(transport)
        self._admitted.pop(transport, None)

    def evict(self, transport: asyncio.Transport) -> None:
        """Cut this one off at once."""
        self.closed(transport)
        self.evicted += 1
        transport.abort()

    def close(self) -> None:
        """Cut everybody off."""
        for transport in [*self._deadlines_s, *self._viewers]:
            self.closed(transport)
            transport.abort()

    async def sweep(self) -> None:
        """Cut late connections, until the server ends."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.allowances.forget()
            now_s = time.monotonic()
            for transport, deadline_s in list(self._deadlines_s.items()):
                if deadline_s < now_s:
                    self.evict(transport)
