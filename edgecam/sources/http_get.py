"""One GET of a picture or stream: redirects, log-in, and a deadline over every byte of it."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from dataclasses import replace
from email.message import Message
from typing import cast
from urllib.parse import urljoin

from edgecam.core.errors import SourceError
from edgecam.sources import url as urls
from edgecam.sources.http_auth import authorization
from edgecam.sources.supervised import StreamError
from edgecam.sources.tcp_probe import connect
from edgecam.sources.tls import distrust
from edgecam.sources.url import StreamUrl

REDIRECTS = 5
RECEIVE_BYTES = 65536
# Status lines, headers and interim answers together.
MAX_HEADER_BYTES = 65536
MAX_LOCATION_CHARACTERS = 4096


class Wire(io.RawIOBase):
    """A connection whose every read ends by ``deadline_s``, however few bytes come at a time.

    A socket's own time-out begins again with each byte. With ``left_bytes`` there is a bound on
    what is read too.
    """

    def __init__(
        self, url: StreamUrl, deadline_s: float, context: ssl.SSLContext | None = None
    ) -> None:
        """
        ``context``: how TLS is trusted; by default the system's CAs.

        Raises:
            StreamError: nothing answers there, or not in TLS.
        """
        super().__init__()
        self.deadline_s = deadline_s
        self.left_bytes: int | None = None
        self._socket = connect(url, max(0.01, deadline_s - time.monotonic()))
        if url.scheme == "https":
            self._socket = self._wrapped(url.host, context or ssl.create_default_context())

    def _wrapped(self, host: str, context: ssl.SSLContext) -> socket.socket:
        try:
            self._set_timeout()
            # The time-out is for the whole handshake.
            return context.wrap_socket(self._socket, server_hostname=host)
        except (OSError, ValueError) as error:
            self._socket.close()
            if isinstance(error, TimeoutError):
                raise StreamError("silent", f"{host}: no TLS in time") from None
            if (remedy := distrust(error)) is not None:
                why = getattr(error, "verify_message", "") or str(error)
                raise StreamError("untrusted", f"{host}: TLS: {why}; {remedy}") from None
            raise StreamError("unreachable", f"{host}: TLS: {error}") from None

    def _set_timeout(self) -> None:
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)

    def send(self, data: bytes) -> None:
        """Send all of ``data``; raises OSError."""
        self._set_timeout()
        self._socket.sendall(data)

    def readable(self) -> bool:
        """Return True: a raw stream to read from."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into the buffer before the deadline; return the number of bytes."""
        self._set_timeout()
        count = self._socket.recv_into(buffer)
        if self.left_bytes is not None:
            self.left_bytes -= count
            if self.left_bytes < 0:
                raise http.client.HTTPException("its header does not end")
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """What ``http.client`` reads an answer from."""
        del mode
        return io.BufferedReader(self)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


