"""A USB video class camera without a camera: USB/IP to the kernel's own vhci-hcd and uvcvideo.

Runs inside the machine, as root: ``board_usb_camera.py MODE_FILE --format mjpg --size 640x480``.
The mode in the file is read before each picture: ``good``, ``freeze`` (the same picture again),
``mute`` (no more data), ``cut`` (half a JPEG), ``unplug`` (ends the program and the connection).
"""

from __future__ import annotations

import argparse
import select
import socket
import struct
import sys
import time
from pathlib import Path

import numpy as np

from edgecam.core.opencv import cv2

VHCI = Path("/sys/devices/platform/vhci_hcd.0")
HIGH_SPEED = 3
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
STALL, RESET = -32, -104
PAYLOAD = 16384
GUID_TAIL = bytes.fromhex("000010008000 00aa00389b71".replace(" ", ""))
RAW = {
    "yuyv": (b"YUY2" + GUID_TAIL, 16),
    "nv12": (b"NV12" + GUID_TAIL, 12),
    "bgr3": (bytes.fromhex("7deb36e44f52ce119f530020af0ba770"), 24),
}


def _frame(subtype: int, index: int, width: int, height: int, rate: int) -> bytes:
    interval, size = 10_000_000 // rate, width * height * 3
    fields = (30, 0x24, subtype, index, 0, width, height, size * 8, size * 8 * rate, size)
    return struct.pack("<BBBBBHHIIIIBI", *fields, interval, 1, interval)


def _format(name: str, index: int, sizes: list[tuple[int, int]], rate: int) -> bytes:
    if name == "mjpg":
        head = struct.pack("<BBBBBBBBBBB", 11, 0x24, 6, index, len(sizes), 0, 1, 0, 0, 0, 0)
    else:
        guid, bits = RAW[name]
        head = struct.pack("<BBBBB", 27, 0x24, 4, index, len(sizes)) + guid
        head += struct.pack("<BBBBBB", bits, 1, 0, 0, 0, 0)
    kind = 7 if name == "mjpg" else 5
    return head + b"".join(
        _frame(kind, number, *size, rate) for number, size in enumerate(sizes, 1)
    )


def configuration(formats: list[str], sizes: list[tuple[int, int]], rate: int) -> bytes:
    """Descriptors of UVC 1.0 with one streaming interface on a bulk endpoint."""
    described = b"".join(_format(name, i, sizes, rate) for i, name in enumerate(formats, 1))
    units = struct.pack("<BBBBHBBHHHBBBB", 18, 0x24, 2, 1, 0x0201, 0, 0, 0, 0, 0, 3, 0, 0, 0)
    units += struct.pack("<BBBBHBBB", 9, 0x24, 3, 2, 0x0101, 0, 1, 0)
    control = struct.pack("<BBBHHIBB", 13, 0x24, 1, 0x0100, 13 + len(units), 48_000_000, 1, 1)
    length = 13 + len(formats)
    head = struct.pack(
        "<BBBBHBBBBBBB",
        *(length, 0x24, 1, len(formats), length + len(described), 0x81, 0, 2, 0, 0, 0, 1),
    )
    body = struct.pack("<BBBBBBBB", 8, 11, 0, 2, 14, 3, 0, 2)
    body += struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 0, 14, 1, 0, 2) + control + units
    body += struct.pack("<BBBBBBBBB", 9, 4, 1, 0, 1, 14, 2, 0, 0)
    body += head + bytes(len(formats)) + described
    body += struct.pack("<BBBBHB", 7, 5, 0x81, 2, 512, 0)
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body


