"""A broker whose answers a test chooses, for what a real one does too seldom to wait for.

Written after MQTT 3.1.1 and 5; it parses what comes by itself, so that it sees what is really sent.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 10, 12, 14


@dataclass(frozen=True)
class Published:
    """A PUBLISH as it came: on which connection (from 1), with which flags."""

    connection: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    number: int
    # Of MQTT 5, as they came.
    properties: bytes = b""


# An answer to a PUBLISH: a reason code, no answer, the end of the connection, or (a code in hex, as
# "87") a DISCONNECT before it.
Verdict = int | None | str
CLOSE = "close"


@dataclass
class ScriptedBroker:
    """``refusals``: protocol level -> the answer to CONNECT; empty: only close, None: say nothing.

    ``first_refusal`` is the answer to the first one alone. ``dislikes``: whether the connection is
    closed for what its CONNECT says of a will (its QoS, whether it is retained) and its number.
    """

    refusals: Mapping[int, bytes | None] = field(default_factory=dict)
    first_refusal: bytes = b""
    properties: bytes = b""
    verdict: Callable[[Published], Verdict] = lambda _: 0
    dislikes: Callable[[int, bool, int], bool] = lambda _qos, _retained, _number: False
    levels: list[int] = field(default_factory=list)
    messages: list[Published] = field(default_factory=list)
    client_ids: list[str] = field(default_factory=list)
    wills: list[tuple[int, bool]] = field(default_factory=list)
    max_packet_bytes: list[int | None] = field(default_factory=list)
    # The properties of each CONNECT of MQTT 5.
    asked: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def __enter__(self) -> ScriptedBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def send(self, data: bytes) -> None:
        """Raw bytes to the client that came last."""
        self._clients[-1].sendall(data)

    def of(self, topic: str) -> list[Published]:
        return [message for message in list(self.messages) if message.topic == topic]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._clients.append(client)
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, StopIteration, IndexError):
            packets = _packets(client)
            _, body = next(packets)
            level = body[6]
            self.levels.append(level)
            if level in self.refusals:
                answer = self.refusals[level]
                if answer is None:
                    client.recv(1)
                else:
                    client.sendall(answer)
                return
            connection = len(self.levels)
            if self.first_refusal and connection == 1:
                client.sendall(self.first_refusal)
                return
            self._note_connect(body, level)
            if self.dislikes(*self.wills[-1], connection):
                return
            more = bytes([len(self.properties)]) + self.properties if level == 5 else b""
            client.sendall(packet(2 << 4, b"\0\0" + more))
            for first, body in packets:
                if not self._answer(client, connection, level, first, body):
                    return

    def _note_connect(self, body: bytes, level: int) -> None:
        flags, rest = body[7], body[10:]
        bound = None
        if level == 5:
            properties, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
            self.asked.append(properties)
            at = properties.find(b"\x27")
            bound = int.from_bytes(properties[at + 1 : at + 5], "big") if at >= 0 else None
        self.max_packet_bytes.append(bound)
        self.client_ids.append(rest[2 : 2 + int.from_bytes(rest[:2], "big")].decode())
        self.wills.append((flags >> 3 & 3, bool(flags & 0x20)))

    def _answer(
        self, client: socket.socket, connection: int, level: int, first: int, body: bytes
    ) -> bool:
        kind = first >> 4
        none = b"\0" if level == 5 else b""
        if kind == PUBLISH:
            return self._published(client, connection, level, first, body)
        if kind == SUBSCRIBE:
            client.sendall(packet(9 << 4, body[:2] + none + b"\x01"))
        elif kind == UNSUBSCRIBE:
            client.sendall(packet(11 << 4, body[:2] + (b"\0\0" if level == 5 else b"")))
        elif kind == PINGREQ:
            client.sendall(packet(13 << 4, b""))
        return kind != DISCONNECT

    def _published(
        self, client: socket.socket, connection: int, level: int, first: int, body: bytes
    ) -> bool:
        topic_bytes = int.from_bytes(body[:2], "big")
        topic, rest = body[2 : 2 + topic_bytes].decode(), body[2 + topic_bytes :]
        qos, number = first >> 1 & 3, 0
        if qos:
            number, rest = int.from_bytes(rest[:2], "big"), rest[2:]
        more = b""
        if level == 5:
            more, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        message = Published(connection, topic, rest, qos, bool(first & 1), number, more)
        self.messages.append(message)
        verdict = self.verdict(message)
        if isinstance(verdict, str):
            if verdict != CLOSE:
                client.sendall(packet(DISCONNECT << 4, bytes([int(verdict, 16), 0])))
            return False
        if qos and verdict is not None:
            code = bytes([verdict, 0]) if level == 5 and verdict else b""
            client.sendall(packet(PUBACK << 4, struct.pack("!H", number) + code))
        if topic.endswith("/claim"):
            # A client that asks for a name waits to hear itself.
            none = b"\0" if level == 5 else b""
            client.sendall(packet(PUBLISH << 4, body[: 2 + topic_bytes] + none + rest))
        return True


def packet(first: int, body: bytes) -> bytes:
    """An MQTT packet of less than 2 MiB."""
    length, digits = len(body), b""
    while True:
        length, digit = length >> 7, length & 127
        digits += bytes([digit | (128 if length else 0)])
        if not length:
            return bytes([first]) + digits + body


def _packets(client: socket.socket) -> Iterator[tuple[int, bytes]]:
    stream = client.makefile("rb")
    while first := stream.read(1):
        length = shift = 0
        while True:
            byte = stream.read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        yield first[0], stream.read(length)
