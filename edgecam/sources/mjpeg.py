"""JPEG over HTTP: a multipart stream (MJPEG) or one picture fetched again and again.

An own reader rather than FFmpeg's: every picture has a deadline whatever trickles in, damaged
ones are seen and counted, and none waits for the next one's boundary.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from urllib.parse import urljoin

from edgecam.settings import SourceSettings
from edgecam.sources import url as urls
from edgecam.sources.ffmpeg import PROBE_TIMEOUT_S, FfmpegEndpoint
from edgecam.sources.http_auth import authorization
from edgecam.sources.jpeg import decode_image
from edgecam.sources.live import Capture
from edgecam.sources.multipart import MultipartReader
from edgecam.sources.reach import connect
from edgecam.sources.supervised import StreamError
from edgecam.sources.url import StreamUrl
from edgecam.types import Image, SourceError

REDIRECTS = 3
RECEIVE_BYTES = 65536


class HttpEndpoint:
    """``http://``: what the server answers decides between MJPEG, snapshots and FFmpeg."""

    def __init__(self, url: StreamUrl, settings: SourceSettings) -> None:
        self.description = url.shown
        self._url = url
        self._settings = settings

    def probe(self) -> None:
        connect(self._url, PROBE_TIMEOUT_S).close()

    def look(self) -> None:
        """Ask for one picture; a server may accept connections and give none."""
        limit_s = PROBE_TIMEOUT_S
        answer = Answer(self._url, time.monotonic() + limit_s)
        try:
            boundary = answer.headers.get_param("boundary")
            if isinstance(boundary, str):
                MjpegCapture(answer, boundary, limit_s, lambda _: None).read()
        finally:
            answer.close()

    def open(self, count: Callable[[str], None]) -> Capture:
        limit_s = min(self._settings.open_timeout_s, self._settings.read_timeout_s)
        answer = Answer(self._url, time.monotonic() + limit_s)
        kind = answer.headers.get_content_type()
        boundary = answer.headers.get_param("boundary")
        if kind.startswith("multipart/") and isinstance(boundary, str):
            return MjpegCapture(answer, boundary, self._settings.read_timeout_s, count)
        if kind.startswith("image/"):
            answer.close()
            rate_hz = self._settings.rate_hz or 1.0
            return SnapshotCapture(self._url, self._settings.read_timeout_s, rate_hz, count)
        answer.close()
        if kind.startswith("text/") or kind.endswith(("json", "html", "xml")):
            raise StreamError(
                "rejected", f"the server answers with {kind}, not with a picture stream"
            )
        return FfmpegEndpoint(self._url, self._settings).open(count)