class Camera:
    """Answers what the kernel asks over ``connection``, and sends pictures while it is asked."""

    def __init__(self, connection: socket.socket, mode: Path, asked: argparse.Namespace) -> None:
        self._link, self._mode, self._asked = connection, mode, asked
        self._formats: list[str] = asked.format
        self._sizes: list[tuple[int, int]] = asked.size
        self._config = configuration(self._formats, self._sizes, asked.rate)
        self._chosen = (1, 1)
        self._streams = False
        self._waiting: list[tuple[int, int]] = []
        self._data = bytearray()
        self._number = 0

    def serve(self) -> None:
        next_s = time.monotonic()
        while True:
            wait_s = max(0.0, min(0.2, next_s - time.monotonic()))
            if select.select([self._link], [], [], wait_s)[0]:
                self._receive()
            mode = self._mode.read_text().strip()
            if mode == "unplug":
                return
            if self._streams and not self._data and time.monotonic() >= next_s and mode != "mute":
                next_s = time.monotonic() + 1.0 / self._asked.rate
                self._number += mode != "freeze"
                self._data = bytearray(self._payloads(self._picture(cut=mode == "cut")))
            self._send_payloads()

    def _take(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            more = self._link.recv(size - len(taken))
            if not more:
                sys.exit("the kernel closed the connection")
            taken += more
        return taken

    def _receive(self) -> None:
        head = self._take(48)
        command, number, _, inward, endpoint = struct.unpack_from(">IIIII", head)
        if command == UNLINK:
            (which,) = struct.unpack_from(">I", head, 20)
            pending = [one for one in self._waiting if one[0] == which]
            self._waiting = [one for one in self._waiting if one[0] != which]
            status = RESET if pending else 0
            self._link.sendall(struct.pack(">IIIIIi24x", UNLINKED, number, 0, 0, 0, status))
            return
        (length,) = struct.unpack_from(">i", head, 24)
        sent = self._take(length) if not inward and length > 0 else b""
        if endpoint:
            self._waiting.append((number, length))
            return
        answer = self._control(head[40:48], sent)
        self._answer(number, answer[:length] if inward and answer is not None else answer, sent)

    def _answer(self, number: int, data: bytes | None, sent: bytes = b"") -> None:
        status, size = (STALL, 0) if data is None else (0, len(data) or len(sent))
        head = struct.pack(">IIIIIiiiii8x", SUBMITTED, number, 0, 0, 0, status, size, 0, 0, 0)
        self._link.sendall(head + (data or b""))

    def _control(self, setup: bytes, sent: bytes) -> bytes | None:
        kind, request, value, _, _ = struct.unpack("<BBHHH", setup)
        if (kind, request) == (0x80, 6):
            return self._descriptor(value >> 8, value & 0xFF)
        if kind == 0x80 and request == 0:
            return b"\0\0"
        if kind == 0xA1 and value >> 8 in (1, 2):
            return b"\3" if request == 0x86 else self._probe()
        if kind == 0x21 and value >> 8 in (1, 2):
            self._chosen = (sent[2] or 1, sent[3] or 1)
            if value >> 8 == 2:
                self._streams, self._data = True, bytearray()
            return b""
        if kind in (0, 1, 2):
            # A cleared halt or another setting is how uvcvideo ends a stream on a bulk endpoint.
            if request in (1, 11):
                self._streams = False
            return b""
        return None

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        if kind == 1:
            fields = (18, 1, 0x0200, 0xEF, 2, 1, 64, 0x1209, 0x0001, 0x0100, 1, 2, 3, 1)
            return struct.pack("<BBHBBBBHHHBBBB", *fields)
        if kind == 2:
            return self._config
        if kind == 6:
            return struct.pack("<BBHBBBBBB", 10, 6, 0x0200, 0xEF, 2, 1, 64, 1, 0)
        if kind == 3:
            texts = ("\u0409", "Edgecam", "Board camera", self._asked.serial)
            if index < len(texts):
                text = texts[index].encode("utf-16-le")
                return bytes((len(text) + 2, 3)) + text
        return None

    def _probe(self) -> bytes:
        form, frame = self._chosen
        width, height = self._sizes[frame - 1]
        fields = (1, form, frame, 10_000_000 // self._asked.rate, 0, 0, 0, 0, 0)
        return struct.pack("<HBBIHHHHHII", *fields, width * height * 3, PAYLOAD)

    def _picture(self, *, cut: bool) -> bytes:
        name = self._formats[self._chosen[0] - 1]
        width, height = self._sizes[self._chosen[1] - 1]
        image = np.full((height, width, 3), (40, 120, 200), np.uint8)
        left = self._number * 16 % (width - 32)
        image[height // 4 : height // 2, left : left + 32] = 255
        if name == "bgr3":
            return image.tobytes()
        if name == "mjpg":
            data = cv2.imencode(".jpg", image)[1].tobytes()
            return data[: len(data) // 2] if cut else data
        code = cv2.COLOR_BGR2YUV_YUY2 if name == "yuyv" else cv2.COLOR_BGR2YUV_I420
        raw = cv2.cvtColor(image, code)
        if name == "nv12":
            planes = raw.reshape(-1)
            count = width * height
            both = planes[count:].reshape(2, -1).T
            return planes[:count].tobytes() + both.tobytes()
        return raw.tobytes()

    def _payloads(self, picture: bytes) -> bytes:
        """The picture cut into payloads, each behind its length as four bytes."""
        size, parts = PAYLOAD - 2, []
        for start in range(0, len(picture), size):
            last = start + size >= len(picture)
            flags = 0x80 | self._asked.number & 1 | (2 if last else 0)
            payload = bytes((2, flags)) + picture[start : start + size]
            parts.append(struct.pack("<I", len(payload)) + payload)
        self._asked.number += 1
        return b"".join(parts)

    def _send_payloads(self) -> None:
        while self._data and self._waiting:
            (size,) = struct.unpack_from("<I", self._data)
            number, _ = self._waiting.pop(0)
            self._answer(number, bytes(self._data[4 : 4 + size]))
            del self._data[: 4 + size]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", type=Path)
    parser.add_argument("--format", action="append", choices=["mjpg", *RAW], required=True)
    parser.add_argument("--size", action="append", type=_size, required=True)
    parser.add_argument("--rate", type=int, default=10)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--serial", default="0001")
    asked = parser.parse_args()
    asked.number = 0
    own, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    device = asked.port + 2
    (VHCI / "attach").write_text(f"{asked.port} {kernels.fileno()} {device} {HIGH_SPEED}")
    kernels.close()
    Camera(own, asked.mode, asked).serve()


if __name__ == "__main__":
    main()
