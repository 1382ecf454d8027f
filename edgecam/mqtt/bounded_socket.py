"""A socket to a broker that lets no packet through that is larger than a bound.

paho gathers whatever a broker announces, up to 256 MB, in memory. MQTT 5 lets a client state a
Maximum Packet Size; on MQTT 3.1.1, and with a broker that does not obey it, this is what holds.

And paho closes the connection for a PUBACK whose reason code the standard does not list there:
mosquitto answers 0x95, packet too large, to what is above its message_size_limit. Before 2.2 it
also takes no notice of why a broker closes, where a DISCONNECT has a reason code and nothing else.
"""

from __future__ import annotations

import socket
import ssl

_PUBLISH, _PUBACK, _DISCONNECT = 3, 4, 14
# A property of MQTT 5 and its two bytes of length: no text.
_EMPTY_REASON_STRING = bytes((0x1F, 0, 0))
# MQTT 5, table 3-4.
_PUBACK_CODES = frozenset((0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99))
_ANY_REFUSAL = 0x83
_PIECE_BYTES = 65_536
# As much is thrown away in one go before the connection gets something else to do.
_PIECES = 64
_MAX_LENGTH_BYTES = 4


class PacketTooLargeError(ConnectionAbortedError):
    """A broker sends a packet that is above the bound or none, and that cannot be passed over."""


class BoundedSocket:
    """Passes packets on as they come; of a larger message only its topic, with no payload.

    The rest is read and thrown away, so that the connection lives and the message is
    acknowledged, which keeps the broker from sending it again. ``cut_bytes`` is the size of the
    packet that was handed over last if it was cut, else 0.
    """

    def __init__(self, sock: socket.socket, max_packet_bytes: int, has_properties: bool) -> None:
        """``has_properties``: the packets are those of MQTT 5."""
        self._sock = sock
        self._max_packet_bytes = max_packet_bytes
        self._has_properties = has_properties
        self._head = bytearray()
        self._ready = b""
        self._left_bytes = self._skip_bytes = 0
        self.cut_bytes = 0
        self.refused: str | None = None
        # Number of a message -> the reason code that was put into one that paho knows.
        self.codes: dict[int, int] = {}

    @property
    def raw(self) -> socket.socket:
        """Socket below."""
        return self._sock

    @property
    def is_skipping(self) -> bool:
        """Whether bytes of a message that is too large are being dropped."""
        return self._skip_bytes > 0

    def recv(self, bufsize: int) -> bytes:
        """
        Raises:
            BlockingIOError: nothing is there yet (TLS: ssl.SSLWantReadError).
            PacketTooLargeError: what comes cannot be passed over.
        """
        if not self._ready and not self._left_bytes and not self._begin_packet():
            return b""
        if self._ready:
            data, self._ready = self._ready[:bufsize], self._ready[bufsize:]
            return data
        data = self._sock.recv(min(bufsize, self._left_bytes, _PIECE_BYTES))
        self._left_bytes -= len(data)
        return data

    def _begin_packet(self) -> bool:
        """Read until there is something to hand over; False at the end of the stream."""
        for _ in range(_PIECES):
            if not self._skip_bytes:
                return self._read_head()
            data = self._sock.recv(min(self._skip_bytes, _PIECE_BYTES))
            if not data:
                return False
            self._skip_bytes -= len(data)
        raise BlockingIOError

    def _read_head(self) -> bool:
        while (missing := self._missing_bytes()) > 0:
            data = self._sock.recv(missing)
            if not data:
                return False
            self._head += data
        begin, size_bytes = self._place()
        if size_bytes <= self._max_packet_bytes:
            self._translate_code(begin)
            self._left_bytes = size_bytes - len(self._head)
            self._spell_out(begin, size_bytes)
            self._ready, self.cut_bytes = bytes(self._head), 0
        else:
            body = bytes(self._head[begin:]) + (b"\0" if self._has_properties else b"")
            self._skip_bytes = size_bytes - len(self._head)
            self._ready = bytes(self._head[:1]) + _length_bytes(len(body)) + body
            self.cut_bytes = size_bytes
        self._head.clear()
        return True

    def _place(self) -> tuple[int, int]:
        """Where the packet's body begins, and the packet's size; 0, 0 while that is unknown."""
        size_bytes = 0
        for i, byte in enumerate(self._head[1 : 1 + _MAX_LENGTH_BYTES]):
            size_bytes |= (byte & 127) << 7 * i
            if byte < 128:
                return i + 2, i + 2 + size_bytes
        return 0, 0

    def _translate_code(self, begin: int) -> None:
        body = self._head[begin : begin + 3]
        if self._head[0] >> 4 == _PUBACK and len(body) == 3 and body[2] not in _PUBACK_CODES:
            self.codes[int.from_bytes(body[:2], "big")] = body[2]
            self._head[begin + 2] = _ANY_REFUSAL

    def _spell_out(self, begin: int, size_bytes: int) -> None:
        """Give a DISCONNECT with a reason code alone properties: paho before 2.2 reads no other."""
        head = self._head
        if head[0] >> 4 == _DISCONNECT and self._has_properties and 0 < size_bytes - begin < 3:
            body = bytes((head[begin], len(_EMPTY_REASON_STRING))) + _EMPTY_REASON_STRING
            head[1:] = _length_bytes(len(body)) + body

    def _missing_bytes(self) -> int:
        """How many bytes the head still lacks at least."""
        head = self._head
        begin, size_bytes = self._place()
        if not begin:
            if len(head) > _MAX_LENGTH_BYTES:
                raise self._refusal("a packet whose length has more than four bytes")
            return 1
        if size_bytes <= self._max_packet_bytes:
            is_answer = head[0] >> 4 in (_PUBACK, _DISCONNECT) and self._has_properties
            return min(size_bytes, begin + 3) - len(head) if is_answer else 0
        if head[0] >> 4 != _PUBLISH:
            raise self._refusal(
                f"a packet of {size_bytes} bytes that is no message (at most "
                f"{self._max_packet_bytes} are taken)"
            )
        if len(head) < begin + 2:
            return begin + 2 - len(head)
        has_number = head[0] & 0x06 != 0
        topic_bytes = int.from_bytes(head[begin : begin + 2], "big")
        wanted = begin + 2 + topic_bytes + (2 if has_number else 0)
        if wanted > size_bytes:
            raise self._refusal("a message whose topic is longer than the message")
        return wanted - len(head)

    def _refusal(self, what: str) -> PacketTooLargeError:
        self.refused = what
        return PacketTooLargeError(what)

    def pending(self) -> int:
        """What is here already, though the socket is not readable."""
        decrypted = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
        return decrypted + len(self._ready)

    def send(self, data: bytes) -> int:
        """Send as the socket does."""
        return self._sock.send(data)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def fileno(self) -> int:
        """Return the socket's file descriptor."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Set the socket's blocking mode."""
        self._sock.setblocking(flag)


def _length_bytes(length: int) -> bytes:
    """A Remaining Length as MQTT writes it."""
    found = bytearray()
    while True:
        length, digit = length >> 7, length & 127
        found.append(digit | (128 if length else 0))
        if not length:
            return bytes(found)
