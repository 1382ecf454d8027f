"""A TCP server in this process that says to each connection what a test wants."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

Script = Callable[[socket.socket, bytes], None]


class Scripted:
    """Calls ``script(connection, request)`` for each connection, on a thread of its own.

    ``requests``: what was asked, in order; ``b""`` for a connection that asked nothing.
    """

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            request = b""
            while b"\r\n\r\n" not in request and (part := connection.recv(4096)):
                request += part
            self.requests.append(request)
            if request:
                self.script(connection, request)

    def asked(self) -> list[bytes]:
        """The requests that were requests: a probe asks nothing."""
        return [request for request in self.requests.copy() if request]

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def scripted(script: Script, context: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    server = Scripted(script, context)
    try:
        yield server
    finally:
        server.close()


def says(*answer: bytes) -> Script:
    """Sends ``answer`` and closes."""

    def script(connection: socket.socket, request: bytes) -> None:
        del request
        connection.sendall(b"".join(answer))

    return script


def drips(before: bytes, dripping: bytes) -> Script:
    """Sends ``before`` at once, then ``dripping`` a byte at a time, over and over."""

    def script(connection: socket.socket, request: bytes) -> None:
        del request
        connection.sendall(before)
        while True:
            for byte in dripping:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)

    return script


def floods(before: bytes, flood: bytes) -> Script:
    """Sends ``before``, then ``flood`` over and over as fast as it is read."""

    def script(connection: socket.socket, request: bytes) -> None:
        del request
        connection.sendall(before)
        while True:
            connection.sendall(flood)

    return script


def rtsp(answer: Callable[[bytes], bytes], asked: list[bytes]) -> Script:
    """Answers each request on a connection with a status and fields parted by ``|``."""

    def script(connection: socket.socket, request: bytes) -> None:
        while request:
            asked.append(request)
            number = next(x for x in request.split(b"\r\n") if x.startswith(b"CSeq"))
            status, *fields = answer(request).split(b"|")
            connection.sendall(b"\r\n".join((b"RTSP/1.0 " + status, number, *fields, b"", b"")))
            request = connection.recv(4096)

    return script
