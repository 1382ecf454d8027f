"""A viewer of the live page that does no more than it has to: a browser would run elsewhere."""

from __future__ import annotations

import contextlib
import socket
import threading

PICTURES_ON = bytes([0x81, 0x80 | 11, 0, 0, 0, 0]) + b"pictures on"
NEXT = bytes([0x81, 0x80 | 4, 0, 0, 0, 0]) + b"next"


def handshake(port: int) -> bytes:
    lines = (
        "GET /stream HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Origin: http://127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Watcher:
    """Takes every picture and counts it; ``ended`` is set once the page has gone."""

    def __init__(self, port: int, come_from: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), None, (come_from, 0))
        self._socket.sendall(handshake(port))
        self._file = self._socket.makefile("rb")
        while self._file.readline() != b"\r\n":
            pass
        self._socket.sendall(PICTURES_ON)
        self.pictures = 0
        self.ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        # The page may have gone first.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self) -> None:
        greeted = False
        # It may be closed from here or from there.
        with contextlib.suppress(OSError, ValueError):
            while head := self._file.read(2):
                size = head[1]
                if size > 125:
                    size = int.from_bytes(self._file.read(2 if size == 126 else 8), "big")
                self._file.read(size)
                kind = head[0] & 0xF
                self.pictures += kind == 2
                if kind == 1 and greeted:
                    self._socket.sendall(NEXT)
                greeted = greeted or kind == 1
        self.ended.set()
