"""Stands between FFmpeg and an RTSP camera with a password, which FFmpeg so never has.

FFmpeg follows every redirect and takes user and password along; it has no option against that. So
it is given an address on loopback without them, and each of its requests goes on from here to the
one camera, with the answer to the camera's challenge. Pictures inside the connection (TCP) pass
through as they are; those by UDP come to FFmpeg directly.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import ssl
import threading
from dataclasses import dataclass, field

from edgecam.sources.http_auth import NonceUse, authorization
from edgecam.sources.rtsp import MAX_BODY_BYTES, MAX_HEADER_BYTES, RtspClient, redirected
from edgecam.sources.shared_tls import SharedTls
from edgecam.sources.supervised import StreamError
from edgecam.sources.url import StreamUrl

_Wire = socket.socket | SharedTls
_PACKET = ord("$")
_RECEIVED_BYTES = 65_536
_MESSAGE = re.compile(rb"[A-Z][A-Z_]+(?:/1| )")
_LENGTH = re.compile(rb"^content-length:\s*(\d{1,9})\s*$", re.IGNORECASE | re.MULTILINE)
_NUMBER = re.compile(rb"^(cseq:\s*)(\d+)", re.IGNORECASE | re.MULTILINE)
_CHALLENGE = re.compile(rb"^www-authenticate:\s*(.*)$", re.IGNORECASE | re.MULTILINE)
_LOCATION = re.compile(rb"^(location:\s*)([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
# Who has not named the address yet: FFmpeg does so at once, other users of this machine cannot.
_MAX_STRANGERS, _STRANGER_S = 64, 10.0
# Without a login, with one, and once more where the camera says that it has changed its mind.
TRIES = 3
_TRANSPORT = re.compile(rb"^transport:(?!.*source=).*server_port=[^\r\n]*", re.IGNORECASE | re.M)


class RtspRelay:
    """``url``: what FFmpeg opens in place of the camera's; ``fault``: why it was cut off."""

    def __init__(self, camera: StreamUrl, timeout_s: float, context: ssl.SSLContext | None) -> None:
        self._camera, self._timeout_s, self._context = camera, timeout_s, context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4)
        # Other users of this machine are not to find the camera without its password here.
        base = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/{secrets.token_hex(16)}"
        self._base = base.encode()
        self.url = base + camera.target
        self.fault: StreamError | None = None
        self._open: set[_Wire] = set()
        self._lock = threading.Lock()
        self._strangers = threading.BoundedSemaphore(_MAX_STRANGERS)
        threading.Thread(target=self._accept, name="rtsp-relay", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                viewer, _ = self._listener.accept()
            except OSError:
                return
            viewer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._strangers.acquire(blocking=False):
                viewer.close()
                continue
            threading.Thread(
                target=self._serve, args=(viewer,), name="rtsp-viewer", daemon=True
            ).start()

    def _serve(self, viewer: socket.socket) -> None:
        try:
            asked = _Reader(viewer)
            first = self._first(viewer, asked)
            if self._base not in first[: MAX_HEADER_BYTES // 2]:
                return
            plain = RtspClient(self._camera, self._timeout_s, self._context).detach()
            camera: _Wire = SharedTls(plain) if isinstance(plain, ssl.SSLSocket) else plain
            with self._lock:
                self._open.add(camera)
            exchange = _Exchange(self._camera, self._base, viewer, camera)
            threading.Thread(
                target=self._answer, args=(exchange,), name="rtsp-camera", daemon=True
            ).start()
            try:
                exchange.ask(first)
                while part := asked.part():
                    exchange.ask(part)
            finally:
                _end(camera)
        except StreamError as error:
            self.fault = self.fault or error
        except OSError:
            pass  # One of the two has gone: the other learns it below.
        finally:
            _end(viewer)
            with self._lock:
                self._open.discard(viewer)

    def _first(self, viewer: socket.socket, asked: _Reader) -> bytes:
        """The first request: who does not know the address gets little time and room."""
        with self._lock:
            self._open.add(viewer)
        late = threading.Timer(_STRANGER_S, _end, (viewer,))
        late.name, late.daemon = "rtsp-late", True
        late.start()
        try:
            return asked.part()
        except StreamError:
            return b""
        finally:
            late.cancel()
            self._strangers.release()

    def _answer(self, exchange: _Exchange) -> None:
        answers = _Reader(exchange.camera)
        try:
            while part := answers.part():
                exchange.answer(part)
        except StreamError as error:
            self.fault = self.fault or error
        except OSError:
            pass
        finally:
            _end(exchange.viewer)
            _end(exchange.camera)

    def close(self) -> None:
        """End every connection."""
        _end(self._listener)
        with self._lock:
            for each in self._open:
                _end(each)


def _end(connection: _Wire) -> None:
    """Wake the thread that waits for it, then close it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class _Reader:
    """Parts of what comes: whole packets together, or one message with its body."""

    def __init__(self, connection: _Wire) -> None:
        self._connection = connection
        self._received = bytearray()

    def part(self) -> bytes:
        """The next one, empty at the end; raises OSError, and StreamError where it is too long."""
        while (end := self._end()) == 0:
            more = self._connection.recv(_RECEIVED_BYTES)
            if not more:
                return b""
            self._received += more
        found = bytes(self._received[:end])
        del self._received[:end]
        return found

    def _end(self) -> int:
        """Where the first part ends, 0 where more has to come."""
        data = self._received
        if data[:1] == b"$":
            return self._packets()
        if not data:
            return 0
        if _MESSAGE.match(data) is None and len(data) >= 16:
            # Between packets some cameras send what is neither.
            begins = [at for at in (data.find(b"$", 1), data.find(b"RTSP/", 1)) if at > 0]
            return min(begins, default=len(data))
        head = data.find(b"\r\n\r\n")
        if head < 0:
            if len(data) > MAX_HEADER_BYTES:
                raise StreamError("garbage", f"a header of more than {MAX_HEADER_BYTES} bytes")
            return 0
        length = _LENGTH.search(bytes(data[:head]).replace(b"\r", b""))
        count = int(length[1]) if length else 0
        if count > MAX_BODY_BYTES:
            raise StreamError("garbage", f"an answer of {count} bytes")
        return head + 4 + count if len(data) >= head + 4 + count else 0

    def _packets(self) -> int:
        data, at = self._received, 0
        while at + 4 <= len(data) and data[at] == _PACKET:
            after = at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
            if after > len(data):
                break
            at = after
        return at


@dataclass(slots=True)
class _Request:
    """What FFmpeg asked, as it goes to the camera but for its number and the login."""

    number: bytes
    method: str
    target: str
    data: bytes
    has_login: bool = False
    tries: int = 0


@dataclass(slots=True)
class _Exchange:
    """One connection of FFmpeg's and the camera's; ``ask`` and ``answer`` on a thread each."""

    url: StreamUrl
    base: bytes
    viewer: socket.socket
    camera: _Wire
    challenges: list[str] = field(default_factory=list)
    pending: dict[bytes, _Request] = field(default_factory=dict)
    count: int = 0
    used: NonceUse = field(default_factory=NonceUse)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, part: bytes) -> None:
        """Send on what FFmpeg sends."""
        line, _, rest = part.partition(b"\r\n")
        words = line.split(b" ")
        number = _NUMBER.search(rest)
        if part[0] == _PACKET or line.startswith(b"RTSP/") or len(words) != 3 or number is None:
            with self.lock:
                self.camera.sendall(part)
            return
        method, target, version = words
        if target.startswith(self.base):
            target = self._there.encode() + target[len(self.base) :]
        data = b" ".join((method, target, version)) + b"\r\n" + rest
        self._send(_Request(number[2], method.decode("latin-1"), target.decode("latin-1"), data))

    def _here(self, location: bytes) -> bytes:
        """An address of the camera's as FFmpeg is to open it; raises StreamError for others'."""
        return self.base + redirected(self.url, location.decode("latin-1")).target.encode()

    @property
    def _there(self) -> str:
        return f"{self.url.scheme}://{self.url.authority}"

    def _send(self, request: _Request) -> None:
        with self.lock:
            self.count += 1
            number = b"%d" % self.count
            self.pending[number] = request
            data = _NUMBER.sub(rb"\g<1>" + number, request.data, count=1)
            login = self.url.username is not None and authorization(
                *(self.challenges, request.method, request.target),
                *(self.url.username or "", self.url.password, self.used),
            )
            if login:
                line, _, rest = data.partition(b"\r\n")
                data = line + b"\r\nAuthorization: " + login.encode() + b"\r\n" + rest
            request.has_login, request.tries = bool(login), request.tries + 1
            self.camera.sendall(data)

    def answer(self, part: bytes) -> None:
        """Send on what the camera sends.

        Raises:
            StreamError: it redirects to another scheme, host or port.
        """
        number = _NUMBER.search(part) if part.startswith(b"RTSP/") else None
        request = self.pending.pop(number[2], None) if number is not None else None
        if request is None:
            self.viewer.sendall(part)
            return
        head, gap, body = part.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status == [b"401"]:
            found = [each.decode("latin-1").strip() for each in _CHALLENGE.findall(head)]
            is_stale = any("stale=true" in each.lower() for each in found)
            self.challenges = found
            if found and request.tries < TRIES and (not request.has_login or is_stale):
                self._send(request)
                return
        if status and status[0].startswith(b"3"):
            head = _LOCATION.sub(lambda found: found[1] + self._here(found[2]), head)
        if (found_transport := _TRANSPORT.search(head)) is not None:
            # For FFmpeg it is on loopback.
            at = found_transport.end()
            host = self.camera.getpeername()[0]
            head = head[:at] + f";source={host}".encode() + head[at:]
        head = _NUMBER.sub(rb"\g<1>" + request.number, head, count=1)
        self.viewer.sendall(head + gap + body)
