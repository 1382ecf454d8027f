"""An MJPEG camera on loopback, healthy or broken in a way that its standard input names.

Modes: good, mute (accepts, says nothing), stall (stops in mid-stream), drip (a byte at a time),
close (ends each connection after a picture), refuse (not listening), garbage and truncated
(every second part), small (another resolution), frozen (one picture without end), nolength
(parts without Content-Length), page (answers HTML), text (no HTTP at all).
Paths: /stream, /snapshot, /digest and /basic (user ``eva``, password ``s3cret/@``), /moved.
Pictures count: brightness of eighths is the number in binary.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import sys
import threading
import time

import cv2
import numpy as np

RATE_HZ = 20.0
BOUNDARY = "frame"
USER, PASSWORD = "eva", "s3cret/@"


class Camera:
    def __init__(self) -> None:
        self.mode = "good"
        self.listener: socket.socket | None = None
        self.port = 0
        self.listen()

    def listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self.listener = listener
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def become(self, mode: str) -> None:
        self.mode = mode
        if mode == "refuse" and self.listener is not None:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        elif mode != "refuse" and self.listener is None:
            self.listen()

    def serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self.answer(connection)
        except OSError:
            return

    def answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            part = connection.recv(4096)
            if not part:
                return
            request += part
        while self.mode == "mute":
            time.sleep(0.05)
        text = request.decode("latin-1")
        path = text.split(" ")[1]
        if self.mode == "page":
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>")
        elif self.mode == "text":
            connection.sendall(b"220 mail ready\r\n" * 3)
        elif path == "/moved":
            connection.sendall(b"HTTP/1.0 302 Found\r\nLocation: /stream\r\n\r\n")
        elif path in ("/digest", "/basic") and not allowed(path, text):
            kind = 'Basic realm="cam"'
            if path == "/digest":
                kind = 'Digest realm="cam", nonce="abc", qop="auth", opaque="x", algorithm=MD5'
            head = f"HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: {kind}\r\n\r\n"
            connection.sendall(head.encode())
        elif path == "/snapshot":
            data = jpeg(int(time.time() * 10) % 256)
            cut = data[: len(data) // 2] if self.mode == "truncated" else data
            head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
            connection.sendall(head.encode() + b"\r\n\r\n" + cut)
        elif path in ("/stream", "/digest", "/basic"):
            self.stream(connection)
        else:
            connection.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")

    def stream(self, connection: socket.socket) -> None:
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode())
        number = 0
        while True:
            mode = self.mode
            if mode == "refuse":
                return
            part = self.part(number, mode)
            if mode in ("stall", "mute"):
                connection.sendall(part[:200])
                while self.mode == mode:
                    time.sleep(0.05)
                return
            if mode == "drip":
                for offset in range(len(part)):
                    if self.mode != mode:
                        return
                    connection.sendall(part[offset : offset + 1])
                    time.sleep(0.05)
            connection.sendall(part)
            if mode == "close":
                return
            number += 1
            time.sleep(1.0 / RATE_HZ)

    @staticmethod
    def part(number: int, mode: str) -> bytes:
        shown = 7 if mode == "frozen" else number
        data = jpeg(shown % 256, small=mode == "small")
        length = len(data)
        if number % 2 and mode == "garbage":
            data = bytes(reversed(data))
        elif number % 2 and mode == "truncated":
            data = data[: length // 2]
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
        if mode != "nolength":
            head += f"Content-Length: {length}\r\n"
        return head.encode() + b"\r\n" + data + b"\r\n"


def allowed(path: str, request: str) -> bool:
    """Whether the request carries the right answer, computed from RFC 7617 and RFC 2617."""
    match = re.search(r"^Authorization: (\w+) (.*?)\r$", request, re.MULTILINE)
    if not match:
        return False
    if path == "/basic":
        return match[1] == "Basic" and base64.b64decode(match[2]).decode() == f"{USER}:{PASSWORD}"
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', match[2]))

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    mixed = ":".join([fields["nonce"], fields["nc"], fields["cnonce"], fields["qop"]])
    secret, asked = md5(f"{USER}:cam:{PASSWORD}"), md5(f"GET:{path}")
    return match[1] == "Digest" and fields["response"] == md5(f"{secret}:{mixed}:{asked}")


def jpeg(number: int, *, small: bool = False) -> bytes:
    width, height = (80, 60) if small else (160, 120)
    image = np.full((height, width, 3), 16, np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            image[:, bit * width // 8 : (bit + 1) * width // 8] = 235
    ok, data = cv2.imencode(".jpg", image)
    assert ok
    return bytes(data.tobytes())


def main() -> None:
    camera = Camera()
    print(camera.port, flush=True)
    for line in sys.stdin:
        camera.become(line.strip())
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main()
