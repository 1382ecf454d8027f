"""What an RTSP server answers (RFC 2326), asked before FFmpeg opens the stream."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from edgecam.core.errors import SourceError
from edgecam.sources import url as urls
from edgecam.sources.http_auth import NonceUse, authorization
from edgecam.sources.supervised import StreamError
from edgecam.sources.tcp_probe import connect
from edgecam.sources.tls import distrust
from edgecam.sources.url import StreamUrl

MAX_HEADER_BYTES, MAX_BODY_BYTES = 16_384, 65_536
REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class RtspAnswer:
    """A status such as "200 OK", and header fields by their names in small letters."""

    status: str
    fields: Mapping[str, list[str]] = field(default_factory=dict)

    def first(self, name: str) -> str:
        """The first field of that name, or an empty text."""
        return self.fields.get(name, [""])[0]


class RtspClient:
    """A connection on which every answer ends by ``timeout_s`` after it was opened."""

    def __init__(
        self, url: StreamUrl, timeout_s: float, context: ssl.SSLContext | None = None
    ) -> None:
        """
        ``context``: how TLS is trusted; by default as FFmpeg does it, without a check.

        Raises:
            StreamError: nothing answers there.
        """
        self._url, self._context = url, context
        self._deadline_s = time.monotonic() + timeout_s
        self._socket = connect(url, timeout_s)
        if url.scheme == "rtsps":
            self._socket = self._wrapped()
        self._received = bytearray()
        self._number = 0
        self._used = NonceUse()

    def _wrapped(self) -> socket.socket:
        # Cameras sign their certificates themselves.
        unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        context = self._context or unchecked
        try:
            return context.wrap_socket(self._socket, server_hostname=self._url.host)
        except (OSError, ValueError) as error:
            self._socket.close()
            if (remedy := distrust(error)) is not None:
                why = getattr(error, "verify_message", "") or str(error)
                raise StreamError("untrusted", f"{self._where}: TLS: {why}; {remedy}") from None
            raise StreamError("unreachable", f"{self._where}: TLS: {error}") from None

    @property
    def _where(self) -> str:
        return f"{self._url.host}:{self._url.port}"

    def ask(
        self, method: str, authorize: str | None = None, header: str | None = None
    ) -> RtspAnswer:
        """Send a request, and read its answer up to the end of its body; raises StreamError."""
        self._number += 1
        request = f"{method} {self._url.bare} RTSP/1.0\r\nCSeq: {self._number}\r\n"
        request += "User-Agent: edgecam\r\n" + (f"{header}\r\n" if header else "")
        request += f"Authorization: {authorize}\r\n\r\n" if authorize else "\r\n"
        try:
            self._socket.sendall(request.encode())
            answer = self._header()
            self._skip_body(answer)
        except TimeoutError:
            what = "answers too slowly" if self._received else "accepts and says nothing"
            raise StreamError("silent", f"{self._where} {what}") from None
        except OSError as error:
            raise StreamError("closed", f"{self._where}: {error.strerror or error}") from None
        return answer

    def _header(self) -> RtspAnswer:
        while b"\r\n\r\n" not in self._received and len(self._received) < MAX_HEADER_BYTES:
            if not self._more():
                break
        if not self._received:
            raise StreamError("closed", f"{self._where} closes the connection at once")
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        self._received[:] = rest
        line, *lines = head.decode("latin-1").split("\r\n")
        if not line.startswith("RTSP/"):
            raise StreamError("rejected", f"{self._where} is no RTSP server")
        fields: dict[str, list[str]] = {}
        for each in lines:
            name, _, value = each.partition(":")
            fields.setdefault(name.strip().lower(), []).append(value.strip())
        return RtspAnswer(line.partition(" ")[2], fields)

    def _skip_body(self, answer: RtspAnswer) -> None:
        digits = answer.first("content-length")[:9]
        length = int(digits) if digits.isascii() and digits.isdigit() else 0
        if length > MAX_BODY_BYTES:
            raise StreamError("garbage", f"{self._where}: an answer of {length} bytes")
        while len(self._received) < length and self._more():
            pass
        del self._received[:length]

    def _more(self) -> bool:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)
        part = self._socket.recv(4096)
        self._received += part
        return bool(part)

    def ask_with_login(self, method: str) -> RtspAnswer:
        """The same as the user of the URL, where the server wants to know one."""
        url, answer = self._url, self.ask(method)
        if not answer.status.startswith("401") or url.username is None:
            return answer
        challenges = answer.fields.get("www-authenticate", [])
        login = authorization(challenges, method, url.bare, url.username, url.password, self._used)
        return answer if login is None else self.ask(method, login)

    def detach(self) -> socket.socket:
        """Return the open connection, which waits without end from now on."""
        self._socket.settimeout(None)
        return self._socket

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def ask(url: StreamUrl, method: str, timeout_s: float, *, as_user: bool = False) -> RtspAnswer:
    """The answer to one request, ``as_user`` of the URL where it wants one; raises StreamError.

    Cameras lock out who logs in wrongly time and again: not what is done every second.
    """
    client = RtspClient(url, timeout_s)
    try:
        return client.ask_with_login(method) if as_user else client.ask(method)
    finally:
        client.close()


def refuses_tcp(url: StreamUrl, timeout_s: float) -> bool:
    """Whether a server takes no RTP inside its RTSP connection (461), so that UDP is left."""
    client = RtspClient(url, timeout_s)
    try:
        interleaved = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
        return client.ask("SETUP", header=interleaved).status.startswith("461")
    except StreamError:
        return False
    finally:
        client.close()


@contextlib.contextmanager
def redirects_refused(
    url: StreamUrl, timeout_s: float, context: ssl.SSLContext | None = None
) -> Iterator[None]:
    """Refuse a server that redirects to another scheme, host or port.

    FFmpeg takes user and password along to wherever an RTSP server redirects, and has no option
    that would keep it from that. Within, the connection stays open: a server that is still
    closing the stream that was asked for refuses the next client.

    Raises:
        StreamError: it does, or it does not answer in time.
    """
    asked = url
    for _ in range(REDIRECTS):
        client = RtspClient(url, timeout_s, context)
        try:
            location = _location(client)
            if location is None:
                yield
                return
        finally:
            client.close()
        url = redirected(asked, location)
    raise StreamError("rejected", f"the server redirects more than {REDIRECTS} times")


def _location(client: RtspClient) -> str | None:
    """Where the server redirects to before it describes its stream; None: it does not."""
    for method in ("OPTIONS", "DESCRIBE"):
        answer = client.ask_with_login(method)
        if answer.status.startswith("3"):
            return answer.first("location")
        if answer.status.startswith("401"):
            # FFmpeg would only try the same once more.
            raise StreamError("unauthorised", "the server refuses the user name or password")
    return None


def redirected(asked: StreamUrl, location: str) -> StreamUrl:
    """Where a camera redirects to, with its login.

    Raises:
        StreamError: that is another scheme, host or port, or no address.
    """
    try:
        target = urls.parse(urls.escape(location.encode("latin-1")))
    except (SourceError, ValueError):
        raise StreamError("rejected", "the server redirects to what is no address") from None
    if target.origin != asked.origin:
        raise StreamError(
            "unauthorised",
            f"user and password go to {asked.shown} alone, and it redirects to {target.shown}; "
            "name that in source.url",
        )
    return replace(target, username=asked.username, password=asked.password)
