"""An MJPEG camera on loopback that plays a clip without end, at any rate: CLIP RATE_HZ [PORT].

Its pictures are encoded once, at the start; a reader that is slow misses some.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

import cv2


def pictures(clip: str) -> list[bytes]:
    capture, parts = cv2.VideoCapture(clip), []
    while True:
        read, image = capture.read()
        if not read:
            return parts
        data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 80))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        parts.append(head.encode() + data + b"\r\n")


def serve(connection: socket.socket, parts: list[bytes], rate_hz: float) -> None:
    try:
        connection.recv(4096)
        head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
        connection.sendall(head.encode())
        began_s = time.monotonic()
        while True:
            number = int((time.monotonic() - began_s) * rate_hz) + 1
            time.sleep(max(0.0, began_s + number / rate_hz - time.monotonic()))
            connection.sendall(parts[number % len(parts)])
    except OSError:
        connection.close()


def main() -> None:
    parts, rate_hz = pictures(sys.argv[1]), float(sys.argv[2])
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    listener = socket.create_server(("127.0.0.1", port))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, parts, rate_hz), daemon=True).start()


main()
