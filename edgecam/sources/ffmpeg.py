"""Streams that FFmpeg reads: RTSP, and HTTP that is not MJPEG."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

from edgecam.core.frame import Image
from edgecam.core.opencv import cv2
from edgecam.settings.schema import SourceSettings
from edgecam.sources.ffmpeg_opening import SOON, open_capture
from edgecam.sources.picture_limits import max_pixels
from edgecam.sources.rtsp import ask, redirects_refused, refuses_tcp
from edgecam.sources.rtsp_relay import RtspRelay
from edgecam.sources.stream_size import check_capture
from edgecam.sources.supervised import StreamError
from edgecam.sources.tcp_probe import connect
from edgecam.sources.tls import camera_context
from edgecam.sources.url import StreamUrl

PROBE_TIMEOUT_S = 1.0
# UDP loses packets and shows grey for them: TCP first.
TRANSPORTS = {
    "auto": "rtsp_flags;prefer_tcp",
    "tcp": "rtsp_transport;tcp",
    "udp": "rtsp_transport;udp",
}
# OpenCV says the same of a picture that cannot be decoded and of the end of the stream.
READS_BEFORE_THE_END = 16


def live_parameters(settings: SourceSettings) -> list[int]:
    """The time-outs, and one thread: decoding on several holds back a frame for each."""
    return [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        round(settings.open_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        round(settings.read_timeout_s * 1000),
        cv2.CAP_PROP_N_THREADS,
        1,
    ]


class FfmpegEndpoint:
    """An RTSP camera or any other stream that FFmpeg opens by URL."""

    formats = None

    def __init__(self, url: StreamUrl, settings: SourceSettings) -> None:
        self.description = url.shown
        self._url = url
        self._settings = settings
        options = [SOON]
        self._context: ssl.SSLContext | None = None
        if url.scheme in ("rtsp", "rtsps"):
            options.append(TRANSPORTS[settings.transport])
        if url.scheme == "rtsps":
            self._context = camera_context(settings, checks_by_default=False)
            if settings.tls_verify and settings.tls_ca_file is not None:
                options.append(f"tls_verify;1|ca_file;{settings.tls_ca_file}")
        self.options = "|".join(options)

    def probe(self) -> None:
        """Ask an RTSP server for its methods; from others a TCP connection is enough."""
        if self._url.scheme == "rtsp":
            ask(self._url, "OPTIONS", PROBE_TIMEOUT_S)
        else:
            connect(self._url, PROBE_TIMEOUT_S).close()

    def recheck(self) -> None:
        """Probe again: it is cheap."""
        self.probe()

    def open(self, count: Callable[[str], None]) -> FfmpegCapture:
        """Open the stream."""
        del count  # FFmpeg does not say what it throws away
        if self._url.scheme not in ("rtsp", "rtsps") or self._url.username is None:
            return self._open()
        with redirects_refused(self._url, self._settings.open_timeout_s, self._context):
            relay = RtspRelay(self._url, self._settings.open_timeout_s, self._context)
            try:
                return self._open(relay)
            except BaseException as error:
                relay.close()
                if isinstance(error, StreamError) and relay.fault is not None:
                    raise relay.fault from None
                raise

    def _open(self, relay: RtspRelay | None = None) -> FfmpegCapture:
        began_s = time.monotonic()
        most = max_pixels(self._settings, live=True)
        name = self._url.full if relay is None else relay.url
        capture = open_capture(name, live_parameters(self._settings), most, self.options)
        if not capture.isOpened():
            raise self._why_not(time.monotonic() - began_s)
        check_capture(capture, most)
        return FfmpegCapture(capture, self._settings.read_timeout_s, most, relay)

    def _why_not(self, waited_s: float) -> StreamError:
        """FFmpeg's reason does not get through OpenCV, so ask the server for one."""
        if waited_s >= self._settings.open_timeout_s:
            return StreamError("silent", f"no stream within {self._settings.open_timeout_s:g} s")
        if self._url.scheme == "rtsp":
            answer = ask(self._url, "DESCRIBE", PROBE_TIMEOUT_S, as_user=True).status
            if answer.startswith("401") and self._url.username is None:
                return StreamError("unauthorised", "the server wants a user name and password")
            if answer.startswith("401"):
                return StreamError("unauthorised", "the server refuses the user name or password")
            if not answer.startswith("200"):
                return StreamError("rejected", f"the server answers {answer}")
            if self._settings.transport == "tcp" and refuses_tcp(self._url, PROBE_TIMEOUT_S):
                return StreamError(
                    "rejected",
                    "the server answers 461 to TCP, it sends its pictures by UDP alone; set "
                    'source.transport to "auto" or "udp"',
                )
        return StreamError("rejected", "the server answers, but not with a video stream")


class FfmpegCapture:
    """An open stream; reads end by FFmpeg's own time-out, whatever trickles in."""

    def __init__(
        self, capture: Any, read_timeout_s: float, most: int, relay: RtspRelay | None = None
    ) -> None:
        self._capture = capture
        self._read_timeout_s = read_timeout_s
        self._most = most
        self._relay = relay

    def read(self) -> Image:
        """Return the next picture."""
        began_s = time.monotonic()
        for _ in range(READS_BEFORE_THE_END):
            whole, image = self._capture.read()
            # When its time is up FFmpeg may still give the half picture that it has.
            if time.monotonic() - began_s >= self._read_timeout_s:
                raise StreamError("silent", f"no picture for {self._read_timeout_s:g} s")
            if whole:
                decoded: Image = image
                return decoded
        if not self._capture.get(cv2.CAP_PROP_FRAME_WIDTH):
            raise StreamError(
                "garbage",
                "no picture that can be decoded: it is damaged, or has more than "
                f"{self._most / 1e6:g} million pixels; raise source.max_megapixels",
            )
        raise StreamError("closed", "the server ended the stream")

    def close(self) -> None:
        """Close the stream."""
        self._capture.release()
        if self._relay is not None:
            self._relay.close()