class Answer:
    """A GET that was answered with 200; everything on it ends by ``deadline_s``, monotonic.

    User and password of the URL go to its own scheme, host and port alone, wherever the server
    redirects to.

    Raises:
        StreamError: nothing answers in time, or not with 200.
    """

    def __init__(
        self, url: StreamUrl, deadline_s: float, context: ssl.SSLContext | None = None
    ) -> None:
        self._context = context
        self._asked = self._url = url
        self._peeked = b""
        authorize: str | None = None
        redirects = 0
        while True:
            self._get(authorize, deadline_s)
            status = self._response.status
            if status in (301, 302, 303, 307, 308) and redirects < REDIRECTS:
                redirects += 1
                authorize = None
                self._redirect()
            elif status == 401 and authorize is None and self._url.username is not None:
                authorize = self._answer_challenge(self._url.username)
            else:
                break
        self.headers: Message = self._response.headers
        if status != 200:
            raise self._refusal()

    @property
    def deadline_s(self) -> float:
        """Time by ``time.monotonic()`` at which reading ends."""
        return self._wire.deadline_s

    @deadline_s.setter
    def deadline_s(self, deadline_s: float) -> None:
        self._wire.deadline_s = deadline_s

    def _get(self, authorize: str | None, deadline_s: float) -> None:
        self._wire = Wire(self._url, deadline_s, self._context)
        # It wants no more of a socket than a file to read from.
        self._response = http.client.HTTPResponse(cast(socket.socket, self._wire), method="GET")
        try:
            self._wire.send(self._request(authorize))
            self._wire.left_bytes = MAX_HEADER_BYTES
            self._response.begin()
            self._wire.left_bytes = None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise self._fault(error) from None

    def _request(self, authorize: str | None) -> bytes:
        lines = [
            f"GET {self._url.target} HTTP/1.1",
            f"Host: {self._url.authority}",
            "User-Agent: edgecam",
            "Accept: */*",
            "Connection: close",
        ]
        if authorize:
            lines.append(f"Authorization: {authorize}")
        return "\r\n".join([*lines, "", ""]).encode()

    def _answer_challenge(self, username: str) -> str:
        challenges = self._response.headers.get_all("WWW-Authenticate") or []
        self.close()
        password = self._url.password
        found = authorization(challenges, "GET", self._url.target, username, password)
        if found is None:
            raise StreamError("unauthorised", "the server wants a log-in of an unknown kind")
        return found

    def _redirect(self) -> None:
        location = self._response.headers.get("Location")
        self.close()
        if not location:
            raise StreamError("rejected", "the server redirects and does not say where to")
        if len(location) > MAX_LOCATION_CHARACTERS:
            raise StreamError(
                "rejected", f"the server redirects to an address of {len(location)} characters"
            )
        try:
            # Header fields are read as Latin-1, whatever they are.
            full = urljoin(self._url.bare, urls.escape(location.encode("latin-1")))
            scheme = full.partition(":")[0].lower()
            target = urls.parse(full) if scheme in ("http", "https") else None
        except (SourceError, ValueError):
            raise StreamError("rejected", "the server redirects to what is no address") from None
        if target is None:
            raise StreamError("rejected", f"the server redirects to {scheme[:16]}:, not to http:")
        if target.username is None and target.origin == self._asked.origin:
            asked = self._asked
            target = replace(target, username=asked.username, password=asked.password)
        self._url = target

    def _refusal(self) -> StreamError:
        status = self._response.status
        # The standard's words and not the server's, which may be anything.
        said = f"the server answers {status} {http.client.responses.get(status, '')}".rstrip()
        self.close()
        if status in (401, 403):
            elsewhere = self._asked.username is not None and self._url.username is None
            helps = self._kept_back() if elsewhere else "check user and password in source.url"
            return StreamError("unauthorised", f"{said}: {helps}")
        if 300 <= status < 400:
            said = f"the server redirects more than {REDIRECTS} times"
        return StreamError("rejected", said)

    def _kept_back(self) -> str:
        asked, found = self._asked, self._url
        return (
            f"user and password go to {asked.scheme}://{asked.authority} alone, and it redirects "
            f"to {found.scheme}://{found.authority}; name that in source.url"
        )

    def receive(self) -> bytes:
        """Some bytes of the body, within the deadline; raises StreamError."""
        data, self._peeked = self._peeked, b""
        return data or self._read()

    def _read(self) -> bytes:
        try:
            data = self._response.read1(RECEIVE_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._fault(error) from None
        if not data:
            raise StreamError("closed", "the server ended the stream")
        return data

    def peek(self) -> bytes:
        """What ``receive`` will return, which begins with something else than a line's end."""
        while not self._peeked.strip(b"\r\n"):
            if len(self._peeked) > MAX_HEADER_BYTES:
                raise StreamError("garbage", "the server sends empty lines alone")
            self._peeked += self._read()
        return self._peeked

    @staticmethod
    def _fault(error: Exception) -> StreamError:
        if isinstance(error, TimeoutError):
            return StreamError("silent", "no whole picture in time")
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError):
            return StreamError("rejected", "the server does not speak HTTP")
        if isinstance(error, OSError):
            return StreamError("closed", f"the connection broke: {error.strerror or error}")
        # The words of others may quote what was asked for.
        return StreamError("garbage", f"the server's HTTP is broken: {type(error).__name__}")

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self._wire.close()