class Answer:
    """A GET that was answered with 200; everything on it ends by ``deadline_s``."""

    def __init__(self, url: StreamUrl, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self._url = url
        authorize: str | None = None
        for _ in range(REDIRECTS + 2):
            self._get(authorize)
            if self._response.status in (301, 302, 303, 307, 308):
                authorize = None
                self._redirect()
            elif self._response.status == 401 and authorize is None and url.username is not None:
                challenges = self._response.headers.get_all("WWW-Authenticate") or []
                target, name = self._url.target, url.username
                authorize = authorization(challenges, "GET", target, name, url.password)
                self.close()
                if authorize is None:
                    raise StreamError(
                        "unauthorised", "the server wants a log-in of an unknown kind"
                    )
            else:
                break
        self.headers: Message = self._response.headers
        if self._response.status != 200:
            raise self._refusal()

    def _get(self, authorize: str | None) -> None:
        headers = {"User-Agent": "edgecam", "Accept": "*/*", "Connection": "close"}
        if authorize:
            headers["Authorization"] = authorize
        self._socket = self._connect()
        connection = http.client.HTTPConnection(self._url.host, self._url.port)
        connection.sock = self._socket
        try:
            connection.request("GET", self._url.target, headers=headers)
            self._response = connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._socket.close()
            raise self._fault(error) from None

    def _connect(self) -> socket.socket:
        left_s = max(0.01, self.deadline_s - time.monotonic())
        connection = connect(self._url, left_s)
        connection.settimeout(left_s)
        if self._url.scheme != "https":
            return connection
        try:
            context = ssl.create_default_context()
            return context.wrap_socket(connection, server_hostname=self._url.host)
        except (OSError, ValueError) as error:
            connection.close()
            raise StreamError("unreachable", f"{self._url.host}: TLS: {error}") from None

    def _redirect(self) -> None:
        location = urljoin(self._url.bare, self._response.headers.get("Location") or "")
        self.close()
        try:
            target = urls.parse(location)
        except SourceError as error:
            raise StreamError("rejected", f"the server redirects to {error}") from None
        if target.scheme not in ("http", "https"):
            raise StreamError("rejected", f"the server redirects to {target.shown}")
        if target.host == self._url.host and target.username is None:
            target = replace(target, username=self._url.username, password=self._url.password)
        self._url = target

    def _refusal(self) -> StreamError:
        status, reason = self._response.status, self._response.reason
        self.close()
        if status in (401, 403):
            return StreamError(
                "unauthorised", f"the server answers {status} {reason}: check the log-in"
            )
        return StreamError("rejected", f"the server answers {status} {reason}")

    def receive(self) -> bytes:
        """Some bytes of the body, within the deadline; raises StreamError."""
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            raise self._fault(TimeoutError())
        try:
            self._socket.settimeout(left_s)
            data = self._response.read1(RECEIVE_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._fault(error) from None
        if not data:
            raise StreamError("closed", "the server ended the stream")
        return data

    @staticmethod
    def _fault(error: Exception) -> StreamError:
        if isinstance(error, TimeoutError):
            return StreamError("silent", "no whole picture in time")
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError):
            return StreamError("rejected", "the server does not speak HTTP")
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return StreamError("closed", f"the connection broke: {said}")

    def close(self) -> None:
        self._response.close()
        self._socket.close()


class MjpegCapture:
    """Pictures of a multipart stream; damaged parts are counted and passed over."""

    def __init__(
        self, answer: Answer, boundary: str, read_timeout_s: float, count: Callable[[str], None]
    ) -> None:
        self._answer = answer
        self._parts = MultipartReader(boundary, answer.receive)
        self._read_timeout_s = read_timeout_s
        self._count = count

    def read(self) -> Image:
        self._answer.deadline_s = time.monotonic() + self._read_timeout_s
        while True:
            try:
                return decode_image(self._parts.next_part())
            except SourceError as error:
                self._count("damaged_pictures")
                if time.monotonic() >= self._answer.deadline_s:
                    raise StreamError("garbage", f"only damaged pictures: {error}") from None

    def close(self) -> None:
        self._answer.close()


class SnapshotCapture:
    """One picture a request, ``rate_hz`` times a second."""

    def __init__(
        self,
        url: StreamUrl,
        read_timeout_s: float,
        rate_hz: float,
        count: Callable[[str], None],
    ) -> None:
        self._url = url
        self._read_timeout_s = read_timeout_s
        self._period_s = 1.0 / rate_hz
        self._count = count
        self._next_s = 0.0

    def read(self) -> Image:
        deadline_s = time.monotonic() + self._period_s + self._read_timeout_s
        while True:
            time.sleep(max(0.0, self._next_s - time.monotonic()))
            self._next_s = time.monotonic() + self._period_s
            try:
                return decode_image(self._fetch())
            except SourceError as error:
                self._count("damaged_pictures")
                if time.monotonic() >= deadline_s:
                    raise StreamError("garbage", f"only damaged pictures: {error}") from None

    def _fetch(self) -> bytes:
        answer = Answer(self._url, time.monotonic() + self._read_timeout_s)
        data = bytearray()
        try:
            while True:
                try:
                    data += answer.receive()
                except StreamError as error:
                    if error.kind == "closed" and data:
                        return bytes(data)
                    raise
        finally:
            answer.close()

    def close(self) -> None:
        """Nothing stays open between two pictures."""
