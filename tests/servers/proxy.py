"""A TCP proxy on loopback that breaks what passes through it as its standard input says.

Modes: good, mute (accepts, passes nothing on), stall (passes nothing more from the server),
drip (a byte at a time from the server), close (ends each connection after 20 kB), refuse,
hush (of each connection only the server's first words).
The first argument is the port it stands before.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

CLOSE_AFTER_BYTES = 20_000


class Proxy:
    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.mode = "good"
        self.port = 0
        self.listener: socket.socket | None = None
        self.open: set[socket.socket] = set()
        self.listen()

    def listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self.listener = listener
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def become(self, mode: str) -> None:
        was, self.mode = self.mode, mode
        if mode == "refuse" and self.listener is not None:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        elif mode != "refuse" and self.listener is None:
            self.listen()
        if mode == "refuse" or was in ("drip", "stall", "hush"):
            self.cut()

    def cut(self) -> None:
        """A server that restarts: what was open is reset."""
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        while self.mode == "mute":
            time.sleep(0.05)
        server = socket.create_connection(("127.0.0.1", self.target_port))
        self.open |= {client, server}
        upward = threading.Thread(target=self.pump, args=(client, server, False), daemon=True)
        upward.start()
        self.pump(server, client, True)
        upward.join()
        self.open -= {client, server}
        client.close()
        server.close()

    def pump(self, source: socket.socket, sink: socket.socket, from_server: bool) -> None:
        passed = 0
        try:
            while data := source.recv(4096):
                while self.holds(from_server, passed):
                    time.sleep(0.05)
                if from_server and self.mode == "drip":
                    self.drip(data, sink)
                else:
                    sink.sendall(data)
                passed += len(data)
                if self.mode == "close" and from_server and passed > CLOSE_AFTER_BYTES:
                    break
        except OSError:
            pass
        for connection in (source, sink):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def holds(self, from_server: bool, passed: int) -> bool:
        if self.mode == "mute":
            return True
        return from_server and (self.mode == "stall" or (self.mode == "hush" and passed > 0))

    def drip(self, data: bytes, sink: socket.socket) -> None:
        for offset in range(len(data)):
            sink.sendall(data[offset : offset + 1])
            if self.mode == "drip":
                time.sleep(0.05)


def main() -> None:
    proxy = Proxy(int(sys.argv[1]))
    print(proxy.port, flush=True)
    for line in sys.stdin:
        proxy.become(line.strip())
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main()
