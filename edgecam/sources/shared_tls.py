"""A TLS connection that one thread reads while another writes, which OpenSSL does not allow.

Where Python guards against it, a reader that waits keeps the writer waiting too. So nothing waits
within OpenSSL: each call takes what is there, one at a time, and then waits for the socket.
"""

from __future__ import annotations

import select
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import Any


class SharedTls:
    """What a relay needs of a socket; every method may be called from any thread."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._lock = threading.Lock()

    def recv(self, count: int) -> bytes:
        """Bytes as they come, empty at the end; raises OSError."""
        found: bytes = self._when_ready(partial(self._connection.recv, count))
        return found

    def sendall(self, data: bytes) -> None:
        """Send all of it; raises OSError."""
        left = memoryview(data)
        while left:
            left = left[self._when_ready(partial(self._connection.send, left)) :]

    def _when_ready(self, call: Callable[[], Any]) -> Any:
        while True:
            with self._lock:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    wanted = select.POLLIN
                except ssl.SSLWantWriteError:
                    wanted = select.POLLOUT
                number = self._connection.fileno()
            if number < 0:
                raise ConnectionAbortedError("closed by another thread")
            poll = select.poll()
            poll.register(number, wanted)
            poll.poll()

    def getpeername(self) -> Any:
        """Address of the other side, as of a socket."""
        return self._connection.getpeername()

    def shutdown(self, how: int) -> None:
        """Wake who waits; raises OSError."""
        self._connection.shutdown(how)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
